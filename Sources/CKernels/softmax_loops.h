// Private: loops over one row of f32.
#pragma once
#include "common.h"

/// Maximum, NaN if any is; n > 0.
float kk_row_max(const float *x, long n);

/// y = exp(x - shift), shift being the maximum; returns the sum.
float kk_row_exp(float *y, const float *x, long n, float shift);

/// Sum of exp(x - shift).
float kk_row_exp_sum(const float *x, long n, float shift);

void kk_row_scale(float *y, const float *x, long n, float factor, float offset);  // x factor + offset
float kk_row_dot(const float *a, const float *b, long n);
float kk_row_sum(const float *x, long n);
float kk_row_visible_sum(const float *x, const float *log, long n);  // of the x whose log is not -inf

/// dx = scale y (dy - mean); if `log`, scale (dy - exp(y) mean), and 0 where y is -inf.
void kk_row_softmax_gradient(
    float *dx, const float *y, const float *dy, long n, float scale, float mean, bool log);

/// x += mask, or x = -inf where the bool mask is 0; the mask advances by `stride`.
void kk_row_mask(float *x, long n, const void *mask, kk_dtype type, int64_t stride);
