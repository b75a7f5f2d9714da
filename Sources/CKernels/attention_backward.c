// The backward pass, arXiv 2205.14135, algorithm 4: probabilities p are computed again from log_sum.
//
//     dv = p^T dy,  ds = p (dy v^T - rowsum(dy y)),  dq = scale ds k,  dk = scale ds^T q
//
// A unit of work is a range of keys of one key head, with all queries that see them: dk and dv are complete, dq
// too unless there are several ranges, whose shares are then added. The ranges depend on the shape alone.
#include "attention.h"

// As many units as keep some cores busy, of keys enough to be worth a share of dq.
enum { UNITS = 16, LEAST_KEYS = 128 };

struct job {
  const kk_attention *attention;
  const kk_attention_loops *loops;
  const kk_attention_results *results;
  const kk_attention_gradients *gradients;
  const char *q, *k, *v;
  float *scratch, *shares;  // (ranges, batch, queries, heads, width)
  int64_t worker_floats, ranges;
};

// One worker's memory.
struct memory {
  float *k, *v, *paired_k;        // keys and values transposed, keys paired
  float *s, *dp, *mask;           // (rows, keys)
  float *q, *dy;                  // queries and dy paired
  float *rows;                    // an operand by rows
  float *dq;                      // (queries, width)
  float *dk, *dv;                 // (range, width), (range, value width)
  kk_ahead ahead;
};

// Keys of a unit that are at work, and those that come next; none if their `count` is 0.
struct keys {
  int64_t first;
  long count, space;  // without those that a mask hides at the end, and with them
  kk_unit next_unit;
  kk_part next;
  bool is_last;  // of the group of heads: dk and dv are complete after these
};

static int64_t range_count(const kk_attention *a) {
  int64_t units = a->batch * a->key_heads;
  int64_t most = kk_min(a->keys / LEAST_KEYS, kk_ceil_div(a->keys, kk_block_keys(a)));
  return kk_max(1, kk_min(kk_ceil_div(UNITS, units), most));
}

static kk_part range_at(const kk_attention *a, int64_t i) {
  // Whole blocks, so that no range ends within one.
  int64_t keys = kk_block_keys(a), blocks = kk_ceil_div(a->keys, keys);
  kk_part part = kk_part_of(blocks, range_count(a), i);
  return (kk_part){part.first * keys, kk_min(part.count * keys, a->keys - part.first * keys)};
}

static int64_t divide(const kk_attention *a, float *scratch, struct memory *m) {
  int64_t used = 0, keys = kk_block_keys(a), rows = kk_block_rows(a), queries = a->queries;
  int64_t width = kk_whole_lanes(a->width), value_width = kk_whole_lanes(a->value_width);
  int64_t range = kk_ceil_div(kk_ceil_div(a->keys, keys), range_count(a)) * keys;
#define TAKE(FIELD, FLOATS) m->FIELD = scratch ? scratch + used : NULL, used += kk_whole_lanes(FLOATS)
  TAKE(k, keys * a->width);
  TAKE(v, keys * a->value_width);
  TAKE(paired_k, keys * width);
  TAKE(s, rows * kk_block_pitch(a));
  TAKE(dp, rows * kk_block_pitch(a));
  TAKE(mask, kk_mask_floats(a));
  TAKE(q, rows * width);
  TAKE(dy, rows * value_width);
  TAKE(rows, kk_max(keys, rows) * kk_max(width, value_width));
  TAKE(dq, queries * width);
  TAKE(dk, range * width);
  TAKE(dv, range * value_width);
#undef TAKE
  return used;
}

static int64_t share_floats(const kk_attention *a) { return a->batch * a->queries * a->heads * a->width; }

int64_t kk_attention_backward_scratch(const kk_attention *attention) {
  struct memory m;
  int64_t ranges = range_count(attention), shares = ranges > 1 ? ranges * share_floats(attention) : 0;
  return (kk_threads() * divide(attention, NULL, &m) + shares) * (int64_t)sizeof(float);
}

