#include "ckernels/softmax.h"

#include "dims.h"
#include "softmax_loops.h"

enum { GRAIN = 1 << 13 };

struct job {
  const kk_softmax *softmax;
  const char *y, *dy;  // y is x in the forward direction
  char *out;
  int64_t n;
};

static float *allocate(int64_t floats) {
  float *p = malloc((size_t)floats * sizeof(float));
  if (!p) kk_fail("kk_softmax", "out of memory");
  return p;
}

// How many leading positions row `row` sees.
static int64_t visible(const struct job *j, int64_t row) {
  const kk_softmax *s = j->softmax;
  if (!s->causal || s->rank < 2) return j->n;
  int64_t queries = s->shape[s->rank - 2];
  return kk_max(0, kk_min(j->n, row % queries + 1 + j->n - queries));
}

static void store_row(const struct job *j, int64_t row, const float *values) {
  void *dst = (void *)kk_at(j->out, j->softmax->type, row * j->n);
  if (dst != (const void *)values) kk_store_f32(dst, j->softmax->type, 1, values, j->n);
}

// The row in f32: the memory itself if `direct`, else a converted copy.
static const float *load_row(const struct job *j, const char *base, int64_t row, long n, float *buffer) {
  const void *src = kk_at(base, j->softmax->type, row * j->n);
  if (j->softmax->type == KK_F32) return src;
  kk_load_f32(buffer, src, j->softmax->type, n, 1);
  return buffer;
}

static void forward_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_softmax *s = j->softmax;
  const long n = j->n;
  float *buffer = allocate(n);
  for (long row = begin; row < end; row++) {
    long m = visible(j, row);
    float *out = s->type == KK_F32 ? (float *)j->out + row * n : buffer;
    const float *x = load_row(j, j->y, row, m, buffer);
    if (s->scale != 1 || s->mask) {
      kk_row_scale(buffer, x, m, s->scale, 0);
      x = buffer;
    }
    if (s->mask) {
      int64_t offset = kk_offset(s->rank - 1, s->shape, s->mask_strides, row);
      kk_row_mask(buffer, m, kk_at(s->mask, s->mask_type, offset), s->mask_type,
          s->mask_strides[s->rank - 1]);
    }
    float top = m > 0 ? kk_row_max(x, m) : -INFINITY;
    if (top == -INFINITY) {
      for (long i = 0; i < n; i++) out[i] = s->log ? -INFINITY : 0;
    } else if (s->log) {
      // In two steps: top + log(sum) rounds at the size of top, which may be far larger than the results.
      float log_sum = logf(kk_row_exp_sum(x, m, top));
      kk_row_scale(out, x, m, 1, -top);
      kk_row_scale(out, out, m, 1, -log_sum);
      for (long i = m; i < n; i++) out[i] = -INFINITY;
    } else {
      float sum = kk_row_exp(out, x, m, top);
      kk_row_scale(out, out, m, 1 / sum, 0);
      for (long i = m; i < n; i++) out[i] = 0;
    }
    store_row(j, row, out);
  }
  free(buffer);
}

static void backward_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_softmax *s = j->softmax;
  const long n = j->n;
  float *buffers = allocate(2 * n);
  for (long row = begin; row < end; row++) {
    long m = visible(j, row);
    float *out = s->type == KK_F32 ? (float *)j->out + row * n : buffers;
    const float *y = load_row(j, j->y, row, m, buffers), *dy = load_row(j, j->dy, row, m, buffers + n);
    float mean = m == 0 ? 0 : s->log ? kk_row_visible_sum(dy, y, m) : kk_row_dot(y, dy, m);
    kk_row_softmax_gradient(out, y, dy, m, s->scale, mean, s->log);
    for (long i = m; i < n; i++) out[i] = 0;
    store_row(j, row, out);
  }
  free(buffers);
}

static void run(const kk_softmax *s, const char *name, struct job *j, kk_body body) {
  kk_require_f32_or_bf16(name, s->type);
  if (s->rank < 1 || s->rank > KK_MAX_DIMS) kk_fail(name, "rank must be 1 to 8");
  j->softmax = s;
  j->n = s->shape[s->rank - 1];
  if (j->n == 0) return;
  kk_parallel_for(kk_element_count(s->rank - 1, s->shape), kk_max(1, GRAIN / j->n), body, j);
}

void kk_softmax_forward(const kk_softmax *softmax, const void *x, void *y) {
  struct job j = {.y = x, .out = y};
  run(softmax, "kk_softmax_forward", &j, forward_rows);
}

void kk_softmax_backward(const kk_softmax *softmax, const void *y, const void *dy, void *dx) {
  struct job j = {.y = y, .dy = dy, .out = dx};
  run(softmax, "kk_softmax_backward", &j, backward_rows);
}
