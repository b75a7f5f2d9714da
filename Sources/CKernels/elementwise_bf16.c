// Activations and their gradients from bfloat16 to bfloat16, straight from memory to memory: the rounding hides what
// coarser functions lose, and no register is written between two passes.
#include "elementwise.h"
#include "mathf.h"

#define EACH(EXPRESSION)                                                                                     \
  {                                                                                                          \
    KK_INDEPENDENT for (long i = 0; i < n; i++) {                                                            \
      const float x = kk_from_bf16(a[i]);                                                                    \
      d[i] = kk_round_bf16(EXPRESSION);                                                                      \
    }                                                                                                        \
    break;                                                                                                   \
  }
#define B kk_from_bf16(b[i])

KK_CLONES void kk_run_bf16(kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, long n) {
  switch (op) {
    case KK_OP_SILU: EACH(kk_coarse_siluf(x))
    case KK_OP_GELU_ERF: EACH(kk_coarse_gelu_erff(x))
    case KK_OP_GELU_TANH: EACH(kk_coarse_gelu_tanhf(x))
    case KK_OP_SILU_GRAD: EACH(B * kk_coarse_silu_slope(x))
    case KK_OP_GELU_ERF_GRAD: EACH(B * kk_coarse_gelu_erf_slope(x))
    case KK_OP_GELU_TANH_GRAD: EACH(B * kk_coarse_gelu_tanh_slope(x))
    default: kk_fail("kk_run_bf16", "not an activation");
  }
}

bool kk_runs_bf16(kk_opcode op) {
  switch (op) {
    case KK_OP_SILU:
    case KK_OP_GELU_ERF:
    case KK_OP_GELU_TANH:
    case KK_OP_SILU_GRAD:
    case KK_OP_GELU_ERF_GRAD:
    case KK_OP_GELU_TANH_GRAD: return true;
    default: return false;
  }
}
