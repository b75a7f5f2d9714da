// Pooling of dense (samples, height, width, channels), KK_F32 or KK_BF16, sums in f32.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Windows of window_height x window_width every `stride` pixels, starting `padding` pixels above and left of
/// the picture. out = (in + 2 padding - window) / stride + 1 along each axis; every window must touch the
/// picture.
typedef struct {
  int64_t samples, height, width, channels;
  int64_t window_height, window_width, stride_height, stride_width, padding_height, padding_width;
  int64_t out_height, out_width;
  kk_dtype type;
  bool counts_padding;  // an average divides by the whole window rather than by its pixels inside
} kk_pool;

void kk_average_pool_forward(const kk_pool *pool, const void *x, void *y);
void kk_average_pool_backward(const kk_pool *pool, const void *dy, void *dx);

/// Padding never wins. NaN wins.
void kk_max_pool_forward(const kk_pool *pool, const void *x, void *y);

/// The gradient of a window goes to its first maximum in row-major order.
void kk_max_pool_backward(const kk_pool *pool, const void *x, const void *dy, void *dx);

#ifdef __cplusplus
}
#endif
