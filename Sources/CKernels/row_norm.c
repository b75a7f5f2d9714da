// Layer and RMS normalisation of rows, one row at a time in f32.
#include "ckernels/normalize.h"
#include "reduce.h"

enum { GRAIN = 1 << 14, GRADIENT_BLOCKS = 64, BLOCK_ROWS = 1024 };

struct job {
  const kk_row_norm *norm;
  const char *x, *dy, *residual;
  char *sum;      // of x and the residual, or NULL
  char *y;        // or dx
  char *rounded;  // y or dx in bf16, or NULL
  kk_dtype y_type;
  float *mean, *rstd;
  const float *gamma, *beta;  // f32 copies
  int64_t block_rows;
  float *partials;  // (blocks, 2, n): sums of dy xh and dy
};

#define ADD(T, LOAD)                                                                                         \
  {                                                                                                          \
    const T *from = x;                                                                                       \
    KK_INDEPENDENT for (long i = 0; i < n; i++) {                                                            \
      const float value = LOAD(from[i]) + residual[i];                                                       \
      sums[i] = value;                                                                                       \
      sum += value;                                                                                          \
    }                                                                                                        \
  }

// sums = x + residual, and their sum.
KK_CLONES static float add(float *sums, const void *x, kk_dtype type, const float *residual, long n) {
  KK_REASSOCIATE
  float sum = 0;
  if (type == KK_BF16) ADD(uint16_t, kk_from_bf16)
  else ADD(float, )
  return sum;
}

KK_CLONES static float sum_of(const float *x, long n) {
  KK_REASSOCIATE
  float sum = 0;
  for (long i = 0; i < n; i++) sum += x[i];
  return sum;
}

KK_CLONES static float squares_around(float center, const float *x, long n) {
  KK_REASSOCIATE
  float square = 0;
  for (long i = 0; i < n; i++) square += (x[i] - center) * (x[i] - center);
  return square;
}

#define NORMALISED(I) ((x[I] - mean) * rstd * gamma[I] + beta[I])

KK_CLONES static void normalise(
    float *y, const float *x, long n, float mean, float rstd, const float *gamma, const float *beta) {
  KK_INDEPENDENT for (long i = 0; i < n; i++) y[i] = NORMALISED(i);
}

KK_CLONES static void normalise_bf16(
    uint16_t *y, const float *x, long n, float mean, float rstd, const float *gamma, const float *beta) {
  for (long i = 0; i < n; i++) y[i] = kk_to_bf16(NORMALISED(i));
}

// The row's means of g = dy gamma and of g xh; adds to the sums of the parameters' gradients.
KK_CLONES static void gradient_means(
    const float *x, const float *dy, long n, float mean, float rstd, const float *gamma, float *dgamma,
    float *dbeta, float means[2]) {
  KK_REASSOCIATE
  float m1 = 0, m2 = 0;
  KK_INDEPENDENT for (long i = 0; i < n; i++) {
    float xh = (x[i] - mean) * rstd, g = dy[i] * gamma[i];
    m1 += g;
    m2 += g * xh;
    dgamma[i] += dy[i] * xh;
    dbeta[i] += dy[i];
  }
  means[0] = m1 / (float)n;
  means[1] = m2 / (float)n;
}

KK_CLONES static void gradient(
    float *dx, const float *x, const float *dy, const float *residual, long n, float mean, float rstd,
    const float *gamma, const float means[2]) {
  const float m1 = means[0], m2 = means[1];
  if (residual) {
    KK_INDEPENDENT for (long i = 0; i < n; i++)
        dx[i] = rstd * (dy[i] * gamma[i] - m1 - (x[i] - mean) * rstd * m2) + residual[i];
  } else {
    KK_INDEPENDENT for (long i = 0; i < n; i++)
        dx[i] = rstd * (dy[i] * gamma[i] - m1 - (x[i] - mean) * rstd * m2);
  }
}

