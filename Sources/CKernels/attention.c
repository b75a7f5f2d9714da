// The forward pass, arXiv 2205.14135, algorithm 1, over blocks of keys and queries.
#include "attention.h"

// Queries that share keys in form, and units of work that keep some cores busy, of queries enough to be worth that.
enum { MOST_QUERIES = 256, LEAST_QUERIES = 64, UNITS = 16 };

struct job {
  const kk_attention *attention;
  const kk_attention_loops *loops;
  const char *q, *k, *v;
  char *y;
  float *log_sum, *scratch;
  int64_t worker_floats;
};

// One worker's memory.
struct memory {
  float *k, *v;             // keys transposed, values paired
  float *s, *mask;          // (rows, keys)
  float *sum, *top, *total; // (queries, value width), (queries) and (queries, lanes)
  float *rows;              // keys or queries by rows
  kk_ahead ahead;
};

// Keys of a unit that are at work, and those that come next; none if their `count` is 0.
struct keys {
  int64_t first;
  long count, space;  // without those that a mask hides at the end, and with them
  kk_unit next_unit;
  kk_part next;
};

static long range_count(const kk_attention *a) {
  long for_cores = kk_min(kk_ceil_div(UNITS, a->batch * a->heads), kk_ceil_div(a->queries, LEAST_QUERIES));
  return kk_max(kk_ceil_div(a->queries, MOST_QUERIES), for_cores);
}

static int64_t divide(const kk_attention *a, float *scratch, struct memory *m) {
  int64_t used = 0, keys = kk_block_keys(a), rows = kk_block_rows(a);
  int64_t queries = kk_ceil_div(a->queries, range_count(a));
#define TAKE(FIELD, FLOATS) m->FIELD = scratch ? scratch + used : NULL, used += kk_whole_lanes(FLOATS)
  TAKE(k, keys * a->width);
  TAKE(v, keys * kk_whole_lanes(a->value_width));
  TAKE(s, rows * kk_block_pitch(a));
  TAKE(mask, kk_mask_floats(a));
  TAKE(sum, queries * kk_whole_lanes(a->value_width));
  TAKE(top, queries);
  TAKE(total, queries * KK_LANES);
  TAKE(rows, kk_max(keys, rows) * kk_whole_lanes(a->width));
#undef TAKE
  return used;
}

int64_t kk_attention_forward_scratch(const kk_attention *attention) {
  struct memory m;
  if (kk_attention_is_by_rows(attention)) return kk_attention_rows_scratch(attention);
  return kk_threads() * divide(attention, NULL, &m) * (int64_t)sizeof(float);
}

// The scores of a block, their softmax and values; `first` is the first query of the range.
static void attend_block(
    const struct job *j, struct memory *m, const kk_block *b, int64_t first, long panel_keys, bool add) {
  const kk_attention *a = j->attention;
  const bool pairs = j->loops->pairs;
  const int64_t lanes = kk_whole_lanes(a->value_width), pitch = kk_block_pitch(a);
  const int64_t element = (int64_t)kk_dtype_size(a->type), at = b->query - first;
  const void *q = kk_operand_at(j->q, a->type, a->q_strides, b->batch, b->query, b->head);
  kk_unit_rows rows =
      j->loops->by_rows(q, a->type, a->q_strides[1] * element, b->rows, a->width, m->rows);
  const long depth = kk_units(a->width, pairs);
  const int64_t seen = kk_visible_keys(a, b->query) - b->key;
  j->loops->multiply(&(kk_product){
      .m = b->rows, .n = b->keys, .depth = depth, .a = rows.rows, .a_row = rows.row, .a_step = 4, .b = m->k,
      .b_lanes = kk_whole_lanes(panel_keys), .b_depth = depth, .c = m->s, .c_row = pitch,
      .causal = a->causal ? KK_CAUSAL_COLUMNS : KK_NOT_CAUSAL, .seen = seen, .ahead = &m->ahead});
  const kk_scores scores = kk_masked_scores(a, b, m->s, m->mask);
  float fade[KK_MOST_ROWS], *sum = m->sum + at * lanes;
  j->loops->softmax(&scores, m->top + at, m->total + at * KK_LANES, fade);
  if (add) kk_rows_scale(sum, lanes, b->rows, lanes, fade);
  j->loops->multiply(&(kk_product){
      .m = b->rows, .n = lanes, .depth = kk_units(b->keys, pairs), .a = m->s, .a_row = 4 * pitch, .a_step = 4,
      .b = m->v, .b_lanes = lanes, .b_depth = kk_units(panel_keys, pairs), .c = sum, .c_row = lanes,
      .add = add, .causal = a->causal ? KK_CAUSAL_DEPTH : KK_NOT_CAUSAL, .seen = seen, .ahead = &m->ahead});
}

