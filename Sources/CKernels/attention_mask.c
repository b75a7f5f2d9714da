// Masks of blocks of scores: added, hidden, causal, dropped.
#include "attention.h"
#include "random.h"
#include "softmax_loops.h"

// Whether all queries have one mask.
static bool is_shared(const kk_attention *a) { return a->mask_strides[2] == 0; }

int64_t kk_mask_floats(const kk_attention *a) {
  return !a->mask ? 0 : kk_block_keys(a) * (is_shared(a) ? 1 : kk_block_rows(a));
}

// What is added to scores in base 2, to whole vectors.
static void load_row(
    const kk_attention *a, int64_t batch, int64_t head, int64_t query, int64_t first, long count,
    float *row) {
  const int64_t *s = a->mask_strides;
  int64_t at = batch * s[0] + head * s[1] + query * s[2] + first * s[3];
  memset(row, 0, (size_t)kk_whole_lanes(count) * sizeof(float));
  kk_row_mask(row, count, kk_at(a->mask, a->mask_type, at), a->mask_type, s[3]);
  if (a->mask_type != KK_BOOL) kk_row_scale(row, row, count, KK_LOG2_E, 0);
}

long kk_load_shared_mask(
    const kk_attention *a, int64_t batch, int64_t head, int64_t first, long count, float *scratch) {
  if (!a->mask || !is_shared(a)) return count;
  load_row(a, batch, head, 0, first, count, scratch);
  while (count > 0 && scratch[count - 1] == -INFINITY) count--;
  return count;
}

kk_scores kk_masked_scores(const kk_attention *a, const kk_block *b, float *s, float *scratch) {
  kk_scores scores = {s, kk_block_pitch(a), b->rows, b->keys, a->scale * KK_LOG2_E, NULL, 0, 0};
  if (a->mask) {
    if (!is_shared(a))
      for (long r = 0; r < b->rows; r++)
        load_row(a, b->batch, b->head, b->query + r, b->key, b->keys, scratch + r * kk_block_keys(a));
    kk_scores_add(&scores, scratch, is_shared(a) ? 0 : kk_block_keys(a));
  } else if (!(scores.factor > 0)) {
    // Then -infinity would not stay what it is.
    kk_scores_add(&scores, NULL, 0);
  }
  int64_t seen = a->causal ? b->query + a->keys - a->queries + 1 - b->key : b->keys;
  kk_scores_hide(&scores, seen);
  if (a->drops) {
    scores.keep = &a->keep;
    scores.element_row = (uint64_t)kk_attention_map_row(a->keys);
    uint64_t row = (uint64_t)((b->batch * a->heads + b->head) * a->queries + b->query);
    scores.element = row * scores.element_row + (uint64_t)b->key;
  }
  return scores;
}
