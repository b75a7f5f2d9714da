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

// group_norm_loops_wide.c: the same of bf16 for the first of these pixels, where kk_has_wide_registers; they return of how
// many, 0 where channels do not fill registers.
long kk_norm_sums_wide(
    const uint16_t *x, long pixels, long channels, const float *center, float *sum, float *square);
long kk_norm_apply_wide(
    const uint16_t *x, uint16_t *y, long pixels, long channels, const float *a, const float *b, bool silu);
long kk_norm_gradient_sums_wide(
    const uint16_t *x, const uint16_t *dy, uint16_t *dz_out, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu, float *const sums[3]);
long kk_norm_gradient_apply_wide(
    const uint16_t *x, const uint16_t *dy, const uint16_t *residual, uint16_t *dx, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu);
