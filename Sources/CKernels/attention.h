// Private: what the blockwise kernels of attention share.
#pragma once
#include "attention_loops.h"
#include "ckernels/attention.h"

// Rounded up to whole vectors.
KK_INLINE int64_t kk_whole_lanes(int64_t n) { return (n + KK_LANES - 1) / KK_LANES * KK_LANES; }

/// Element (batch, position, head, 0) of an operand.
KK_INLINE const void *kk_operand_at(
    const void *x, kk_dtype type, const int64_t strides[3], int64_t batch, int64_t position, int64_t head) {
  return kk_at(x, type, batch * strides[0] + position * strides[1] + head * strides[2]);
}

/// A block of queries of one head, and the keys that they see.
typedef struct {
  int64_t batch, head, first;
  long count, lanes;  // queries, and lanes that hold them
} kk_query_block;

KK_INLINE long kk_query_blocks(const kk_attention *a) { return kk_ceil_div(a->queries, KK_QUERY_BLOCK); }

/// The early and the late of 0 ..< n in turn: if scores are causal, any two neighbours are the same work.
KK_INLINE long kk_early_and_late(long i, long n) { return i % 2 ? n - 1 - i / 2 : i / 2; }

/// Block number `block` of a head, early and late ones in turn.
kk_query_block kk_query_block_at(const kk_attention *a, int64_t batch, int64_t head, long block);

/// Keys 0 ..< result are all that any query of the block sees.
int64_t kk_visible_keys(const kk_attention *a, const kk_query_block *queries);

/// Floats of scratch for `kk_mask_scores`.
enum { KK_MASK_SCRATCH = 2 * KK_QUERY_BLOCK * KK_KEY_BLOCK };

/// The mask of keys first ..< first + count, which `kk_mask_scores` adds; false if it hides them all.
bool kk_load_mask(
    const kk_attention *a, const kk_query_block *queries, int64_t first, long count, float *scratch);

/// Adds the loaded mask to the scores s (count, lanes), and hides what causality hides.
void kk_mask_scores(
    const kk_attention *a, const kk_query_block *queries, int64_t first, long count, const float *scratch,
    float *s);

/// The rows x (count, n) in f32 at a distance of `pitch`, then zeros; returns `buffer`.
const float *kk_attention_load_rows(
    const void *x, kk_dtype type, int64_t x_row, long count, long n, float *buffer, int64_t pitch);

/// y (n, queries) = scale x^T of queries x (count, n), 0 in lanes without one; `buffer` (count, n) for bf16.
void kk_attention_load_transposed(
    float *y, const void *x, kk_dtype type, int64_t x_row, const kk_query_block *queries, long n, float scale,
    float *buffer);

/// y (count, n) = x^T of x (n, queries); `buffer` (count, n) for bf16.
void kk_store_transposed(
    void *y, kk_dtype type, int64_t y_row, const float *x, long count, long n, float *buffer);

// attention_rows.c: few queries, many keys.
bool kk_attention_is_by_rows(const kk_attention *a);
int64_t kk_attention_rows_scratch(const kk_attention *a);
void kk_attention_rows_forward(
    const kk_attention *a, const void *q, const void *k, const void *v, void *y, float *log_sum,
    float *scratch);
