// Cross-entropy of a linear layer in blocks of rows: what happens between the matrix products.
//
// A block holds rows of the whole problem, gathered: block row r stands for row `rows[r]`, for r < count; rows from
// count up to the block's size are padding, and zero.
#pragma once
#include "softmax.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Writes the numbers of the rows whose label is not `ignore_index` to `rows` (n) in order; returns how many.
int64_t kk_kept_rows(const int32_t *labels, int64_t n, int64_t ignore_index, int64_t *rows);

/// block (size, width) of `block_type` = the rows `rows` (count) of x (.., width), zeros below; KK_F32 or KK_BF16.
void kk_load_rows(
    const void *x, kk_dtype type, int64_t width, const int64_t *rows, int64_t count, int64_t size, void *block,
    kk_dtype block_type);

/// The rows `rows` (count) of y (.., width) = block (count, width) of f32.
void kk_store_rows(
    const float *block, int64_t width, const int64_t *rows, int64_t count, void *y, kk_dtype type);

/// Losses of a block of logits (size, stride) f32, of which `classes` in a row count, written to loss[rows[r]].
///
/// With `dloss`, whose element rows[r] belongs to block row r, the gradient replaces the logits, in elements of
/// `entropy->type` (rows of KK_BF16 begin where the rows of logits do: their stride is 2 `stride`); padding becomes 0.
/// `entropy->rows` is the block's size; labels are those of the whole problem, KK_I32.
void kk_cross_entropy_block(
    const kk_cross_entropy *entropy, float *logits, int64_t stride, const int32_t *labels, const int64_t *rows,
    int64_t count, float *loss, const float *dloss);

/// sums (columns) += the sums over the rows of x (rows, columns), whose rows are `stride` elements apart.
void kk_add_column_sums(
    const void *x, kk_dtype type, int64_t rows, int64_t columns, int64_t stride, float *sums);

#ifdef __cplusplus
}
#endif