// The log-sums in base 2, and rowsum(dy y).
static void load_sums(const struct job *j, const kk_block *b, float *log_sum, float *dot) {
  const kk_attention *a = j->attention;
  const kk_attention_results *r = j->results;
  const float *from = r->log_sum + (b->batch * a->heads + b->head) * a->queries + b->query;
  for (long i = 0; i < b->rows; i++) log_sum[i] = KK_LOG2_E * from[i];
  const int64_t element = (int64_t)kk_dtype_size(a->type);
  j->loops->dot(
      dot, kk_operand_at(r->dy, a->type, r->dy_strides, b->batch, b->query, b->head), r->dy_strides[1] * element,
      kk_operand_at(r->y, a->type, r->y_strides, b->batch, b->query, b->head), r->y_strides[1] * element, a->type,
      b->rows, a->value_width);
}

// The gradients of a block; `from` is the first key of the range, `add` whether dq has other shares.
static void go_back_block(
    const struct job *j, struct memory *m, const kk_block *b, int64_t from, long panel_keys, bool add) {
  const kk_attention *a = j->attention;
  const kk_attention_results *r = j->results;
  const kk_attention_loops *loops = j->loops;
  const bool pairs = loops->pairs;
  const int64_t width = kk_whole_lanes(a->width), value_width = kk_whole_lanes(a->value_width);
  const int64_t pitch = kk_block_pitch(a), element = (int64_t)kk_dtype_size(a->type);
  const int64_t q_row = a->q_strides[1] * element, dy_row = r->dy_strides[1] * element;
  const long lanes = kk_whole_lanes(panel_keys), depth = kk_units(b->rows, pairs);
  const int64_t seen = kk_visible_keys(a, b->query) - b->key;
  const void *q = kk_operand_at(j->q, a->type, a->q_strides, b->batch, b->query, b->head);
  const void *dy = kk_operand_at(r->dy, a->type, r->dy_strides, b->batch, b->query, b->head);

  kk_unit_rows rows = loops->by_rows(q, a->type, q_row, b->rows, a->width, m->rows);
  kk_product product = {
      .m = b->rows, .n = b->keys, .depth = kk_units(a->width, pairs), .a = rows.rows, .a_row = rows.row,
      .a_step = 4, .b = m->k, .b_lanes = lanes, .b_depth = kk_units(a->width, pairs), .c = m->s,
      .c_row = pitch, .causal = a->causal ? KK_CAUSAL_COLUMNS : KK_NOT_CAUSAL, .seen = seen, .ahead = &m->ahead};
  loops->multiply(&product);
  // Hidden scores become -infinity, but what their gradients are multiplied with has to be finite.
  product.causal = KK_NOT_CAUSAL;
  const kk_scores scores = kk_masked_scores(a, b, m->s, m->mask);
  rows = loops->by_rows(dy, a->type, dy_row, b->rows, a->value_width, m->rows);
  product.depth = product.b_depth = kk_units(a->value_width, pairs);
  product.a = rows.rows, product.a_row = rows.row, product.b = m->v, product.c = m->dp;
  loops->multiply(&product);
  float log_sum[KK_MOST_ROWS], dot[KK_MOST_ROWS];
  load_sums(j, b, log_sum, dot);
  loops->softmax_gradient(&scores, m->dp, log_sum, dot);

  loops->pair(m->dy, dy, a->type, dy_row, b->rows, a->value_width);
  loops->pair(m->q, q, a->type, q_row, b->rows, a->width);
  // Pairs of two rows of queries lie in every other row.
  const int64_t step = 4 * pitch * (pairs ? 2 : 1);
  loops->multiply(&(kk_product){
      .m = b->keys, .n = value_width, .depth = depth, .a = m->s, .a_row = 4, .a_step = step, .b = m->dy,
      .b_lanes = value_width, .b_depth = depth, .c = m->dv + (b->key - from) * value_width,
      .c_row = value_width, .add = true, .ahead = &m->ahead});
  loops->multiply(&(kk_product){
      .m = b->keys, .n = width, .depth = depth, .a = pairs ? m->s + pitch : m->dp, .a_row = 4, .a_step = step,
      .b = m->q, .b_lanes = width, .b_depth = depth, .c = m->dk + (b->key - from) * width, .c_row = width,
      .add = true, .ahead = &m->ahead});
  loops->multiply(&(kk_product){
      .m = b->rows, .n = width, .depth = kk_units(b->keys, pairs), .a = m->dp, .a_row = 4 * pitch,
      .a_step = 4, .b = m->paired_k, .b_lanes = width, .b_depth = kk_units(panel_keys, pairs),
      .c = m->dq + b->query * width, .c_row = width, .add = add,
      .causal = a->causal ? KK_CAUSAL_DEPTH : KK_NOT_CAUSAL, .seen = seen, .ahead = &m->ahead});
}

