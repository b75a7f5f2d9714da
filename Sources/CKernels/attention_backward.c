// The backward pass, arXiv 2205.14135, algorithm 4: probabilities p are computed again from log_sum.
//
//     dv = p^T dy,  ds = p (dy v^T - rowsum(dy y)),  dq = scale ds k,  dk = scale ds^T q
//
// A unit of work is a range of keys of one key head, with all queries that see them: dk and dv are complete, dq
// too unless there are several ranges, whose shares are then added. The ranges depend on the shape alone.
#include "attention.h"

// As many units as keep some cores busy, of keys enough to be worth a share of dq.
enum { UNITS = 16, LEAST_KEYS = 256 };

struct job {
  const kk_attention *attention;
  const kk_attention_results *results;
  const char *q, *k, *v;
  char *dq, *dk, *dv;
  float *scratch, *shares;  // (ranges, batch, queries, heads, width)
  int64_t worker_floats, ranges, range;
};

// One worker's memory. Blocks marked T are transposed, in rows of KK_QUERY_BLOCK numbers.
struct memory {
  float *q, *dy;            // (queries, width), (queries, value width), whole vectors
  float *q_t, *dy_t, *dq_t; // (width, queries) T, (value width, queries) T
  float *p, *ds, *mask;     // (keys, queries) T
  float *dk, *dv;           // (range, width), (range, value width), whole vectors
  float *k, *v, *row;       // bf16 operands in f32; one row
};

static int64_t range_count(const kk_attention *a) {
  int64_t units = a->batch * a->key_heads;
  return kk_max(1, kk_min(kk_ceil_div(UNITS, units), a->keys / LEAST_KEYS));
}

static int64_t range_keys(const kk_attention *a) {
  return kk_ceil_div(kk_ceil_div(a->keys, range_count(a)), KK_KEY_BLOCK) * KK_KEY_BLOCK;
}

static int64_t divide(const kk_attention *a, float *scratch, struct memory *m) {
  int64_t used = 0, narrow = a->type != KK_F32, range = kk_min(a->keys, range_keys(a));
  int64_t width = kk_whole_lanes(a->width), value_width = kk_whole_lanes(a->value_width);
#define TAKE(FIELD, FLOATS) m->FIELD = scratch ? scratch + used : NULL, used += kk_whole_lanes(FLOATS)
  TAKE(q, KK_QUERY_BLOCK * width);
  TAKE(dy, KK_QUERY_BLOCK * value_width);
  TAKE(q_t, a->width * KK_QUERY_BLOCK);
  TAKE(dy_t, a->value_width * KK_QUERY_BLOCK);
  TAKE(dq_t, a->width * KK_QUERY_BLOCK);
  TAKE(p, KK_KEY_BLOCK * KK_QUERY_BLOCK);
  TAKE(ds, KK_KEY_BLOCK * KK_QUERY_BLOCK);
  TAKE(mask, KK_MASK_SCRATCH);
  TAKE(dk, range * width);
  TAKE(dv, range * value_width);
  TAKE(k, narrow * a->width * KK_KEY_BLOCK);
  TAKE(v, narrow * a->value_width * KK_KEY_BLOCK);
  TAKE(row, kk_max(KK_QUERY_BLOCK * width, value_width));
#undef TAKE
  return used;
}

static int64_t share_floats(const kk_attention *a) { return a->batch * a->queries * a->heads * a->width; }

int64_t kk_attention_backward_scratch(const kk_attention *attention) {
  struct memory m;
  int64_t ranges = range_count(attention), shares = ranges > 1 ? ranges * share_floats(attention) : 0;
  return (kk_threads() * divide(attention, NULL, &m) + shares) * (int64_t)sizeof(float);
}

