#include "epilogue.h"

#include "mathf.h"

KK_CLONES void kk_finish_row(
    float *y, int64_t n, const float *bias, const float *old, kk_activation activation) {
  if (bias) KK_INDEPENDENT for (int64_t i = 0; i < n; i++) y[i] += bias[i];
  if (old) KK_INDEPENDENT for (int64_t i = 0; i < n; i++) y[i] += old[i];
#define EACH(F)                                                                                              \
  KK_INDEPENDENT for (int64_t i = 0; i < n; i++) y[i] = F;                                                   \
  break;
  switch (activation) {
    case KK_IDENTITY: break;
    case KK_RELU: EACH(y[i] > 0 ? y[i] : 0)
    case KK_SILU: EACH(kk_siluf(y[i]))
    case KK_GELU_ERF: EACH(kk_gelu_erff(y[i]))
    case KK_GELU_TANH: EACH(kk_gelu_tanhf(y[i]))
  }
}
