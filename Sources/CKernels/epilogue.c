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

void kk_store_sums(
    void *y, kk_dtype type, int64_t row, int64_t first, float *sums, int64_t count, const float *bias,
    bool accumulate, kk_activation activation) {
  enum { CHUNK = 64 };
  float old[CHUNK];
  for (int64_t done = 0; done < count; done += CHUNK) {
    const int64_t n = kk_min(CHUNK, count - done);
    void *to = (void *)kk_at(y, type, row + first + done);
    if (accumulate) kk_load_f32(old, to, type, n, 1);
    kk_finish_row(
        sums + done, n, bias ? bias + first + done : NULL, accumulate ? old : NULL, activation);
    kk_store_f32(to, type, 1, sums + done, n);
  }
}
