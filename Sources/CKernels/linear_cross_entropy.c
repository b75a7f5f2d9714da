#include "ckernels/linear_cross_entropy.h"

#include "common.h"
#include "softmax_loops.h"

enum { CHUNK = 1024, GRAIN = 1 << 14 };

int64_t kk_kept_rows(const int32_t *labels, int64_t n, int64_t ignore_index, int64_t *rows) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++)
    if (labels[i] != ignore_index) rows[count++] = i;
  return count;
}

struct rows {
  int64_t width, count;
  const int64_t *rows;
  const char *x;
  char *y;
  kk_dtype from, to;
};

/// n elements of one float type to another, through f32.
static void convert(void *dst, kk_dtype to, const void *src, kk_dtype from, long n) {
  if (to == from) {
    memcpy(dst, src, (size_t)n * kk_dtype_size(to));
  } else if (to == KK_F32) {
    kk_load_f32(dst, src, from, n, 1);
  } else {
    kk_store_f32(dst, to, 1, src, n);
  }
}

static void load_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct rows *j = context;
  for (long r = begin; r < end; r++) {
    char *to = (char *)kk_at(j->y, j->to, r * j->width);
    if (r < j->count)
      convert(to, j->to, kk_at(j->x, j->from, j->rows[r] * j->width), j->from, j->width);
    else
      memset(to, 0, (size_t)j->width * kk_dtype_size(j->to));
  }
}

void kk_load_rows(
    const void *x, kk_dtype type, int64_t width, const int64_t *rows, int64_t count, int64_t size, void *block,
    kk_dtype block_type) {
  kk_require_f32_or_bf16("kk_load_rows", type);
  kk_require_f32_or_bf16("kk_load_rows", block_type);
  struct rows j = {width, count, rows, x, block, type, block_type};
  kk_parallel_for(size, kk_max(1, GRAIN / kk_max(1, width)), load_rows, &j);
}

static void store_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct rows *j = context;
  for (long r = begin; r < end; r++)
    convert(
        (char *)kk_at(j->y, j->to, j->rows[r] * j->width), j->to, kk_at(j->x, KK_F32, r * j->width), KK_F32,
        j->width);
}

void kk_store_rows(
    const float *block, int64_t width, const int64_t *rows, int64_t count, void *y, kk_dtype type) {
  kk_require_f32_or_bf16("kk_store_rows", type);
  struct rows j = {width, count, rows, (const char *)block, y, KK_F32, type};
  kk_parallel_for(count, kk_max(1, GRAIN / kk_max(1, width)), store_rows, &j);
}

struct block {
  const kk_cross_entropy *entropy;
  float *logits;
  int64_t stride, count;
  const int32_t *labels;
  const int64_t *rows;
  float *loss;
  const float *dloss;
};

/// The row's gradient over its logits x: factor e + offset, and `pull` less at the label; e are the exponentials in x.
static void write_gradient(
    float *x, long n, kk_dtype type, float factor, float offset, int64_t label, float pull) {
  x[label] = x[label] * factor + offset - pull;
  float at_label = x[label];
  if (type == KK_F32) {
    kk_row_scale(x, x, n, factor, offset);
    x[label] = at_label;
    return;
  }
  // The narrow row overtakes nothing that is still to be read: chunk by chunk through a buffer.
  float buffer[CHUNK];
  for (long i = 0; i < n; i += CHUNK) {
    long m = kk_min(CHUNK, n - i);
    kk_row_scale(buffer, x + i, m, factor, offset);
    if (label >= i && label < i + m) buffer[label - i] = at_label;
    kk_store_f32((uint16_t *)x + i, type, 1, buffer, m);
  }
}

static void block_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct block *b = context;
  const kk_cross_entropy *e = b->entropy;
  const long n = e->classes;
  const double smoothing = e->smoothing;
  for (long r = begin; r < end; r++) {
    float *x = b->logits + r * b->stride;
    if (r >= b->count) {
      if (b->dloss) memset(x, 0, (size_t)n * sizeof(float));
      continue;
    }
    int64_t row = b->rows[r], label = b->labels[row];
    if (label < 0 || label >= n) {
      b->loss[row] = NAN;
      if (b->dloss) {
        for (long i = 0; i < n; i++) x[i] = 0;
        write_gradient(x, n, e->type, NAN, 0, 0, 0);
      }
      continue;
    }
    float top = kk_row_max(x, n);
    double at_label = x[label], mean = smoothing != 0 ? (double)kk_row_sum(x, n) / (double)n : 0;
    float sum = b->dloss ? kk_row_exp(x, x, n, top) : kk_row_exp_sum(x, n, top);
    double log_sum = (double)top + log((double)sum);
    double loss = (1.0 - smoothing) * (log_sum - at_label);
    if (smoothing != 0) loss += smoothing * (log_sum - mean);
    b->loss[row] = (float)loss;
    if (!b->dloss) continue;
    float d = b->dloss[row];
    float floor = (float)(smoothing / (double)n), pull = (float)(1.0 - smoothing);
    write_gradient(x, n, e->type, d / sum, -d * floor, label, d * pull);
  }
}

void kk_cross_entropy_block(
    const kk_cross_entropy *entropy, float *logits, int64_t stride, const int32_t *labels, const int64_t *rows,
    int64_t count, float *loss, const float *dloss) {
  kk_require_f32_or_bf16("kk_cross_entropy_block", entropy->type);
  if (entropy->classes < 1) kk_fail("kk_cross_entropy_block", "there must be a class");
  struct block b = {entropy, logits, stride, count, labels, rows, loss, dloss};
  kk_parallel_for(entropy->rows, kk_max(1, GRAIN / entropy->classes), block_rows, &b);
}

struct sums {
  const void *x;
  kk_dtype type;
  int64_t rows, columns, stride;
  float *sums;
};

KK_CLONES static void add(float *y, const float *x, long n) {
  KK_INDEPENDENT for (long i = 0; i < n; i++) y[i] += x[i];
}

static void add_columns(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct sums *s = context;
  float buffer[CHUNK];
  for (long chunk = begin; chunk < end; chunk++) {
    long first = chunk * CHUNK, m = kk_min(CHUNK, s->columns - first);
    for (long r = 0; r < s->rows; r++) {
      const void *x = kk_at(s->x, s->type, r * s->stride + first);
      if (s->type == KK_F32) {
        add(s->sums + first, x, m);
      } else {
        kk_load_f32(buffer, x, s->type, m, 1);
        add(s->sums + first, buffer, m);
      }
    }
  }
}

void kk_add_column_sums(
    const void *x, kk_dtype type, int64_t rows, int64_t columns, int64_t stride, float *sums) {
  kk_require_f32_or_bf16("kk_add_column_sums", type);
  struct sums s = {x, type, rows, columns, stride, sums};
  kk_parallel_for(kk_ceil_div(columns, CHUNK), 1, add_columns, &s);
}
