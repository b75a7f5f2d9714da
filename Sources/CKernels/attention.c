// The forward pass, arXiv 2205.14135, algorithm 1, over blocks of queries and keys.
#include "attention.h"

#include "transpose.h"

struct job {
  const kk_attention *attention;
  const char *q, *k, *v;
  char *y;
  float *log_sum, *scratch;
  int64_t worker_floats;
};

// One worker's memory; blocks are transposed, in rows of KK_QUERY_BLOCK numbers.
struct memory {
  float *q, *sum;        // (width, queries) scaled, (value width, queries)
  float *scores, *mask;  // (keys, queries)
  float *rows, *k, *v;   // bf16 operands and results in f32, by rows
};

static int64_t divide(const kk_attention *a, float *scratch, struct memory *m) {
  int64_t used = 0, narrow = a->type != KK_F32;
#define TAKE(FIELD, FLOATS) m->FIELD = scratch ? scratch + used : NULL, used += kk_whole_lanes(FLOATS)
  TAKE(q, a->width * KK_QUERY_BLOCK);
  TAKE(sum, a->value_width * KK_QUERY_BLOCK);
  TAKE(scores, KK_KEY_BLOCK * KK_QUERY_BLOCK);
  TAKE(mask, KK_MASK_SCRATCH);
  TAKE(rows, narrow * kk_max(a->width, a->value_width) * KK_QUERY_BLOCK);
  TAKE(k, narrow * a->width * KK_KEY_BLOCK);
  TAKE(v, narrow * a->value_width * KK_KEY_BLOCK);
#undef TAKE
  return used;
}

int64_t kk_attention_forward_scratch(const kk_attention *attention) {
  struct memory m;
  if (kk_attention_is_by_rows(attention)) return kk_attention_rows_scratch(attention);
  return kk_threads() * divide(attention, NULL, &m) * (int64_t)sizeof(float);
}

// Keys first ..< first + count: their scores, the online softmax, their values; false if no query sees any.
static bool add_keys(
    const struct job *j, const struct memory *m, const kk_query_block *b, int64_t first, long count,
    float *top, float *total, bool is_first) {
  const kk_attention *a = j->attention;
  if (!kk_load_mask(a, b, first, count, m->mask)) return false;
  int64_t key_head = b->head / (a->heads / a->key_heads), k_row = a->k_strides[1], v_row = a->v_strides[1];
  const float *k = kk_operand_at(j->k, a->type, a->k_strides, b->batch, first, key_head);
  const float *v = kk_operand_at(j->v, a->type, a->v_strides, b->batch, first, key_head);
  if (a->type != KK_F32) {
    k = kk_attention_load_rows(k, a->type, k_row, count, a->width, m->k, a->width);
    v = kk_attention_load_rows(v, a->type, v_row, count, a->value_width, m->v, a->value_width);
    k_row = a->width, v_row = a->value_width;
  }
  kk_lanes_multiply(&(kk_product){
      .m = count, .n = b->lanes, .depth = a->width, .a = k, .a_row = k_row, .a_step = 1, .b = m->q,
      .b_row = KK_QUERY_BLOCK, .c = m->scores, .c_row = KK_QUERY_BLOCK});
  kk_mask_scores(a, b, first, count, m->mask, m->scores);
  float fade[KK_QUERY_BLOCK];
  if (kk_lanes_softmax(m->scores, count, b->lanes, top, total, fade) && !is_first)
    kk_lanes_scale(m->sum, a->value_width, b->lanes, fade);
  kk_lanes_multiply(&(kk_product){
      .m = a->value_width, .n = b->lanes, .depth = count, .a = v, .a_row = 1, .a_step = v_row, .b = m->scores,
      .b_row = KK_QUERY_BLOCK, .c = m->sum, .c_row = KK_QUERY_BLOCK, .add = !is_first});
  return true;
}

static void attend(const struct job *j, const struct memory *m, const kk_query_block *b) {
  const kk_attention *a = j->attention;
  float top[KK_QUERY_BLOCK], total[KK_QUERY_BLOCK] = {0};
  for (long i = 0; i < KK_QUERY_BLOCK; i++) top[i] = -INFINITY;
  const void *q = kk_operand_at(j->q, a->type, a->q_strides, b->batch, b->first, b->head);
  kk_attention_load_transposed(m->q, q, a->type, a->q_strides[1], b, a->width, a->scale, m->rows);
  bool is_first = true;
  int64_t visible = kk_visible_keys(a, b);
  for (int64_t key = 0; key < visible; key += KK_KEY_BLOCK)
    if (add_keys(j, m, b, key, kk_min(KK_KEY_BLOCK, visible - key), top, total, is_first)) is_first = false;
  if (is_first) memset(m->sum, 0, (size_t)(a->value_width * KK_QUERY_BLOCK) * sizeof(float));

  float *log_sum = j->log_sum + (b->batch * a->heads + b->head) * a->queries + b->first;
  float factor[KK_QUERY_BLOCK];
  for (long i = 0; i < b->lanes; i++) {
    bool sees = total[i] != 0;
    factor[i] = sees ? 1 / total[i] : 0;
    if (i < b->count) log_sum[i] = sees ? top[i] + logf(total[i]) : 0;
  }
  kk_lanes_scale(m->sum, a->value_width, b->lanes, factor);
  int64_t y_row = a->heads * a->value_width;
  int64_t at = ((b->batch * a->queries + b->first) * a->heads + b->head) * a->value_width;
  kk_store_transposed(
      (void *)kk_at(j->y, a->type, at), a->type, y_row, m->sum, b->count, a->value_width, m->rows);
}

static void attend_blocks(long begin, long end, int worker, void *context) {
  const struct job *j = context;
  const kk_attention *a = j->attention;
  long blocks = kk_query_blocks(a);
  struct memory m;
  divide(a, j->scratch + worker * j->worker_floats, &m);
  for (long unit = begin; unit < end; unit++) {
    long head = unit / blocks;
    kk_query_block block = kk_query_block_at(a, head / a->heads, head % a->heads, unit % blocks);
    attend(j, &m, &block);
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
  struct job j = {a, q, k, v, y, log_sum, scratch, divide(a, NULL, &m)};
  kk_parallel_for(a->batch * a->heads * kk_query_blocks(a), 1, attend_blocks, &j);
}