// Reads a block of queries and dy, by rows and transposed, with what their softmax needs.
static void load_queries(
    const struct job *j, const struct memory *m, const kk_query_block *b, float *log_sum, float *dot) {
  const kk_attention *a = j->attention;
  const kk_attention_results *r = j->results;
  const int64_t width = kk_whole_lanes(a->width), value_width = kk_whole_lanes(a->value_width);
  const void *q = kk_operand_at(j->q, a->type, a->q_strides, b->batch, b->first, b->head);
  const void *dy = kk_operand_at(r->dy, a->type, r->dy_strides, b->batch, b->first, b->head);
  kk_attention_load_rows(q, a->type, a->q_strides[1], b->count, a->width, m->q, width);
  kk_attention_load_rows(dy, a->type, r->dy_strides[1], b->count, a->value_width, m->dy, value_width);
  kk_attention_load_transposed(m->q_t, m->q, KK_F32, width, b, a->width, a->scale, NULL);
  kk_attention_load_transposed(m->dy_t, m->dy, KK_F32, value_width, b, a->value_width, 1, NULL);
  memset(dot, 0, KK_QUERY_BLOCK * sizeof(float));
  memset(log_sum, 0, KK_QUERY_BLOCK * sizeof(float));
  for (long i = 0; i < b->count; i++)
    kk_row_scores(
        dot + i, m->dy + i * value_width,
        kk_operand_at(r->y, a->type, r->y_strides, b->batch, b->first + i, b->head), a->type, 0, 1,
        a->value_width, 1);
  memcpy(
      log_sum, r->log_sum + (b->batch * a->heads + b->head) * a->queries + b->first,
      (size_t)b->count * sizeof(float));
}

// Keys first ..< first + count of a range that starts at `start`.
static bool add_keys(
    const struct job *j, const struct memory *m, const kk_query_block *b, int64_t start, int64_t first,
    long count, const float *log_sum, const float *dot, bool is_first) {
  const kk_attention *a = j->attention;
  if (!kk_load_mask(a, b, first, count, m->mask)) return false;
  int64_t key_head = b->head / (a->heads / a->key_heads), k_row = a->k_strides[1], v_row = a->v_strides[1];
  const int64_t width = kk_whole_lanes(a->width), value_width = kk_whole_lanes(a->value_width);
  const float *k = kk_operand_at(j->k, a->type, a->k_strides, b->batch, first, key_head);
  const float *v = kk_operand_at(j->v, a->type, a->v_strides, b->batch, first, key_head);
  if (a->type != KK_F32) {
    k = kk_attention_load_rows(k, a->type, k_row, count, a->width, m->k, a->width);
    v = kk_attention_load_rows(v, a->type, v_row, count, a->value_width, m->v, a->value_width);
    k_row = a->width, v_row = a->value_width;
  }
  kk_product scores = {
      .m = count, .n = b->lanes, .depth = a->width, .a = k, .a_row = k_row, .a_step = 1, .b = m->q_t,
      .b_row = KK_QUERY_BLOCK, .c = m->p, .c_row = KK_QUERY_BLOCK};
  kk_lanes_multiply(&scores);
  kk_mask_scores(a, b, first, count, m->mask, m->p);
  kk_lanes_multiply(&(kk_product){
      .m = count, .n = b->lanes, .depth = a->value_width, .a = v, .a_row = v_row, .a_step = 1, .b = m->dy_t,
      .b_row = KK_QUERY_BLOCK, .c = m->ds, .c_row = KK_QUERY_BLOCK});
  kk_lanes_softmax_gradient(m->p, m->ds, count, b->lanes, log_sum, dot);
  kk_lanes_multiply(&(kk_product){
      .m = count, .n = value_width, .depth = b->count, .a = m->p, .a_row = KK_QUERY_BLOCK, .a_step = 1,
      .b = m->dy, .b_row = value_width, .c = m->dv + (first - start) * value_width, .c_row = value_width,
      .add = true});
  kk_lanes_multiply(&(kk_product){
      .m = count, .n = width, .depth = b->count, .a = m->ds, .a_row = KK_QUERY_BLOCK, .a_step = 1, .b = m->q,
      .b_row = width, .c = m->dk + (first - start) * width, .c_row = width, .add = true});
  kk_lanes_multiply(&(kk_product){
      .m = a->width, .n = b->lanes, .depth = count, .a = k, .a_row = 1, .a_step = k_row, .b = m->ds,
      .b_row = KK_QUERY_BLOCK, .c = m->dq_t, .c_row = KK_QUERY_BLOCK, .add = !is_first});
  return true;
}

