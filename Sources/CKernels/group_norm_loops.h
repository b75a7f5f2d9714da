// Private: the loops of group normalisation over (pixels, channels) with one coefficient per channel; one that is a NaN has
// the bits of NAN.
#pragma once
#include "common.h"

/// sum[c] += x - center[c], square[c] += (x - center[c])^2 over `pixels` rows.
void kk_norm_sums(
    const void *x, kk_dtype type, long pixels, long channels, const float *center, float *sum, float *square);

/// y = x a[c] + b[c], then silu.
void kk_norm_apply(
    const void *x, void *y, kk_dtype type, long pixels, long channels, const float *a, const float *b,
    bool silu);

/// Coefficients of the gradient, each (channels): xh = x r + m, z = x a + b, dx = dz a + x q + s.
struct kk_norm_slopes {
  const float *r, *m, *a, *b, *q, *s;
};

/// With dz = dy silu'(z) or dy: sums[0] += dz, sums[1] += dz xh, sums[2] += xh; each (channels). If `dz_out`
/// is not NULL, dz is left there; it may be dy.
void kk_norm_gradient_sums(
    const void *x, const void *dy, void *dz_out, kk_dtype type, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu, float *const sums[3]);

/// dx = dz a + x q + s (+ residual); dz = dy silu'(z) if `silu`, else dy itself.
void kk_norm_gradient_apply(
    const void *x, const void *dy, const void *residual, void *dx, kk_dtype type, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu);