// The results of queries that have seen all their keys.
static void finish(const struct job *j, const struct memory *m, const kk_unit *u, kk_part rows) {
  const kk_attention *a = j->attention;
  const int64_t lanes = kk_whole_lanes(a->value_width), head = u->batch * a->heads + u->head;
  float *log_sum = j->log_sum + head * a->queries + rows.first, factors[KK_MOST_ROWS];
  const int64_t first = rows.first - u->range.first;
  j->loops->softmax_sums(m->top + first, m->total + first * KK_LANES, rows.count, log_sum, factors);
  for (long i = 0; i < rows.count; i++)
    if (m->top[first + i] == -INFINITY)
      memset(m->sum + (first + i) * lanes, 0, (size_t)lanes * sizeof(float));
  const int64_t strides[3] = KK_STRIDES(a->queries, a->heads * a->value_width, a->value_width);
  j->loops->store(
      (void *)kk_operand_at(j->y, a->type, strides, u->batch, rows.first, u->head), a->type, strides[1],
      m->sum + first * lanes, rows.count, a->value_width, factors, 1);
}

// What comes after a block: its results, the queries of the next block or unit, and a share of the next keys.
static void look_ahead(
    const struct job *j, struct memory *m, const kk_unit *u, const struct keys *keys, long block, long blocks,
    bool is_last) {
  const kk_attention *a = j->attention;
  const kk_unit *n = &keys->next_unit;
  const kk_part rows = kk_part_of(u->range.count, blocks, block);
  const kk_part share = kk_part_of(keys->next.count, blocks, block);
  const kk_part next_keys = {keys->next.first + share.first, share.count};
  const int64_t y_strides[3] = KK_STRIDES(a->queries, a->heads * a->value_width, a->value_width);
  kk_ahead *ahead = &m->ahead;
  *ahead = (kk_ahead){.count = 0};
  if (is_last) {
    const kk_part at = {u->range.first + rows.first, rows.count};
    kk_look_ahead(ahead, j->y, a->type, y_strides, u->batch, u->head, at, a->value_width);
  }
  if (keys->first == 0 && block + 1 < blocks) {
    kk_part next = kk_part_of(u->range.count, blocks, block + 1);
    next.first += u->range.first;
    kk_look_ahead(ahead, j->q, a->type, a->q_strides, u->batch, u->head, next, a->width);
  }
  if (block + 1 == blocks && keys->next.first == 0) {
    const kk_part next = {n->range.first, kk_min(n->range.count, rows.count)};
    kk_look_ahead(ahead, j->q, a->type, a->q_strides, n->batch, n->head, next, a->width);
  }
  kk_look_ahead(ahead, j->k, a->type, a->k_strides, n->batch, n->key_head, next_keys, a->width);
  kk_look_ahead(ahead, j->v, a->type, a->v_strides, n->batch, n->key_head, next_keys, a->value_width);
  kk_spread_ahead(ahead, kk_tile_count(rows.count, keys->count) + kk_tile_count(rows.count, a->value_width));
}

