// Private: what the blockwise kernels of attention share.
//
// Scores lie by rows, a query's keys side by side in lanes, in base 2. Keys and values of a block are brought into
// form once for a range of queries, whose blocks of rows fit the cache.
#pragma once
#include "attention_loops.h"
#include "ckernels/attention.h"
#include "mathf.h"

enum { KK_MOST_KEYS = 256, KK_MOST_ROWS = 64, KK_MOST_CAUSAL_ROWS = 36 };

/// Element (batch, position, head, 0) of an operand.
KK_INLINE const void *kk_operand_at(
    const void *x, kk_dtype type, const int64_t strides[3], int64_t batch, int64_t position, int64_t head) {
  return kk_at(x, type, batch * strides[0] + position * strides[1] + head * strides[2]);
}

/// Part i of 0 ..< n in `parts` even ones.
typedef struct {
  int64_t first, count;
} kk_part;
KK_INLINE kk_part kk_part_of(int64_t n, long parts, long i) {
  int64_t first = n * i / parts;
  return (kk_part){first, n * (i + 1) / parts - first};
}

/// Keys of a block, a multiple of 64: their rows in f32 take 64 KB.
KK_INLINE int64_t kk_block_keys(const kk_attention *a) {
  int64_t keys = 16384 / kk_max(a->width, a->value_width) / 64 * 64;
  return kk_min(kk_max(64, kk_min(keys, KK_MOST_KEYS)), kk_whole_lanes(a->keys));
}

/// Most queries of a block of scores. Those of causal ones are fewer, since the softmax takes as many keys as the last sees.
KK_INLINE int64_t kk_block_rows(const kk_attention *a) {
  return a->causal ? KK_MOST_CAUSAL_ROWS : KK_MOST_ROWS;
}

/// Floats between the rows of a block of scores; no power of two, whose lines would share few places in the cache.
KK_INLINE int64_t kk_block_pitch(const kk_attention *a) { return kk_block_keys(a) + KK_LANES; }

/// Keys 0 ..< result are all that queries up to `query` see.
KK_INLINE int64_t kk_visible_keys(const kk_attention *a, int64_t query) {
  return a->causal ? kk_max(0, kk_min(a->keys, query + a->keys - a->queries + 1)) : a->keys;
}

/// A head, and the keys or queries in range that a unit of work is about.
typedef struct {
  int64_t batch, head, key_head;
  int64_t index;  // of the range
  kk_part range;
} kk_unit;

/// Looks ahead to rows of one head of an operand, of n numbers.
KK_INLINE void kk_look_ahead(
    kk_ahead *ahead, const void *x, kk_dtype type, const int64_t strides[3], int64_t batch, int64_t head,
    kk_part rows, int64_t n) {
  if (rows.count <= 0) return;
  const int64_t element = (int64_t)kk_dtype_size(type);
  ahead->parts[ahead->count++] = (kk_ahead_rows){
      kk_operand_at(x, type, strides, batch, rows.first, head), strides[1] * element, rows.count, n * element};
}

/// Spreads what is ahead over so many tiles.
KK_INLINE void kk_spread_ahead(kk_ahead *ahead, long tiles) {
  long rows = 0;
  for (int i = 0; i < ahead->count; i++) rows += ahead->parts[i].count;
  ahead->step = kk_ceil_div(rows, kk_max(1, tiles));
}

/// Tiles of a product of m rows and n columns.
KK_INLINE long kk_tile_count(long m, long n) {
  const long vectors = kk_ceil_div(n, KK_LANES), panels = kk_ceil_div(vectors, KK_PANEL);
  return panels * kk_ceil_div(m, kk_tile_rows(kk_ceil_div(vectors, panels)));
}

/// The strides of a result (batch, positions, heads, n) with positions `ROW` numbers apart.
#define KK_STRIDES(POSITIONS, ROW, N)                                                                        \
  { (POSITIONS) * (ROW), (ROW), (N) }

/// A block of scores: queries and keys of one head.
typedef struct {
  int64_t batch, head, query, key;
  long rows, keys;
} kk_block;

/// Floats of scratch for masks.
int64_t kk_mask_floats(const kk_attention *a);

/// Reads the mask that queries share of keys first ..< first + count; returns how many there are up to the last that is
/// not hidden. Nothing to do without one.
long kk_load_shared_mask(
    const kk_attention *a, int64_t batch, int64_t head, int64_t first, long count, float *scratch);

/// Masks products q k^T, and prepares them for the softmax; `scratch` holds the shared mask.
kk_scores kk_masked_scores(const kk_attention *a, const kk_block *block, float *s, float *scratch);

// attention_rows.c: few queries, many keys.
bool kk_attention_is_by_rows(const kk_attention *a);
int64_t kk_attention_rows_scratch(const kk_attention *a);
void kk_attention_rows_forward(
    const kk_attention *a, const void *q, const void *k, const void *v, void *y, float *log_sum,
    float *scratch);
