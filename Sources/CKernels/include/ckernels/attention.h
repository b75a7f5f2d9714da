// Scaled dot-product attention, blockwise: no (queries, keys) array exists.
#pragma once
#include "random.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Attention of q (batch, queries, heads, width) to k (batch, keys, key_heads, width) and
/// v (batch, keys, key_heads, value_width); head h reads key head h / (heads / key_heads):
///
///     s = scale q k^T + mask,   y = dropout(softmax(s)) v,   log_sum = log sum_k exp(s)
///
/// `causal`: query t sees keys up to t + keys - queries. An additive mask is KK_F32 or KK_BF16; a KK_BOOL mask
/// keeps the keys where it is true. A query that sees nothing gives y = 0 and log_sum = 0, and has no gradient.
///
/// If it `drops`, probability (b, h, t, k) stays where element ((b heads + h) queries + t) kk_attention_map_row(keys) + k
/// of `keep` is true, times its value; the others are 0. The gradient drops the same ones.
///
/// Operands are read through their strides (in elements), the last axis being dense. Results are dense:
/// y (batch, queries, heads, value_width), log_sum (batch, heads, queries).
typedef struct {
  int64_t batch, queries, keys, heads, key_heads, width, value_width;  // none is 0
  kk_dtype type;                                                       // KK_F32 or KK_BF16
  float scale;
  bool causal;
  int64_t q_strides[3], k_strides[3], v_strides[3];  // of batch, position, head
  const void *mask;                                  // or NULL
  kk_dtype mask_type;
  int64_t mask_strides[4];  // of batch, head, query, key
  bool drops;
  kk_keep keep;
} kk_attention;

/// Truth values for each query: its keys rounded up to whole groups of 64, or to 16 or 32 of one.
static inline int64_t kk_attention_map_row(int64_t keys) {
  return keys <= 16 ? 16 : keys <= 32 ? 32 : (keys + 63) / 64 * 64;
}

/// Bytes of scratch memory that the kernels need with the present number of threads; linear in the keys. Whether there
/// is a mask counts (any address that is not NULL), its values do not.
int64_t kk_attention_forward_scratch(const kk_attention *attention);
int64_t kk_attention_backward_scratch(const kk_attention *attention);

void kk_attention_forward(
    const kk_attention *attention, const void *q, const void *k, const void *v, void *y, float *log_sum,
    void *scratch);

/// What the gradient reads besides the operands: dy, and the forward results y and log_sum (dense).
typedef struct {
  const void *dy, *y;
  int64_t dy_strides[3], y_strides[3];  // of batch, position, head
  const float *log_sum;
} kk_attention_results;

/// Where the gradients go: shaped as their operands, with positions `row` numbers apart; heads of a position are dense.
typedef struct {
  void *dq, *dk, *dv;
  int64_t dq_row, dk_row, dv_row;
} kk_attention_gradients;

void kk_attention_backward(
    const kk_attention *attention, const kk_attention_results *results, const void *q, const void *k,
    const void *v, const kk_attention_gradients *gradients, void *scratch);

#ifdef __cplusplus
}
#endif