// All queries of a unit with some keys.
static void attend_keys(
    const struct job *j, struct memory *m, const kk_unit *u, const struct keys *keys, bool add) {
  const kk_attention *a = j->attention;
  const int64_t element = (int64_t)kk_dtype_size(a->type);
  const void *k = kk_operand_at(j->k, a->type, a->k_strides, u->batch, keys->first, u->key_head);
  const void *v = kk_operand_at(j->v, a->type, a->v_strides, u->batch, keys->first, u->key_head);
  if (keys->count > 0) {
    kk_unit_rows rows =
        j->loops->by_rows(k, a->type, a->k_strides[1] * element, keys->count, a->width, m->rows);
    j->loops->transpose(m->k, rows, keys->count, kk_units(a->width, j->loops->pairs));
    j->loops->pair(m->v, v, a->type, a->v_strides[1] * element, keys->count, a->value_width);
  }
  const long blocks = kk_ceil_div(u->range.count, kk_block_rows(a));
  for (long block = 0; block < blocks; block++) {
    kk_part rows = kk_part_of(u->range.count, blocks, block);
    rows.first += u->range.first;
    const int64_t visible = kk_visible_keys(a, rows.first + rows.count - 1) - keys->first;
    // Queries that see nothing are done with the first keys.
    const bool is_last = visible <= keys->space && (visible > 0 || keys->first == 0);
    const kk_block b = {u->batch, u->head, rows.first, keys->first, rows.count, kk_min(keys->count, visible)};
    if (b.keys > 0) {
      look_ahead(j, m, u, keys, block, blocks, is_last);
      attend_block(j, m, &b, u->range.first, keys->count, add);
    }
    if (is_last) finish(j, m, u, rows);
  }
}

static void attend(const struct job *j, struct memory *m, const kk_unit *u, const kk_unit *next) {
  const kk_attention *a = j->attention;
  const int64_t visible = kk_visible_keys(a, u->range.first + u->range.count - 1), space = kk_block_keys(a);
  for (long i = 0; i < u->range.count; i++) m->top[i] = -INFINITY;
  memset(m->total, 0, (size_t)(u->range.count * KK_LANES) * sizeof(float));
  int64_t first_seen = a->keys;
  for (int64_t key = 0; key == 0 || key < visible; key += space) {
    struct keys keys = {.first = key, .count = kk_min(space, visible - key), .space = space, .next_unit = *u};
    if (key + space < visible) {
      keys.next = (kk_part){key + space, kk_min(space, visible - key - space)};
    } else if (next) {
      keys.next_unit = *next;
      keys.next = (kk_part){0, kk_min(space, kk_visible_keys(a, next->range.first + next->range.count - 1))};
    }
    if (keys.count > 0) keys.count = kk_load_shared_mask(a, u->batch, u->head, key, keys.count, m->mask);
    attend_keys(j, m, u, &keys, first_seen < key);
    if (keys.count > 0) first_seen = kk_min(first_seen, key);
  }
}

static kk_unit unit_at(const kk_attention *a, long i) {
  const long ranges = range_count(a), head = i / ranges % a->heads;
  // Late ones first: if scores are causal, they are the most work.
  const long index = ranges - 1 - i % ranges;
  return (kk_unit){
      i / ranges / a->heads, head, head / (a->heads / a->key_heads), index,
      kk_part_of(a->queries, ranges, index)};
}

static void attend_units(long begin, long end, int worker, void *context) {
  const struct job *j = context;
  struct memory m;
  divide(j->attention, j->scratch + worker * j->worker_floats, &m);
  kk_unit next = unit_at(j->attention, begin);
  for (long i = begin; i < end; i++) {
    const kk_unit unit = next;
    if (i + 1 < end) next = unit_at(j->attention, i + 1);
    attend(j, &m, &unit, i + 1 < end ? &next : NULL);
  }
}

void kk_attention_forward(
    const kk_attention *attention, const void *q, const void *k, const void *v, void *y, float *log_sum,
    void *scratch) {
  const kk_attention *a = attention;
  kk_require_f32_or_bf16("kk_attention_forward", a->type);
  if (kk_attention_is_by_rows(a)) {
    kk_attention_rows_forward(a, q, k, v, y, log_sum, scratch);
    return;
  }
  struct memory m;
  struct job j = {a, kk_attention_loops_for(a->type), q, k, v, y, log_sum, scratch, divide(a, NULL, &m)};
  kk_parallel_units(a->batch * a->heads * range_count(a), attend_units, &j);
}
