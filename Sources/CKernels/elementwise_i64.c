// The instructions of kk_elementwise_i64. Sums and products go through uint64_t: wrapping is defined there.
#include "elementwise.h"

#define EACH(EXPRESSION)                                                                                     \
  {                                                                                                          \
    KK_INDEPENDENT for (long i = 0; i < n; i++) d[i] = (EXPRESSION);                                         \
    break;                                                                                                   \
  }
// For operations whose division or branch does not vectorise.
#define EACH_SCALAR(EXPRESSION)                                                                              \
  {                                                                                                          \
    for (long i = 0; i < n; i++) d[i] = (EXPRESSION);                                                        \
    break;                                                                                                   \
  }
#define A a[i]
#define B b[i]
#define C c[i]
#define WRAP(X, OP, Y) ((int64_t)((uint64_t)(X)OP(uint64_t)(Y)))

KK_INLINE int64_t quotient(int64_t a, int64_t b) {
  if (b == 0) return 0;
  return b == -1 ? WRAP(0, -, a) : a / b;
}

KK_INLINE int64_t remainder_of(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }

KK_INLINE int64_t floored_mod(int64_t a, int64_t b) {
  int64_t r = remainder_of(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static int64_t power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == -1) return exponent & 1 ? -1 : 1;
    return base == 1;
  }
  uint64_t result = 1, square = (uint64_t)base;
  for (; exponent; exponent >>= 1, square *= square)
    if (exponent & 1) result *= square;
  return (int64_t)result;
}

KK_CLONES void kk_run_i64(const kk_instruction *code, long count, int64_t *const *registers, long n) {
  for (long j = 0; j < count; j++) {
    const kk_instruction in = code[j];
    const int arity = kk_opcode_arity(in.op);
    int64_t *d = registers[in.dst];
    const int64_t *a = registers[in.a];
    const int64_t *b = arity > 1 ? registers[in.b] : a;
    const int64_t *c = arity > 2 ? registers[in.c] : a;
    switch (in.op) {
      case KK_OP_COPY: EACH(A)
      case KK_OP_NEG: EACH(WRAP(0, -, A))
      case KK_OP_ABS: EACH(A < 0 ? WRAP(0, -, A) : A)
      case KK_OP_SIGN: EACH((A > 0) - (A < 0))
      case KK_OP_RELU: EACH(A < 0 ? 0 : A)
      case KK_OP_NOT: EACH(A == 0)
      case KK_OP_SQUARE: EACH(WRAP(A, *, A))
      case KK_OP_ADD: EACH(WRAP(A, +, B))
      case KK_OP_SUB: EACH(WRAP(A, -, B))
      case KK_OP_MUL: EACH(WRAP(A, *, B))
      case KK_OP_DIV: EACH_SCALAR(quotient(A, B))
      case KK_OP_MAX: EACH(A > B ? A : B)
      case KK_OP_MIN: EACH(A < B ? A : B)
      case KK_OP_POW: EACH_SCALAR(power(A, B))
      case KK_OP_REM: EACH_SCALAR(remainder_of(A, B))
      case KK_OP_MOD: EACH_SCALAR(floored_mod(A, B))
      case KK_OP_EQ: EACH(A == B)
      case KK_OP_NE: EACH(A != B)
      case KK_OP_LT: EACH(A < B)
      case KK_OP_LE: EACH(A <= B)
      case KK_OP_GT: EACH(A > B)
      case KK_OP_GE: EACH(A >= B)
      case KK_OP_AND: EACH((A != 0) & (B != 0))
      case KK_OP_OR: EACH((A != 0) | (B != 0))
      case KK_OP_XOR: EACH((A != 0) != (B != 0))
      case KK_OP_SELECT: EACH(A ? B : C)
      case KK_OP_FMA: EACH(WRAP(WRAP(A, *, B), +, C))
      default: kk_fail("kk_elementwise_i64", "this operation has no integer form");
    }
  }
}

void kk_load_iota_i64(int64_t *dst, int64_t base, int64_t stride, long n) {
  for (long i = 0; i < n; i++) dst[i] = base + i * stride;
}
