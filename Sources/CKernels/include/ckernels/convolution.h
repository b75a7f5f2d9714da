// The gradient of a convolution's kernel in bf16, where oneDNN is farthest from the processor's peak.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// A convolution of x (n, h, w, c) to y (n, out_h, out_w, k) with a kernel (k, c, kh, kw). Rows below and columns to the
/// right of x count as zeros.
typedef struct {
  int64_t n, h, w, c;
  int64_t out_h, out_w, k;
  int64_t kh, kw;
  int64_t stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
} kk_convolution;

/// dw (k, c, kh, kw) = sum over images and places of dy times x, in f32; x and dy are dense bf16. Only where
/// kk_has_pair_products.
/// `scratch` has kk_convolution_scratch bytes.
void kk_convolution_weight_gradient(
    const kk_convolution *convolution, const void *x, const void *dy, float *dw, void *scratch);

int64_t kk_convolution_scratch(const kk_convolution *convolution);

#ifdef __cplusplus
}
#endif