// dq of queries that have seen all keys of the range, or the range's share of it; 0 if they saw none.
static void finish(const struct job *j, const struct memory *m, const kk_unit *u, kk_part rows, bool sees) {
  const kk_attention *a = j->attention;
  const int64_t width = kk_whole_lanes(a->width);
  const bool shared = j->ranges > 1;
  const int64_t row = shared ? a->heads * a->width : j->gradients->dq_row;
  const int64_t strides[3] = KK_STRIDES(a->queries, row, a->width);
  float *dq = m->dq + rows.first * width;
  if (!sees) memset(dq, 0, (size_t)(rows.count * width) * sizeof(float));
  void *to = shared ? j->shares + u->index * share_floats(a) : j->gradients->dq;
  const kk_dtype type = shared ? KK_F32 : a->type;
  j->loops->store(
      (void *)kk_operand_at(to, type, strides, u->batch, rows.first, u->head), type, strides[1], dq,
      rows.count, a->width, &a->scale, 0);
}

// What comes after block number `block`: its dq, the queries of the next block or unit, and shares of the next keys and of
// dk and dv.
static void look_ahead(
    const struct job *j, struct memory *m, const kk_unit *u, const struct keys *keys, long block, long blocks,
    bool is_last) {
  const kk_attention *a = j->attention;
  const kk_attention_results *r = j->results;
  const kk_unit *n = &keys->next_unit;
  const int64_t width = a->width, value_width = a->value_width;
  const kk_part rows = kk_part_of(a->queries, blocks, block);
  const kk_part share = kk_part_of(keys->next.count, blocks, block);
  const kk_part next_keys = {keys->next.first + share.first, share.count};
  kk_ahead *ahead = &m->ahead;
  *ahead = (kk_ahead){.count = 0};
  if (is_last && j->ranges == 1) {
    const int64_t strides[3] = KK_STRIDES(a->queries, j->gradients->dq_row, width);
    kk_look_ahead(ahead, j->gradients->dq, a->type, strides, u->batch, u->head, rows, width);
  }
  if (n->head != u->head || n->batch != u->batch || block + 1 < blocks) {
    const kk_unit *reader = block + 1 < blocks ? u : n;
    const int64_t b = reader->batch, h = reader->head;
    const kk_part next = kk_part_of(a->queries, blocks, (block + 1) % blocks);
    if (reader == n || keys->first == u->range.first) {
      kk_look_ahead(ahead, j->q, a->type, a->q_strides, b, h, next, width);
      kk_look_ahead(ahead, r->dy, a->type, r->dy_strides, b, h, next, value_width);
      kk_look_ahead(ahead, r->y, a->type, r->y_strides, b, h, next, value_width);
    }
  }
  kk_look_ahead(ahead, j->k, a->type, a->k_strides, n->batch, n->key_head, next_keys, width);
  kk_look_ahead(ahead, j->v, a->type, a->v_strides, n->batch, n->key_head, next_keys, value_width);
  if (keys->is_last) {
    const int64_t k[3] = KK_STRIDES(a->keys, j->gradients->dk_row, width);
    const int64_t v[3] = KK_STRIDES(a->keys, j->gradients->dv_row, value_width);
    const kk_part part = kk_part_of(u->range.count, blocks, block);
    const kk_part at = {u->range.first + part.first, part.count};
    kk_look_ahead(ahead, j->gradients->dk, a->type, k, u->batch, u->key_head, at, width);
    kk_look_ahead(ahead, j->gradients->dv, a->type, v, u->batch, u->key_head, at, value_width);
  }
  kk_spread_ahead(
      ahead, 2 * kk_tile_count(rows.count, keys->count) + kk_tile_count(rows.count, width)
                 + kk_tile_count(keys->count, width) + kk_tile_count(keys->count, value_width));
}

