// Normalisations with their gradients. Activations are f32 or bf16, all of one type per call; statistics are
// f32, computed from shifted sums and combined in f64. Gradients of parameters are f32. No result depends on
// the number of threads.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Group normalisation of x (samples, pixels, channels) over (pixels, channels / groups), then, each if
/// present:
///
///     x'  = x + input_bias[n, c]
///     xh  = (x' - mean[n, g]) rstd[n, g]        rstd = 1 / sqrt(var + epsilon), var divided by the count
///     z   = (xh gamma[c] + beta[c]) (1 + scale[n, c]) + shift[n, c]
///     y   = silu(z) if `silu`, else z
///
/// With samples = 1 and groups = channels it is batch normalisation over all pixels; with groups = channels
/// instance normalisation. NULL leaves a part out.
typedef struct {
  int64_t samples, pixels, channels, groups;
  kk_dtype type;             // x, y, dy, dx, residual: KK_F32 or KK_BF16
  kk_dtype affine_type;      // gamma, beta: KK_F32 or KK_BF16
  kk_dtype modulation_type;  // scale, shift, input_bias: KK_F32 or KK_BF16
  const void *gamma, *beta;                // (channels)
  const void *scale, *shift, *input_bias;  // (samples, channels), rows `..._stride` elements apart
  int64_t scale_stride, shift_stride, input_bias_stride;
  float epsilon;
  bool silu;
} kk_group_norm;

/// y (samples, pixels, channels), may be x; mean and rstd (samples, groups), which the gradient needs.
void kk_group_norm_forward(const kk_group_norm *norm, const void *x, void *y, float *mean, float *rstd);

/// Where the gradients of kk_group_norm go, all f32; NULL for what is not wanted.
typedef struct {
  float *dgamma, *dbeta;            // (channels)
  float *dscale, *dshift, *dinput;  // (samples, channels); dinput = sum over pixels of dx before `residual`
} kk_group_norm_gradients;

/// dx = gradient through the normalisation of dy, plus `residual` (same shape) if not NULL. dx may be dy or
/// residual, not x. dinput is the gradient of input_bias and, summed over samples, of a bias of the
/// convolution that made x.
void kk_group_norm_backward(
    const kk_group_norm *norm, const void *x, const float *mean, const float *rstd, const void *dy,
    const void *residual, void *dx, const kk_group_norm_gradients *gradients);

/// Layer normalisation (`rms` false) or RMS normalisation (`rms` true) of each row of x (rows, n):
///
///     layer:  xh = (x - mean) rstd,  rstd = 1 / sqrt(var + epsilon)
///     RMS:    xh = x rstd,           rstd = 1 / sqrt(mean of x^2 + epsilon)
///     y = xh gamma + beta
typedef struct {
  int64_t rows, n;
  kk_dtype type;           // x, dy, dx, the gradient's residual: KK_F32 or KK_BF16
  kk_dtype result_type;    // y: KK_F32 or KK_BF16
  kk_dtype residual_type;  // residual and sum: KK_F32 or KK_BF16
  kk_dtype affine_type;    // gamma, beta: KK_F32 or KK_BF16
  const void *gamma, *beta;  // (n), or NULL
  float epsilon;
  bool rms;
} kk_row_norm;

/// `residual`, if not NULL, is first added to x; `sum`, if not NULL, is x with it. y, sum, x and residual may be the same
/// memory where their types are equal, but y is not sum. `rounded`, if not NULL, is y in bf16. mean and rstd (rows)
/// are for the gradient; mean is not written, and may be NULL, for RMS.
void kk_row_norm_forward(
    const kk_row_norm *norm, const void *x, const void *residual, void *sum, void *y, void *rounded, float *mean,
    float *rstd);

/// dx = gradient of dy, plus `residual` if not NULL; dx may be x, dy or residual. `rounded`, if not NULL, is dx in
/// bf16. dgamma, dbeta (n), or NULL.
void kk_row_norm_backward(
    const kk_row_norm *norm, const void *x, const float *mean, const float *rstd, const void *dy,
    const void *residual, void *dx, void *rounded, float *dgamma, float *dbeta);

#ifdef __cplusplus
}
#endif
