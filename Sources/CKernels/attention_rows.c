// The forward pass for few queries (decoding): each reads rows of keys and values as they lie, in parallel over
// heads and ranges of keys. The ranges, whose results are joined at the end, depend on the shape alone.
#include "attention.h"

#include "softmax_loops.h"

enum { MOST_QUERIES = 4, RANGE = 256 };

struct job {
  const kk_attention *attention;
  const char *q, *k, *v;
  char *y;
  float *log_sum;
  float *partials;  // of each batch, head, query and range: value_width sums, their total, the top score
  int64_t ranges, partial;
};

bool kk_attention_is_by_rows(const kk_attention *a) { return !a->drops && a->queries <= MOST_QUERIES; }

static int64_t partial_floats(const kk_attention *a) { return kk_whole_lanes(a->value_width + 2); }

int64_t kk_attention_rows_scratch(const kk_attention *a) {
  return a->batch * a->heads * a->queries * kk_ceil_div(a->keys, RANGE) * partial_floats(a)
      * (int64_t)sizeof(float);
}

// Writes the partial result of one query, which `q` has room for.
static void attend(
    const struct job *j, int64_t batch, int64_t head, int64_t query, int64_t first, long count, float *q,
    float *partial) {
  const kk_attention *a = j->attention;
  const int64_t *strides = a->mask_strides;
  int64_t key_head = head / (a->heads / a->key_heads), n = a->value_width;
  memset(partial, 0, (size_t)(n + 1) * sizeof(float));
  partial[n + 1] = -INFINITY;
  if (a->causal) count = kk_min(count, query + a->keys - a->queries + 1 - first);
  if (count <= 0) return;
  float mask[RANGE], s[RANGE];
  long skipped = 0;
  if (a->mask) {
    memset(mask, 0, sizeof(mask));
    int64_t at = batch * strides[0] + head * strides[1] + query * strides[2] + first * strides[3];
    kk_row_mask(mask, count, kk_at(a->mask, a->mask_type, at), a->mask_type, strides[3]);
    if (kk_row_max(mask, count) == -INFINITY) return;
    // Of a cache only what is filled is read.
    while (mask[count - 1] == -INFINITY) count--;
    while (mask[skipped] == -INFINITY) skipped++;
    first += skipped;
    count -= skipped;
  }
  kk_load_f32(q, kk_operand_at(j->q, a->type, a->q_strides, batch, query, head), a->type, a->width, 1);
  kk_row_scores(
      s, q, kk_operand_at(j->k, a->type, a->k_strides, batch, first, key_head), a->type, a->k_strides[1], count,
      a->width, a->scale);
  if (a->mask)
    for (long i = 0; i < count; i++) s[i] += mask[skipped + i];
  float top = kk_row_max(s, count);
  if (top == -INFINITY) return;
  partial[n] = kk_row_exp(s, s, count, top);
  partial[n + 1] = top;
  kk_row_mix(
      partial, s, kk_operand_at(j->v, a->type, a->v_strides, batch, first, key_head), a->type, a->v_strides[1],
      count, n);
}

static void attend_ranges(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_attention *a = j->attention;
  int64_t group = a->heads / a->key_heads;
  float *q = malloc((size_t)a->width * sizeof(float));
  if (!q) kk_fail("kk_attention_forward", "out of memory");
  for (long unit = begin; unit < end; unit++) {
    int64_t range = unit % j->ranges, key_head = unit / j->ranges % a->key_heads,
            batch = unit / j->ranges / a->key_heads, first = range * RANGE;
    // All that read these keys, one after the other.
    for (int64_t head = key_head * group; head < (key_head + 1) * group; head++)
      for (int64_t query = 0; query < a->queries; query++) {
        int64_t row = (batch * a->heads + head) * a->queries + query;
        attend(
            j, batch, head, query, first, kk_min(RANGE, a->keys - first), q,
            j->partials + (row * j->ranges + range) * j->partial);
      }
  }
  free(q);
}

static void join_ranges(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_attention *a = j->attention;
  const int64_t n = a->value_width;
  for (long row = begin; row < end; row++) {
    float *first = j->partials + row * j->ranges * j->partial, top = -INFINITY, total = 0;
    for (int64_t r = 0; r < j->ranges; r++) top = fmaxf(top, first[r * j->partial + n + 1]);
    for (int64_t r = 0; r < j->ranges; r++) {
      const float *partial = first + r * j->partial;
      float factor = top == -INFINITY ? 0 : expf(partial[n + 1] - top);
      total += factor * partial[n];
      for (int64_t i = 0; i < n; i++) first[i] = (r ? first[i] : 0) + factor * partial[i];
    }
    for (int64_t i = 0; i < n; i++) first[i] = total != 0 ? first[i] / total : 0;
    j->log_sum[row] = total != 0 ? top + logf(total) : 0;
    int64_t query = row % a->queries, head = row / a->queries % a->heads, batch = row / a->queries / a->heads;
    int64_t at = ((batch * a->queries + query) * a->heads + head) * n;
    kk_store_f32((void *)kk_at(j->y, a->type, at), a->type, 1, first, n);
  }
}

void kk_attention_rows_forward(
    const kk_attention *a, const void *q, const void *k, const void *v, void *y, float *log_sum,
    float *scratch) {
  struct job j = {a, q, k, v, y, log_sum, scratch, kk_ceil_div(a->keys, RANGE), partial_floats(a)};
  kk_parallel_for(a->batch * a->key_heads * j.ranges, 1, attend_ranges, &j);
  kk_parallel_for(a->batch * a->heads * a->queries, 16, join_ranges, &j);
}
