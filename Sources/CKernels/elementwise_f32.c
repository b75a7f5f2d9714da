// The instructions of kk_elementwise_f32: one vectorised loop each over a block of registers.
#include "elementwise.h"
#include "mathf.h"

#define EACH(EXPRESSION)                                                                                     \
  {                                                                                                          \
    KK_INDEPENDENT for (long i = 0; i < n; i++) d[i] = (EXPRESSION);                                         \
    break;                                                                                                   \
  }
#define A a[i]
#define B b[i]
#define C c[i]

KK_INLINE float truth(bool v) { return v ? 1.0f : 0.0f; }

// Takes the values, not the places: a choice between two places would become a gather.
KK_INLINE float chosen(bool condition, float b, float c) { return condition ? b : c; }

KK_INLINE float fused(float a, float b, float c) {
  KK_CONTRACT
  return a * b + c;
}

KK_INLINE float floored_mod(float a, float b) {
  float r = fmodf(a, b);
  return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;
}

// Whether the range reduction of kk_sinf holds for the whole block.
KK_INLINE bool within_trig_limit(const float *a, long n) {
  int outside = 0;
  for (long i = 0; i < n; i++) outside |= !(__builtin_fabsf(a[i]) <= KK_TRIG_LIMIT);
  return !outside;
}

KK_CLONES void kk_run_f32(const kk_instruction *code, long count, float *const *registers, long n) {
  for (long j = 0; j < count; j++) {
    const kk_instruction in = code[j];
    const int arity = kk_opcode_arity(in.op);
    float *d = registers[in.dst];
    const float *a = registers[in.a];
    const float *b = arity > 1 ? registers[in.b] : a;
    const float *c = arity > 2 ? registers[in.c] : a;
    switch (in.op) {
      case KK_OP_COPY: EACH(A)
      case KK_OP_NEG: EACH(-A)
      case KK_OP_ABS: EACH(__builtin_fabsf(A))
      case KK_OP_SIGN: EACH(A > 0.0f ? 1.0f : (A < 0.0f ? -1.0f : A))
      case KK_OP_EXP: EACH(kk_expf(A))
      case KK_OP_EXPM1: EACH(kk_expm1f(A))
      case KK_OP_LOG: EACH(kk_logf(A))
      case KK_OP_LOG1P: EACH(kk_log1pf(A))
      case KK_OP_SQRT: EACH(__builtin_elementwise_sqrt(A))
      case KK_OP_RSQRT: EACH(1.0f / __builtin_elementwise_sqrt(A))
      case KK_OP_RECIPROCAL: EACH(1.0f / A)
      case KK_OP_SIN:
        if (within_trig_limit(a, n)) EACH(kk_sinf(A))
        for (long i = 0; i < n; i++) d[i] = sinf(A);
        break;
      case KK_OP_COS:
        if (within_trig_limit(a, n)) EACH(kk_cosf(A))
        for (long i = 0; i < n; i++) d[i] = cosf(A);
        break;
      case KK_OP_TANH: EACH(kk_tanhf(A))
      case KK_OP_ERF: EACH(kk_erff(A))
      case KK_OP_SIGMOID: EACH(kk_sigmoidf(A))
      case KK_OP_SILU: EACH(kk_siluf(A))
      case KK_OP_GELU_ERF: EACH(kk_gelu_erff(A))
      case KK_OP_GELU_TANH: EACH(kk_gelu_tanhf(A))
      case KK_OP_RELU: EACH(A < 0.0f ? 0.0f : A)
      case KK_OP_FLOOR: EACH(__builtin_elementwise_floor(A))
      case KK_OP_CEIL: EACH(__builtin_elementwise_ceil(A))
      case KK_OP_ROUND: EACH(__builtin_elementwise_roundeven(A))
      case KK_OP_NOT: EACH(truth(A == 0.0f))
      case KK_OP_ISFINITE: EACH(truth(__builtin_fabsf(A) < INFINITY))
      case KK_OP_SQUARE: EACH(A * A)
      case KK_OP_ADD: EACH(A + B)
      case KK_OP_SUB: EACH(A - B)
      case KK_OP_MUL: EACH(A * B)
      case KK_OP_DIV: EACH(A / B)
      case KK_OP_MAX: EACH(chosen((A > B) | (A != A), A, B))
      case KK_OP_MIN: EACH(chosen((A < B) | (A != A), A, B))
      case KK_OP_POW:
        for (long i = 0; i < n; i++) d[i] = powf(A, B);
        break;
      case KK_OP_REM:
        for (long i = 0; i < n; i++) d[i] = fmodf(A, B);
        break;
      case KK_OP_MOD:
        for (long i = 0; i < n; i++) d[i] = floored_mod(A, B);
        break;
      case KK_OP_EQ: EACH(truth(A == B))
      case KK_OP_NE: EACH(truth(A != B))
      case KK_OP_LT: EACH(truth(A < B))
      case KK_OP_LE: EACH(truth(A <= B))
      case KK_OP_GT: EACH(truth(A > B))
      case KK_OP_GE: EACH(truth(A >= B))
      case KK_OP_AND: EACH(truth((A != 0.0f) & (B != 0.0f)))
      case KK_OP_OR: EACH(truth((A != 0.0f) | (B != 0.0f)))
      case KK_OP_XOR: EACH(truth((A != 0.0f) != (B != 0.0f)))
      case KK_OP_SILU_GRAD: EACH(B * kk_silu_slope(A))
      case KK_OP_GELU_ERF_GRAD: EACH(B * kk_gelu_erf_slope(A))
      case KK_OP_GELU_TANH_GRAD: EACH(B * kk_gelu_tanh_slope(A))
      case KK_OP_KEEP: EACH(chosen(B == 0.0f, 0.0f, A * B))
      case KK_OP_SELECT: EACH(chosen(A != 0.0f, B, C))
      case KK_OP_GATE: EACH(chosen(B > 0.0f, A * C, 0.0f))
      case KK_OP_FMA: EACH(fused(A, B, C))
    }
  }
}

void kk_load_iota_f32(float *dst, int64_t base, int64_t stride, long n) {
  for (long i = 0; i < n; i++) dst[i] = (float)(base + i * stride);
}