// All queries with some keys.
static void go_back_keys(
    const struct job *j, struct memory *m, const kk_unit *u, const struct keys *keys, bool add) {
  const kk_attention *a = j->attention;
  const kk_attention_loops *loops = j->loops;
  const int64_t element = (int64_t)kk_dtype_size(a->type);
  const int64_t k_row = a->k_strides[1] * element, v_row = a->v_strides[1] * element;
  const void *k = kk_operand_at(j->k, a->type, a->k_strides, u->batch, keys->first, u->key_head);
  const void *v = kk_operand_at(j->v, a->type, a->v_strides, u->batch, keys->first, u->key_head);
  if (keys->count > 0) {
    kk_unit_rows rows = loops->by_rows(k, a->type, k_row, keys->count, a->width, m->rows);
    loops->transpose(m->k, rows, keys->count, kk_units(a->width, loops->pairs));
    rows = loops->by_rows(v, a->type, v_row, keys->count, a->value_width, m->rows);
    loops->transpose(m->v, rows, keys->count, kk_units(a->value_width, loops->pairs));
    loops->pair(m->paired_k, k, a->type, k_row, keys->count, a->width);
  }
  const long blocks = kk_ceil_div(a->queries, kk_block_rows(a));
  for (long block = 0; block < blocks; block++) {
    const kk_part rows = kk_part_of(a->queries, blocks, block);
    const int64_t seen = kk_visible_keys(a, rows.first + rows.count - 1);
    const int64_t visible = kk_min(seen, u->range.first + u->range.count) - keys->first;
    // Queries that see nothing are done with the first keys.
    const bool is_last = visible <= keys->space && (visible > 0 || keys->first == u->range.first);
    const kk_block b = {u->batch, u->head, rows.first, keys->first, rows.count, kk_min(keys->count, visible)};
    if (b.keys > 0) {
      look_ahead(j, m, u, keys, block, blocks, is_last);
      go_back_block(j, m, &b, u->range.first, keys->count, add);
    }
    if (is_last) finish(j, m, u, rows, add || b.keys > 0);
  }
}

// One head of queries with a range of keys.
static void go_back(const struct job *j, struct memory *m, const kk_unit *u, const kk_unit *next) {
  const kk_attention *a = j->attention;
  const int64_t first = u->range.first, space = kk_block_keys(a);
  const int64_t end = kk_min(first + u->range.count, kk_visible_keys(a, a->queries - 1));
  int64_t first_seen = a->keys;
  for (int64_t key = first; key == first || key < end; key += space) {
    struct keys keys = {.first = key, .count = kk_min(space, end - key), .space = space, .next_unit = *u};
    if (key + space < end) {
      keys.next = (kk_part){key + space, kk_min(space, end - key - space)};
    } else if (next) {
      keys.next_unit = *next;
      keys.next = (kk_part){next->range.first, kk_min(space, next->range.count)};
    }
    keys.is_last = key + space >= end && (u->head + 1) % (a->heads / a->key_heads) == 0;
    if (keys.count > 0) keys.count = kk_load_shared_mask(a, u->batch, u->head, key, keys.count, m->mask);
    go_back_keys(j, m, u, &keys, first_seen < key);
    if (keys.count > 0) first_seen = kk_min(first_seen, key);
  }
}

