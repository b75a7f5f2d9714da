#include "softmax_loops.h"

#include "mathf.h"
#include "reduce.h"

float kk_row_max(const float *x, long n) { return kk_fold_f32(KK_MAXIMUM, x, n); }

float kk_row_sum(const float *x, long n) { return kk_fold_f32(KK_SUM, x, n); }

KK_CLONES float kk_row_exp(float *y, const float *x, long n, float shift) {
  KK_REASSOCIATE
  float sum = 0;
  KK_INDEPENDENT for (long i = 0; i < n; i++) {
    float e = kk_exp_of_negative(x[i] - shift);
    y[i] = e;
    sum += e;
  }
  return sum;
}

KK_CLONES float kk_row_exp_sum(const float *x, long n, float shift) {
  KK_REASSOCIATE
  float sum = 0;
  for (long i = 0; i < n; i++) sum += kk_exp_of_negative(x[i] - shift);
  return sum;
}

KK_CLONES void kk_row_scale(float *y, const float *x, long n, float factor, float offset) {
  KK_INDEPENDENT for (long i = 0; i < n; i++) y[i] = x[i] * factor + offset;
}

KK_CLONES float kk_row_dot(const float *a, const float *b, long n) {
  KK_REASSOCIATE
  float sum = 0;
  for (long i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

KK_CLONES float kk_row_visible_sum(const float *x, const float *log, long n) {
  KK_REASSOCIATE
  float sum = 0;
  for (long i = 0; i < n; i++) sum += log[i] == -INFINITY ? 0.0f : x[i];
  return sum;
}

KK_CLONES void kk_row_softmax_gradient(
    float *dx, const float *y, const float *dy, long n, float scale, float mean, bool log) {
  if (log) {
    KK_INDEPENDENT for (long i = 0; i < n; i++) {
      float g = scale * (dy[i] - kk_exp_of_negative(y[i]) * mean);
      dx[i] = y[i] == -INFINITY ? 0.0f : g;
    }
  } else {
    KK_INDEPENDENT for (long i = 0; i < n; i++) dx[i] = scale * (y[i] * (dy[i] - mean));
  }
}

KK_CLONES void kk_row_mask(float *x, long n, const void *mask, kk_dtype type, int64_t stride) {
  if (type == KK_BOOL) {
    const uint8_t *m = mask;
    if (stride == 1) {
      KK_INDEPENDENT for (long i = 0; i < n; i++) x[i] = m[i] ? x[i] : -INFINITY;
    } else {
      for (long i = 0; i < n; i++) x[i] = m[i * stride] ? x[i] : -INFINITY;
    }
  } else if (type == KK_BF16) {
    const uint16_t *m = mask;
    for (long i = 0; i < n; i++) x[i] += kk_from_bf16(m[i * stride]);
  } else {
    const float *m = mask;
    if (stride == 1) {
      KK_INDEPENDENT for (long i = 0; i < n; i++) x[i] += m[i];
    } else {
      for (long i = 0; i < n; i++) x[i] += m[i * stride];
    }
  }
}
