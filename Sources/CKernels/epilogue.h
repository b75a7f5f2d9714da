// What a product does to its sums before they are stored.
#pragma once
#include "ckernels/activation.h"
#include "common.h"

/// Elements first ..< first + count of a row of y that starts `row` elements into it, y = act(sums [+ bias] [+ y]): `bias` (of
/// the row) may be NULL, y is added if `accumulate`. `sums` is overwritten.
void kk_store_sums(
    void *y, kk_dtype type, int64_t row, int64_t first, float *sums, int64_t count, const float *bias,
    bool accumulate, kk_activation activation);

/// y = act(y + bias + old); bias and old may be NULL.
void kk_finish_row(float *y, int64_t n, const float *bias, const float *old, kk_activation activation);
