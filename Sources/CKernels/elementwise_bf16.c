// Activations, their gradients, sums and gates from bfloat16 to bfloat16, straight from memory to memory: the rounding hides what
// coarser functions lose, and no register is written between two passes.
#include "coarse.h"
#include "elementwise.h"

// g is read only by gradients.
#define EACH(OP, EXPRESSION)                                                                                 \
  case OP:                                                                                                   \
    KK_INDEPENDENT for (long i = 0; i < n; i++) {                                                            \
      const float x = kk_from_bf16(a[i]), g = kk_from_bf16(b[i]);                                            \
      (void)g;                                                                                               \
      d[i] = kk_round_bf16(EXPRESSION);                                                                      \
    }                                                                                                        \
    break;

KK_INLINE float gated(float a, float b, float c) { return b > 0.0f ? a * c : 0.0f; }

KK_CLONES static void run(
    kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, float c, long n) {
  switch (op) {
    COARSE_ACTIVATIONS(EACH)
    case KK_OP_ADD:
      KK_INDEPENDENT for (long i = 0; i < n; i++) d[i] = kk_to_bf16(kk_from_bf16(a[i]) + kk_from_bf16(b[i]));
      break;
    case KK_OP_GATE:
      KK_INDEPENDENT for (long i = 0; i < n; i++)
        d[i] = kk_to_bf16(gated(kk_from_bf16(a[i]), kk_from_bf16(b[i]), c));
      break;
    default: kk_fail("kk_run_bf16", "no such instruction");
  }
}

void kk_run_bf16(kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, float c, long n) {
  const long done = kk_run_bf16_wide(op, d, a, b, c, n);
  run(op, d + done, a + done, b + done, c, n - done);
}

#define IS_ONE(OP, EXPRESSION) case OP:

bool kk_runs_bf16(kk_opcode op) {
  switch (op) {
    COARSE_ACTIVATIONS(IS_ONE)
    case KK_OP_ADD: case KK_OP_GATE: return true;
    default: return false;
  }
}
