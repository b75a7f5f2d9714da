// Blocks of queries and keys: which there are, how they are read, masked and stored.
#include "attention.h"
#include "softmax_loops.h"
#include "transpose.h"

kk_query_block kk_query_block_at(const kk_attention *a, int64_t batch, int64_t head, long block) {
  int64_t first = kk_early_and_late(block, kk_query_blocks(a)) * KK_QUERY_BLOCK;
  long count = kk_min(KK_QUERY_BLOCK, a->queries - first);
  return (kk_query_block){batch, head, first, count, kk_whole_lanes(count)};
}

int64_t kk_visible_keys(const kk_attention *a, const kk_query_block *queries) {
  if (!a->causal) return a->keys;
  return kk_max(0, kk_min(a->keys, a->keys - a->queries + queries->first + queries->count));
}

static const void *mask_at(const kk_attention *a, const kk_query_block *queries, int64_t query, int64_t key) {
  const int64_t *s = a->mask_strides;
  return kk_at(a->mask, a->mask_type, queries->batch * s[0] + queries->head * s[1] + query * s[2] + key * s[3]);
}

// Whether all queries have one mask.
static bool is_shared(const kk_attention *a) { return a->mask_strides[2] == 0; }

bool kk_load_mask(
    const kk_attention *a, const kk_query_block *queries, int64_t first, long count, float *scratch) {
  if (!a->mask) return true;
  float *rows = scratch + KK_QUERY_BLOCK * KK_KEY_BLOCK;
  long queries_read = is_shared(a) ? 1 : queries->count;
  float top = -INFINITY;
  for (long i = 0; i < queries_read; i++) {
    float *row = rows + i * KK_KEY_BLOCK;
    memset(row, 0, (size_t)count * sizeof(float));
    kk_row_mask(row, count, mask_at(a, queries, queries->first + i, first), a->mask_type, a->mask_strides[3]);
    if (top == -INFINITY) top = kk_row_max(row, count);
  }
  if (top == -INFINITY) return false;
  if (is_shared(a)) {
    for (long key = 0; key < count; key++)
      for (long i = 0; i < queries->lanes; i++) scratch[key * KK_QUERY_BLOCK + i] = rows[key];
  } else {
    kk_transpose_tile(scratch, KK_QUERY_BLOCK, rows, KK_KEY_BLOCK, count, queries->count, sizeof(float));
    for (long key = 0; key < count; key++)
      for (long i = queries->count; i < queries->lanes; i++) scratch[key * KK_QUERY_BLOCK + i] = 0;
  }
  return true;
}

void kk_mask_scores(
    const kk_attention *a, const kk_query_block *queries, int64_t first, long count, const float *scratch,
    float *s) {
  if (a->mask) kk_lanes_add(s, count, queries->lanes, scratch);
  if (!a->causal) return;
  for (long key = 0; key < count; key++) {
    // Queries before this one are too early to see the key.
    int64_t seeing = first + key - (a->keys - a->queries) - queries->first;
    for (long i = 0; i < kk_min(seeing, queries->lanes); i++) s[key * KK_QUERY_BLOCK + i] = -INFINITY;
  }
}

const float *kk_attention_load_rows(
    const void *x, kk_dtype type, int64_t x_row, long count, long n, float *buffer, int64_t pitch) {
  for (long i = 0; i < count; i++) {
    float *row = buffer + i * pitch;
    kk_load_f32(row, kk_at(x, type, i * x_row), type, n, 1);
    for (long j = n; j < pitch; j++) row[j] = 0;
  }
  return buffer;
}

void kk_attention_load_transposed(
    float *y, const void *x, kk_dtype type, int64_t x_row, const kk_query_block *queries, long n, float scale,
    float *buffer) {
  if (type != KK_F32) {
    x = kk_attention_load_rows(x, type, x_row, queries->count, n, buffer, n);
    x_row = n;
  }
  kk_transpose_tile(y, KK_QUERY_BLOCK, x, x_row, n, queries->count, sizeof(float));
  float factor[KK_QUERY_BLOCK];
  for (long i = 0; i < KK_QUERY_BLOCK; i++) factor[i] = scale;
  for (long i = 0; i < n; i++)
    for (long l = queries->count; l < queries->lanes; l++) y[i * KK_QUERY_BLOCK + l] = 0;
  if (scale != 1) kk_lanes_scale(y, n, queries->lanes, factor);
}

void kk_store_transposed(
    void *y, kk_dtype type, int64_t y_row, const float *x, long count, long n, float *buffer) {
  if (type == KK_F32) {
    kk_transpose_tile(y, y_row, x, KK_QUERY_BLOCK, count, n, sizeof(float));
    return;
  }
  kk_transpose_tile(buffer, n, x, KK_QUERY_BLOCK, count, n, sizeof(float));
  for (long i = 0; i < count; i++) kk_store_f32((void *)kk_at(y, type, i * y_row), type, 1, buffer + i * n, n);
}