// All queries of a block with keys start ..< end, their range.
static void go_back(
    const struct job *j, const struct memory *m, const kk_query_block *b, int64_t range, int64_t start,
    int64_t end) {
  const kk_attention *a = j->attention;
  int64_t visible = kk_min(end, kk_visible_keys(a, b));
  bool is_first = true;
  float log_sum[KK_QUERY_BLOCK], dot[KK_QUERY_BLOCK], factor[KK_QUERY_BLOCK];
  if (start < visible) load_queries(j, m, b, log_sum, dot);
  for (int64_t key = start; key < visible; key += KK_KEY_BLOCK)
    if (add_keys(j, m, b, start, key, kk_min(KK_KEY_BLOCK, visible - key), log_sum, dot, is_first))
      is_first = false;
  if (is_first) memset(m->dq_t, 0, (size_t)(a->width * KK_QUERY_BLOCK) * sizeof(float));
  for (long i = 0; i < KK_QUERY_BLOCK; i++) factor[i] = a->scale;
  kk_lanes_scale(m->dq_t, a->width, b->lanes, factor);
  int64_t at = ((b->batch * a->queries + b->first) * a->heads + b->head) * a->width, row = a->heads * a->width;
  if (j->ranges > 1)
    kk_store_transposed(
        j->shares + range * share_floats(a) + at, KK_F32, row, m->dq_t, b->count, a->width, NULL);
  else
    kk_store_transposed(
        (void *)kk_at(j->dq, a->type, at), a->type, row, m->dq_t, b->count, a->width, m->row);
}

// Rows start ..< end of dk or dv, times a number.
static void store_keys(
    const kk_attention *a, char *out, const float *x, float factor, int64_t n, int64_t batch,
    int64_t key_head, int64_t start, int64_t end, float *row) {
  for (int64_t key = start; key < end; key++) {
    const float *from = x + (key - start) * kk_whole_lanes(n);
    for (int64_t i = 0; i < n; i++) row[i] = factor * from[i];
    int64_t at = ((batch * a->keys + key) * a->key_heads + key_head) * n;
    kk_store_f32((void *)kk_at(out, a->type, at), a->type, 1, row, n);
  }
}

static void handle_ranges(long begin, long end, int worker, void *context) {
  const struct job *j = context;
  const kk_attention *a = j->attention;
  const int64_t group = a->heads / a->key_heads;
  struct memory m;
  divide(a, j->scratch + worker * j->worker_floats, &m);
  for (long unit = begin; unit < end; unit++) {
    int64_t range = kk_early_and_late(unit % j->ranges, j->ranges), key_head = unit / j->ranges % a->key_heads,
            batch = unit / j->ranges / a->key_heads;
    int64_t start = range * j->range, last = kk_min(a->keys, start + j->range);
    size_t keys = (size_t)kk_max(0, last - start);
    memset(m.dk, 0, keys * (size_t)kk_whole_lanes(a->width) * sizeof(float));
    memset(m.dv, 0, keys * (size_t)kk_whole_lanes(a->value_width) * sizeof(float));
    for (int64_t head = key_head * group; head < (key_head + 1) * group; head++)
      for (long block = 0; block < kk_query_blocks(a); block++) {
        kk_query_block b = kk_query_block_at(a, batch, head, block);
        go_back(j, &m, &b, range, start, last);
      }
    store_keys(a, j->dk, m.dk, a->scale, a->width, batch, key_head, start, last, m.row);
    store_keys(a, j->dv, m.dv, 1, a->value_width, batch, key_head, start, last, m.row);
  }
}

static void add_shares(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_attention *a = j->attention;
  const int64_t n = a->width;
  for (long row = begin; row < end; row++) {
    float *sum = j->shares + row * n;
    for (int64_t range = 1; range < j->ranges; range++) {
      const float *share = sum + range * share_floats(a);
      KK_INDEPENDENT for (int64_t i = 0; i < n; i++) sum[i] += share[i];
    }
    kk_store_f32((void *)kk_at(j->dq, a->type, row * n), a->type, 1, sum, n);
  }
}

void kk_attention_backward(
    const kk_attention *attention, const kk_attention_results *results, const void *q, const void *k,
    const void *v, void *dq, void *dk, void *dv, void *scratch) {
  const kk_attention *a = attention;
  kk_require_f32_or_bf16("kk_attention_backward", a->type);
  struct memory m;
  struct job j = {
      .attention = a, .results = results, .q = q, .k = k, .v = v, .dq = dq, .dk = dk, .dv = dv,
      .scratch = scratch, .worker_floats = divide(a, NULL, &m), .ranges = range_count(a),
      .range = range_keys(a)};
  j.shares = j.scratch + kk_threads() * j.worker_floats;
  kk_parallel_for(a->batch * a->key_heads * j.ranges, 1, handle_ranges, &j);
  if (j.ranges > 1) kk_parallel_for(a->batch * a->queries * a->heads, 64, add_shares, &j);
}
