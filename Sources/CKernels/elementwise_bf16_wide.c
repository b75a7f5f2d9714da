// Activations, sums and gates of bfloat16 in registers of 64 bytes.
#include "elementwise.h"

#if defined(__x86_64__) && !defined(KK_BASELINE)
#define TARGET __attribute__((target("arch=x86-64-v4"), min_vector_width(512)))
#define REGISTERS 8
#include "coarse_lanes.h"
#define NUMBER numbers
#define EXP2(T) coarse_exp2_of_numbers((T) > (numbers)126.0f ? (numbers)126.0f : (T))
#define RECIPROCAL(X) coarse_reciprocal_of_numbers(X)
#include "coarse.h"

enum { GROUP = 16 * REGISTERS };
typedef uint32_t words __attribute__((ext_vector_type(GROUP)));
// Numbers side by side: the even ones in the lower halves of 32 bits, the odd ones in the upper.
typedef uint32_t pairs __attribute__((ext_vector_type(GROUP / 2), aligned(2)));

#define UPPER 0xffff0000u

KK_INLINE TARGET numbers load(const uint16_t *from) {
  const pairs x = *(const pairs *)from;
  words y;
  y.lo = x << 16;
  y.hi = x & UPPER;
  return (numbers)y;
}

KK_INLINE TARGET void store(uint16_t *to, numbers x) {
  const words y = (words)x + 0x8000u;
  *(pairs *)to = (y.lo >> 16) | (y.hi & UPPER);
}

KK_INLINE TARGET void store_nearest(uint16_t *to, numbers x) {
  const words bits = (words)x, y = KK_NEAREST_BF16(bits);
  *(pairs *)to = (y.lo >> 16) | (y.hi & UPPER);
}

#define EACH(OP, EXPRESSION)                                                                                 \
  case OP:                                                                                                   \
    for (long i = 0; i < n; i += GROUP) {                                                                    \
      const numbers x = load(a + i), g = load(b + i);                                                        \
      (void)g;                                                                                               \
      store(d + i, EXPRESSION);                                                                              \
    }                                                                                                        \
    break;

TARGET static void run(kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, float c, long n) {
  switch (op) {
    COARSE_ACTIVATIONS(EACH)
    case KK_OP_ADD:
      for (long i = 0; i < n; i += GROUP) store_nearest(d + i, load(a + i) + load(b + i));
      break;
    case KK_OP_GATE:
      for (long i = 0; i < n; i += GROUP)
        store_nearest(d + i, load(b + i) > (numbers)0.0f ? load(a + i) * c : (numbers)0.0f);
      break;
    default: kk_fail("kk_run_bf16", "no such instruction");
  }
}

long kk_run_bf16_wide(kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, float c, long n) {
  if (!kk_has_wide_registers()) return 0;
  const long whole = n / GROUP * GROUP;
  run(op, d, a, b, c, whole);
  return whole;
}
#else
long kk_run_bf16_wide(kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, float c, long n) {
  (void)op, (void)d, (void)a, (void)b, (void)c, (void)n;
  return 0;
}
#endif
