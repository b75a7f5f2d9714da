// Softmax and cross-entropy over rows, statistics in f32.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Softmax, or log-softmax if `log`, over the last axis of x (shape[0], ..., shape[rank - 2], n), dense:
///
///     s[.., q, k] = scale x[.., q, k] + mask[.., q, k],   y = softmax_k(s) or log softmax_k(s)
///
/// An additive mask is KK_F32 or KK_BF16; a KK_BOOL mask keeps the positions where it is true. It is
/// broadcast by `mask_strides` (`rank` of them, in elements). `causal`: row q = index of axis rank - 2 sees
/// only k <= q + n - shape[rank - 2]. A row that sees nothing gives zeros (softmax) or -infinity
/// (log-softmax).
typedef struct {
  int32_t rank;  // at least 1; the last axis is n
  int64_t shape[KK_MAX_DIMS];
  kk_dtype type;  // x, y, dy, dx: KK_F32 or KK_BF16
  float scale;
  bool log, causal;
  const void *mask;  // or NULL
  kk_dtype mask_type;
  int64_t mask_strides[KK_MAX_DIMS];
} kk_softmax;

/// y may be x.
void kk_softmax_forward(const kk_softmax *softmax, const void *x, void *y);

/// dx from the forward result y: scale y (dy - sum dy y), or with `log` scale (dy - exp(y) sum dy). Masked
/// positions get 0 and their dy does not count. dx may be dy or y.
void kk_softmax_backward(const kk_softmax *softmax, const void *y, const void *dy, void *dx);

/// Cross-entropy of each row of logits x (rows, classes) with integer labels (rows):
///
///     loss = -sum_c t_c log softmax(x)_c,   t = (1 - smoothing) onehot(label) + smoothing / classes
///
/// Rows whose label is `ignore_index` have loss 0 and no gradient. Any other label outside 0 ..< classes
/// has a NaN loss and a NaN gradient row.
typedef struct {
  int64_t rows, classes;
  kk_dtype type;        // x, dx: KK_F32 or KK_BF16
  kk_dtype label_type;  // KK_I32 or KK_I64
  int64_t ignore_index;
  float smoothing;
} kk_cross_entropy;

/// loss (rows) and log_sum (rows) = log sum_c exp(x_c), which the gradient needs; both f32.
void kk_cross_entropy_forward(
    const kk_cross_entropy *entropy, const void *x, const void *labels, float *loss, float *log_sum);

/// dx[r, c] = dloss[r] (softmax(x)_c - t_c); dx may be x. dloss is read at dloss[r * dloss_stride]: stride 0
/// for a mean.
void kk_cross_entropy_backward(
    const kk_cross_entropy *entropy, const void *x, const void *labels, const float *log_sum,
    const float *dloss, int64_t dloss_stride, void *dx);

#ifdef __cplusplus
}
#endif