static const float *row_of(const char *base, kk_dtype type, int64_t row, int64_t n, float *buffer) {
  if (!base) return NULL;
  const void *src = kk_at(base, type, row * n);
  if (type == KK_F32) return src;
  kk_load_f32(buffer, src, type, n, 1);
  return buffer;
}

static const float *row_in(const struct job *j, const char *base, int64_t row, float *buffer) {
  return row_of(base, j->norm->type, row, j->norm->n, buffer);
}

static float *row_out(const struct job *j, int64_t row, float *buffer) {
  return j->y_type == KK_F32 ? (float *)j->y + row * j->norm->n : buffer;
}

static void finish_row(const struct job *j, int64_t row, const float *result) {
  const int64_t n = j->norm->n;
  if (j->y_type != KK_F32) kk_store_f32((void *)kk_at(j->y, j->y_type, row * n), j->y_type, 1, result, n);
  if (j->rounded) kk_store_f32((void *)kk_at(j->rounded, KK_BF16, row * n), KK_BF16, 1, result, n);
}

static float *allocate(int64_t floats) {
  float *p = malloc((size_t)kk_max(1, floats) * sizeof(float));
  if (!p) kk_fail("kk_row_norm", "out of memory");
  return p;
}

// Asks for a row while another is computed: passes over a row that is at hand leave the memory idle.
static void fetch_row(const struct job *j, const char *base, kk_dtype type, int64_t row) {
  if (!base || row >= j->norm->rows) return;
  const char *p = kk_at(base, type, row * j->norm->n);
  for (const char *end = kk_at(p, type, j->norm->n); p < end; p += 64) __builtin_prefetch(p);
}

// The row of x, with the residual where there is one, and its sum; `buffers` has room for two rows.
static const float *row_with_residual(const struct job *j, int64_t row, float *buffers, float *sum) {
  const kk_row_norm *norm = j->norm;
  const int64_t n = norm->n;
  const kk_dtype type = norm->residual_type;
  const float *residual = row_of(j->residual, type, row, n, buffers + n);
  if (!residual) {
    const float *x = row_in(j, j->x, row, buffers);
    *sum = norm->rms ? 0 : sum_of(x, n);
    return x;
  }
  float *sums = j->sum && type == KK_F32 ? (float *)j->sum + row * n : buffers;
  *sum = add(sums, kk_at(j->x, norm->type, row * n), norm->type, residual, n);
  if (j->sum && type != KK_F32) kk_store_f32((void *)kk_at(j->sum, type, row * n), type, 1, sums, n);
  return sums;
}

static void forward_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_row_norm *norm = j->norm;
  const int64_t n = norm->n;
  float *buffers = allocate(2 * n);
  for (long row = begin; row < end; row++) {
    float sum;
    const float *x = row_with_residual(j, row, buffers, &sum);
    fetch_row(j, j->x, norm->type, row + 1);
    fetch_row(j, j->residual, norm->residual_type, row + 1);
    const float mean = norm->rms ? 0 : sum / (float)n;
    const float rstd = 1.0f / sqrtf(squares_around(mean, x, n) / (float)n + norm->epsilon);
    if (!norm->rms) j->mean[row] = mean;
    j->rstd[row] = rstd;
    if (j->y_type == KK_F32 || j->rounded) {
      float *y = row_out(j, row, buffers);
      normalise(y, x, n, mean, rstd, j->gamma, j->beta);
      finish_row(j, row, y);
    } else {
      normalise_bf16((uint16_t *)j->y + row * n, x, n, mean, rstd, j->gamma, j->beta);
    }
  }
  free(buffers);
}