// Heads of queries and ranges of keys, in the order in which results become complete. Early ranges first: if scores are
// causal, they are the most work.
static kk_unit unit_at(const struct job *j, int64_t i) {
  const kk_attention *a = j->attention;
  const int64_t group = a->heads / a->key_heads, range = i / group % j->ranges;
  const int64_t unit = i / group / j->ranges, key_head = unit % a->key_heads;
  return (kk_unit){
      unit / a->key_heads, key_head * group + i % group, key_head, range, range_at(a, range)};
}

static void store_keys(const struct job *j, const struct memory *m, const kk_unit *u) {
  const kk_attention *a = j->attention;
  const kk_attention_gradients *g = j->gradients;
  const float one = 1;
  const int64_t row = u->batch * a->keys + u->range.first;
  j->loops->store(
      (void *)kk_at(g->dk, a->type, row * g->dk_row + u->key_head * a->width), a->type, g->dk_row, m->dk,
      u->range.count, a->width, &a->scale, 0);
  j->loops->store(
      (void *)kk_at(g->dv, a->type, row * g->dv_row + u->key_head * a->value_width), a->type, g->dv_row, m->dv,
      u->range.count, a->value_width, &one, 0);
}

// Ranges of keys with the group of heads that reads them.
static void go_back_ranges(long begin, long end, int worker, void *context) {
  const struct job *j = context;
  const kk_attention *a = j->attention;
  const int64_t group = a->heads / a->key_heads;
  const int64_t width = kk_whole_lanes(a->width), value_width = kk_whole_lanes(a->value_width);
  struct memory m;
  divide(a, j->scratch + worker * j->worker_floats, &m);
  for (int64_t i = begin * group; i < end * group; i++) {
    const bool is_last = i + 1 == end * group;
    const kk_unit unit = unit_at(j, i), next = unit_at(j, is_last ? i : i + 1);
    if (i % group == 0) {
      memset(m.dk, 0, (size_t)(unit.range.count * width) * sizeof(float));
      memset(m.dv, 0, (size_t)(unit.range.count * value_width) * sizeof(float));
    }
    go_back(j, &m, &unit, is_last ? NULL : &next);
    if ((i + 1) % group == 0) store_keys(j, &m, &unit);
  }
}

static void add_shares(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_attention *a = j->attention;
  const int64_t n = a->heads * a->width;
  for (long row = begin; row < end; row++) {
    float *sum = j->shares + row * n;
    for (int64_t range = 1; range < j->ranges; range++) {
      const float *share = sum + range * share_floats(a);
      KK_INDEPENDENT for (int64_t i = 0; i < n; i++) sum[i] += share[i];
    }
    kk_store_f32(
        (void *)kk_at(j->gradients->dq, a->type, row * j->gradients->dq_row), a->type, 1, sum, n);
  }
}

void kk_attention_backward(
    const kk_attention *attention, const kk_attention_results *results, const void *q, const void *k,
    const void *v, const kk_attention_gradients *gradients, void *scratch) {
  const kk_attention *a = attention;
  kk_require_f32_or_bf16("kk_attention_backward", a->type);
  struct memory m;
  struct job j = {
      .attention = a, .loops = kk_attention_loops_for(a->type), .results = results, .gradients = gradients,
      .q = q, .k = k, .v = v, .scratch = scratch, .worker_floats = divide(a, NULL, &m),
      .ranges = range_count(a)};
  j.shares = j.scratch + kk_threads() * j.worker_floats;
  kk_parallel_units(a->batch * a->key_heads * j.ranges, go_back_ranges, &j);
  if (j.ranges > 1) kk_parallel_for(a->batch * a->queries, 8, add_shares, &j);
}
