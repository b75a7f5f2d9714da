#include "ckernels/softmax.h"
#include "common.h"
#include "mathf.h"
#include "softmax_loops.h"

enum { GRAIN = 1 << 13 };

struct job {
  const kk_cross_entropy *entropy;
  const char *x;
  const void *labels;
  float *loss, *log_sum;
  const float *dloss;
  int64_t dloss_stride;
  char *dx;
};

static int64_t label_of(const struct job *j, long row) {
  if (j->entropy->label_type == KK_I32) return ((const int32_t *)j->labels)[row];
  return ((const int64_t *)j->labels)[row];
}

static const float *load_row(const struct job *j, long row, float *buffer) {
  const kk_cross_entropy *e = j->entropy;
  const void *src = kk_at(j->x, e->type, row * e->classes);
  if (e->type == KK_F32) return src;
  kk_load_f32(buffer, src, e->type, e->classes, 1);
  return buffer;
}

static float *allocate(int64_t floats) {
  float *p = malloc((size_t)floats * sizeof(float));
  if (!p) kk_fail("kk_cross_entropy", "out of memory");
  return p;
}

static void forward_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_cross_entropy *e = j->entropy;
  float *buffer = allocate(e->classes);
  for (long row = begin; row < end; row++) {
    const float *x = load_row(j, row, buffer);
    float top = kk_row_max(x, e->classes);
    // A row of -infinity has no distribution: exp(-inf + inf) gives the NaN that belongs there.
    double log_sum = (double)top + log((double)kk_row_exp_sum(x, e->classes, top));
    int64_t label = label_of(j, row);
    j->log_sum[row] = (float)log_sum;
    if (label == e->ignore_index) {
      j->loss[row] = 0;
    } else if (label < 0 || label >= e->classes) {
      j->loss[row] = NAN;
    } else {
      double loss = (1.0 - e->smoothing) * (log_sum - x[label]);
      if (e->smoothing != 0)
        loss += e->smoothing * (log_sum - (double)kk_row_sum(x, e->classes) / (double)e->classes);
      j->loss[row] = (float)loss;
    }
  }
  free(buffer);
}

// dx = d (exp(x - log_sum) - floor)
KK_CLONES static void gradient(float *dx, const float *x, long n, float log_sum, float d, float floor) {
  KK_INDEPENDENT for (long i = 0; i < n; i++) dx[i] = d * (kk_exp_of_negative(x[i] - log_sum) - floor);
}

static void backward_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_cross_entropy *e = j->entropy;
  const long n = e->classes;
  float *buffer = allocate(n);
  for (long row = begin; row < end; row++) {
    const float *x = load_row(j, row, buffer);
    float *out = e->type == KK_F32 ? (float *)j->dx + row * n : buffer;
    int64_t label = label_of(j, row);
    if (label == e->ignore_index || label < 0 || label >= n) {
      for (long i = 0; i < n; i++) out[i] = label == e->ignore_index ? 0 : NAN;
    } else {
      float d = j->dloss[row * j->dloss_stride];
      gradient(out, x, n, j->log_sum[row], d, e->smoothing / (float)n);
      out[label] -= d * (1 - e->smoothing);
    }
    if (e->type != KK_F32) kk_store_f32((void *)kk_at(j->dx, e->type, row * n), e->type, 1, out, n);
  }
  free(buffer);
}

static void run(const char *name, struct job *j, kk_body body) {
  const kk_cross_entropy *e = j->entropy;
  kk_require_f32_or_bf16(name, e->type);
  if (e->label_type != KK_I32 && e->label_type != KK_I64) kk_fail(name, "labels must be i32 or i64");
  if (e->classes < 1) kk_fail(name, "there must be a class");
  kk_parallel_for(e->rows, kk_max(1, GRAIN / e->classes), body, j);
}

void kk_cross_entropy_forward(
    const kk_cross_entropy *entropy, const void *x, const void *labels, float *loss, float *log_sum) {
  struct job j = {.entropy = entropy, .x = x, .labels = labels, .loss = loss, .log_sum = log_sum};
  run("kk_cross_entropy_forward", &j, forward_rows);
}

void kk_cross_entropy_backward(
    const kk_cross_entropy *entropy, const void *x, const void *labels, const float *log_sum,
    const float *dloss, int64_t dloss_stride, void *dx) {
  struct job j = {
      .entropy = entropy, .x = x, .labels = labels, .log_sum = (float *)log_sum, .dloss = dloss,
      .dloss_stride = dloss_stride, .dx = dx};
  run("kk_cross_entropy_backward", &j, backward_rows);
}