static void backward_blocks(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_row_norm *norm = j->norm;
  const int64_t n = norm->n;
  float *buffers = allocate(3 * n);
  for (long block = begin; block < end; block++) {
    float *sums = j->partials + block * 2 * n;
    memset(sums, 0, (size_t)(2 * n) * sizeof(float));
    for (long row = block * j->block_rows; row < kk_min(norm->rows, (block + 1) * j->block_rows); row++) {
      const float *x = row_in(j, j->x, row, buffers), *dy = row_in(j, j->dy, row, buffers + n);
      const float *residual = row_in(j, j->residual, row, buffers + 2 * n);
      float mean = norm->rms ? 0 : j->mean[row], means[2];
      gradient_means(x, dy, n, mean, j->rstd[row], j->gamma, sums, sums + n, means);
      if (norm->rms) means[0] = 0;
      float *dx = row_out(j, row, buffers);
      gradient(dx, x, dy, residual, n, mean, j->rstd[row], j->gamma, means);
      finish_row(j, row, dx);
    }
  }
  free(buffers);
}

// gamma and beta as f32, ones and zeros where absent.
static float *affine(const kk_row_norm *norm) {
  float *p = allocate(2 * norm->n);
  for (int64_t i = 0; i < norm->n; i++) {
    p[i] = 1;
    p[norm->n + i] = 0;
  }
  if (norm->gamma) kk_load_f32(p, norm->gamma, norm->affine_type, norm->n, 1);
  if (norm->beta) kk_load_f32(p + norm->n, norm->beta, norm->affine_type, norm->n, 1);
  return p;
}

void kk_row_norm_forward(
    const kk_row_norm *norm, const void *x, const void *residual, void *sum, void *y, void *rounded, float *mean,
    float *rstd) {
  kk_require_f32_or_bf16("kk_row_norm_forward", norm->type);
  kk_require_f32_or_bf16("kk_row_norm_forward", norm->result_type);
  if (residual) kk_require_f32_or_bf16("kk_row_norm_forward", norm->residual_type);
  float *parameters = affine(norm);
  struct job j = {
      .norm = norm, .x = x, .residual = residual, .sum = sum, .y = y, .rounded = rounded,
      .y_type = norm->result_type, .mean = mean, .rstd = rstd, .gamma = parameters, .beta = parameters + norm->n};
  kk_parallel_for(norm->rows, kk_max(1, GRAIN / kk_max(1, norm->n)), forward_rows, &j);
  free(parameters);
}

void kk_row_norm_backward(
    const kk_row_norm *norm, const void *x, const float *mean, const float *rstd, const void *dy,
    const void *residual, void *dx, void *rounded, float *dgamma, float *dbeta) {
  kk_require_f32_or_bf16("kk_row_norm_backward", norm->type);
  float *parameters = affine(norm);
  struct job j = {
      .norm = norm, .x = x, .dy = dy, .residual = residual, .y = dx, .rounded = rounded,
      .y_type = norm->type, .mean = (float *)mean, .rstd = (float *)rstd, .gamma = parameters, .beta = parameters + norm->n};
  // Blocks for the sums over rows: enough to share out, few enough to store, by the shape alone.
  int64_t floor_rows = kk_max(1, GRAIN / kk_max(1, norm->n));
  j.block_rows = kk_max(floor_rows, kk_min(BLOCK_ROWS, kk_ceil_div(norm->rows, GRADIENT_BLOCKS)));
  int64_t blocks = kk_ceil_div(norm->rows, j.block_rows);
  j.partials = allocate(blocks * 2 * norm->n);
  kk_parallel_for(blocks, 1, backward_blocks, &j);
  double *totals = calloc((size_t)kk_max(1, 2 * norm->n), sizeof *totals);
  if (!totals) kk_fail("kk_row_norm", "out of memory");
  for (int64_t b = 0; b < blocks; b++)
    kk_combine_floats(KK_SUM, totals, j.partials + b * 2 * norm->n, 2 * norm->n);
  for (int64_t i = 0; i < norm->n; i++) {
    if (dgamma) dgamma[i] = (float)totals[i];
    if (dbeta) dbeta[i] = (float)totals[norm->n + i];
  }
  free(totals);
  free(j.partials);
  free(parameters);
}
