// Group normalisation in three phases: sums over blocks of pixels, coefficients per (sample, channel),
// application. The blocks are fixed, so one launch over samples and three launches over blocks give the same
// bits.
#include "ckernels/normalize.h"
#include "group_norm_loops.h"

enum { BLOCK_PIXELS = 256, GRAIN = 1 << 14 };
enum { SUMMED = 128 };  // channels that are summed over samples at a time

// Rows of (channels) floats kept for each sample.
enum row {
  CENTER, A, B, R, M, Q, S, SCALE, SHIFT, INPUT, SUM_DZ, SUM_DZ_XH, ROWS
};

struct job {
  const kk_group_norm *g;
  const char *x, *dy, *residual;
  char *y;  // or dx
  float *mean, *rstd;
  const kk_group_norm_gradients *out;
  int64_t blocks, sums;  // blocks of pixels per sample; sums kept per block and channel: 2 or 3
  float *gamma, *beta;   // (channels)
  double *totals;        // (samples, 3, channels): sums over blocks
  float *rows;           // (samples, ROWS, channels)
  float *partials;       // (samples, blocks, sums, channels)
};

typedef void (*block_phase)(const struct job *, int64_t sample, int64_t block);
typedef void (*sample_phase)(const struct job *, int64_t sample);

static float *row_of(const struct job *j, int64_t sample, enum row row) {
  return j->rows + (sample * ROWS + row) * j->g->channels;
}

static float *partial(const struct job *j, int64_t sample, int64_t block, int64_t k) {
  return j->partials + ((sample * j->blocks + block) * j->sums + k) * j->g->channels;
}

static double *totals_of(const struct job *j, int64_t sample, int64_t k) {
  return j->totals + (sample * 3 + k) * j->g->channels;
}

KK_CLONES static void add_blocks(const struct job *j, int64_t sample) {
  const int64_t channels = j->g->channels;
  for (int64_t k = 0; k < j->sums; k++) {
    double *sum = totals_of(j, sample, k);
    memset(sum, 0, (size_t)channels * sizeof(double));
    for (int64_t b = 0; b < j->blocks; b++) {
      const float *from = partial(j, sample, b, k);
      KK_INDEPENDENT for (int64_t c = 0; c < channels; c++) sum[c] += from[c];
    }
  }
}

static const char *pixel(const struct job *j, const char *base, int64_t sample, int64_t p) {
  return kk_at(base, j->g->type, (sample * j->g->pixels + p) * j->g->channels);
}

static long block_pixels(const struct job *j, int64_t block) {
  return kk_min(BLOCK_PIXELS, j->g->pixels - block * BLOCK_PIXELS);
}

KK_INLINE void fill(float *dst, float value, int64_t n) {
  for (int64_t i = 0; i < n; i++) dst[i] = value;
}

// A vector of the description as f32, or `absent` where it is NULL.
static void load_vector(float *dst, const void *src, kk_dtype type, int64_t offset, int64_t n, float absent) {
  if (src) kk_load_f32(dst, kk_at(src, type, offset), type, n, 1);
  else fill(dst, absent, n);
}

static void load_modulation(const struct job *j, int64_t n) {
  const kk_group_norm *g = j->g;
  kk_dtype type = g->modulation_type;
  load_vector(row_of(j, n, SCALE), g->scale, type, n * g->scale_stride, g->channels, 0);
  load_vector(row_of(j, n, SHIFT), g->shift, type, n * g->shift_stride, g->channels, 0);
  load_vector(row_of(j, n, INPUT), g->input_bias, type, n * g->input_bias_stride, g->channels, 0);
}

// Any NaN as the one that the loops take.
KK_INLINE float quiet(float x) { return x != x ? NAN : x; }

// xh = x r + m and z = x a + b from the statistics.
KK_CLONES static void set_coefficients(const struct job *j, int64_t n) {
  const kk_group_norm *g = j->g;
  const int64_t width = g->channels / g->groups;
  const float *scale = row_of(j, n, SCALE), *shift = row_of(j, n, SHIFT), *input = row_of(j, n, INPUT);
  const float *gamma = j->gamma, *beta = j->beta;
  float *r = row_of(j, n, R), *m = row_of(j, n, M), *a = row_of(j, n, A), *b = row_of(j, n, B);
  for (int64_t group = 0; group < g->groups; group++) {
    fill(r + group * width, j->rstd[n * g->groups + group], width);
    fill(m + group * width, j->mean[n * g->groups + group], width);
  }
  KK_INDEPENDENT for (int64_t c = 0; c < g->channels; c++) {
    const float gain = gamma[c] * (1 + scale[c]), off = (input[c] - m[c]) * r[c];
    m[c] = off;
    a[c] = quiet(r[c] * gain);
    b[c] = quiet(off * gain + (beta[c] * (1 + scale[c]) + shift[c]));
  }
}

// The sums are shifted by the sample's first pixel, so that they stay near the size of the deviations.
static void forward_prepare(const struct job *j, int64_t n) {
  load_modulation(j, n);
  kk_load_f32(row_of(j, n, CENTER), pixel(j, j->x, n, 0), j->g->type, j->g->channels, 1);
}

static void forward_sums(const struct job *j, int64_t n, int64_t block) {
  const kk_group_norm *g = j->g;
  float *sum = partial(j, n, block, 0), *square = partial(j, n, block, 1);
  fill(sum, 0, 2 * g->channels);
  kk_norm_sums(
      pixel(j, j->x, n, block * BLOCK_PIXELS), g->type, block_pixels(j, block), g->channels,
      row_of(j, n, CENTER), sum, square);
}

// The mean of a group is that of its channels' means; its deviation has theirs, and what each mean is off.
KK_CLONES static void forward_coefficients(const struct job *j, int64_t n) {
  KK_REASSOCIATE
  const kk_group_norm *g = j->g;
  const float *center = row_of(j, n, CENTER), *input = row_of(j, n, INPUT);
  const double *sum = totals_of(j, n, 0), *square = totals_of(j, n, 1);
  const int64_t width = g->channels / g->groups;
  const double pixels = (double)g->pixels, share = 1 / pixels;
  add_blocks(j, n);
  for (int64_t first = 0, group = 0; group < g->groups; group++, first += width) {
    double mean = 0, deviation = 0;
    for (int64_t c = first; c < first + width; c++) mean += center[c] + sum[c] * share + input[c];
    mean /= (double)width;
    for (int64_t c = first; c < first + width; c++) {
      const double off = center[c] + sum[c] * share + input[c] - mean;
      deviation += square[c] - sum[c] * sum[c] * share + off * off * pixels;
    }
    // Rounding may leave a constant group just below 0; a NaN stays one.
    double variance = deviation < 0 ? 0 : deviation / (pixels * (double)width);
    j->mean[n * g->groups + group] = (float)mean;
    j->rstd[n * g->groups + group] = (float)(1 / sqrt(variance + g->epsilon));
  }
  set_coefficients(j, n);
}

static void forward_apply(const struct job *j, int64_t n, int64_t block) {
  const kk_group_norm *g = j->g;
  int64_t p = block * BLOCK_PIXELS;
  kk_norm_apply(
      pixel(j, j->x, n, p), (void *)pixel(j, j->y, n, p), g->type, block_pixels(j, block), g->channels,
      row_of(j, n, A), row_of(j, n, B), g->silu);
}

static struct kk_norm_slopes slopes(const struct job *j, int64_t n) {
  return (struct kk_norm_slopes){row_of(j, n, R), row_of(j, n, M), row_of(j, n, A),
                                 row_of(j, n, B), row_of(j, n, Q), row_of(j, n, S)};
}

static void backward_prepare(const struct job *j, int64_t n) {
  load_modulation(j, n);
  set_coefficients(j, n);
}

// With silu, dz waits in dx for the second pass, unless the residual lives there.
static bool keeps_dz(const struct job *j) { return j->g->silu && j->y != j->residual; }

static void backward_sums(const struct job *j, int64_t n, int64_t block) {
  const kk_group_norm *g = j->g;
  const struct kk_norm_slopes k = slopes(j, n);
  float *const sums[3] = {partial(j, n, block, 0), partial(j, n, block, 1), partial(j, n, block, 2)};
  int64_t p = block * BLOCK_PIXELS;
  fill(sums[0], 0, 3 * g->channels);
  kk_norm_gradient_sums(
      pixel(j, j->x, n, p), pixel(j, j->dy, n, p), keeps_dz(j) ? (void *)pixel(j, j->y, n, p) : NULL, g->type,
      block_pixels(j, block), g->channels, &k, g->silu, sums);
}

// With g' = gamma (1 + scale) and means over the group: dx = rstd (g' dz - mean(g' dz) - xh mean(g' dz xh)).
KK_CLONES static void backward_coefficients(const struct job *j, int64_t n) {
  KK_REASSOCIATE
  const kk_group_norm *g = j->g;
  const int64_t channels = g->channels, width = channels / g->groups;
  const double pixels = (double)g->pixels, share = 1 / (pixels * (double)width);
  const float *scale = row_of(j, n, SCALE), *m = row_of(j, n, M), *gamma = j->gamma, *beta = j->beta;
  const double *dz = totals_of(j, n, 0), *dz_xh = totals_of(j, n, 1), *xh = totals_of(j, n, 2);
  float *q = row_of(j, n, Q), *s = row_of(j, n, S);
  float *sum_dz = row_of(j, n, SUM_DZ), *sum_dz_xh = row_of(j, n, SUM_DZ_XH);
  float *dinput = j->out->dinput, *dscale = j->out->dscale, *dshift = j->out->dshift;
  add_blocks(j, n);
  for (int64_t first = 0, group = 0; group < g->groups; group++, first += width) {
    const double rstd = j->rstd[n * g->groups + group];
    double m1 = 0, m2 = 0;
    for (int64_t c = first; c < first + width; c++) {
      const double gain = gamma[c] * (1.0 + scale[c]) * share;
      m1 += gain * dz[c];
      m2 += gain * dz_xh[c];
    }
    KK_INDEPENDENT for (int64_t c = first; c < first + width; c++) {
      q[c] = quiet((float)(-rstd * rstd * m2));
      s[c] = quiet((float)(-rstd * (m1 + m2 * m[c])));
    }
    if (dinput)
      KK_INDEPENDENT for (int64_t c = first; c < first + width; c++) {
        const double gain = gamma[c] * (1.0 + scale[c]);
        dinput[n * channels + c] = (float)(rstd * (gain * dz[c] - pixels * m1 - m2 * xh[c]));
      }
  }
  KK_INDEPENDENT for (int64_t c = 0; c < channels; c++) {
    sum_dz[c] = (float)dz[c];
    sum_dz_xh[c] = (float)dz_xh[c];
  }
  if (dscale)
    KK_INDEPENDENT for (int64_t c = 0; c < channels; c++)
      dscale[n * channels + c] = gamma[c] * sum_dz_xh[c] + beta[c] * sum_dz[c];
  if (dshift) memcpy(dshift + n * channels, sum_dz, (size_t)channels * sizeof(float));
}

static void backward_apply(const struct job *j, int64_t n, int64_t block) {
  const kk_group_norm *g = j->g;
  const struct kk_norm_slopes k = slopes(j, n);
  int64_t p = block * BLOCK_PIXELS;
  bool kept = keeps_dz(j);
  const void *residual = j->residual ? pixel(j, j->residual, n, p) : NULL;
  kk_norm_gradient_apply(
      pixel(j, j->x, n, p), pixel(j, kept ? j->y : j->dy, n, p), residual, (void *)pixel(j, j->y, n, p),
      g->type, block_pixels(j, block), g->channels, &k, g->silu && !kept);
}

static void parameter_gradients(const struct job *j) {
  const kk_group_norm *g = j->g;
  for (int64_t first = 0; first < g->channels; first += SUMMED) {
    const long count = kk_min(SUMMED, g->channels - first);
    double dgamma[SUMMED] = {0}, dbeta[SUMMED] = {0};
    for (int64_t n = 0; n < g->samples; n++) {
      const float *scale = row_of(j, n, SCALE) + first;
      const float *dz = row_of(j, n, SUM_DZ) + first, *dz_xh = row_of(j, n, SUM_DZ_XH) + first;
      for (long c = 0; c < count; c++) {
        dgamma[c] += (1.0 + scale[c]) * dz_xh[c];
        dbeta[c] += (1.0 + scale[c]) * dz[c];
      }
    }
    for (long c = 0; c < count; c++) {
      if (j->out->dgamma) j->out->dgamma[first + c] = (float)dgamma[c];
      if (j->out->dbeta) j->out->dbeta[first + c] = (float)dbeta[c];
    }
  }
}

struct phases {
  const struct job *j;
  sample_phase prepare;
  block_phase sums;
  sample_phase coefficients;
  block_phase apply;
  block_phase current;
  sample_phase current_sample;
};

static void run_samples(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct phases *p = context;
  for (long n = begin; n < end; n++) {
    p->prepare(p->j, n);
    for (int64_t b = 0; b < p->j->blocks; b++) p->sums(p->j, n, b);
    p->coefficients(p->j, n);
    for (int64_t b = 0; b < p->j->blocks; b++) p->apply(p->j, n, b);
  }
}

static void run_blocks(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct phases *p = context;
  for (long u = begin; u < end; u++) p->current(p->j, u / p->j->blocks, u % p->j->blocks);
}

static void run_each_sample(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct phases *p = context;
  for (long n = begin; n < end; n++) p->current_sample(p->j, n);
}

// Sample after sample while it is in cache; few samples are shared out block by block instead.
static void run(struct phases *p) {
  const kk_group_norm *g = p->j->g;
  int64_t per_sample = g->pixels * g->channels, threads = kk_threads();
  if (g->samples >= 4 * threads || g->samples % threads == 0 || p->j->blocks == 1) {
    kk_parallel_for(g->samples, kk_max(1, GRAIN / per_sample), run_samples, p);
    return;
  }
  int64_t grain = kk_max(1, GRAIN / (BLOCK_PIXELS * g->channels));
  p->current_sample = p->prepare;
  kk_parallel_for(g->samples, 1, run_each_sample, p);
  p->current = p->sums;
  kk_parallel_for(g->samples * p->j->blocks, grain, run_blocks, p);
  p->current_sample = p->coefficients;
  kk_parallel_for(g->samples, 1, run_each_sample, p);
  p->current = p->apply;
  kk_parallel_for(g->samples * p->j->blocks, grain, run_blocks, p);
}

static bool open_job(struct job *j, const char *name) {
  const kk_group_norm *g = j->g;
  kk_require_f32_or_bf16(name, g->type);
  if (g->groups < 1 || g->channels % g->groups != 0) kk_fail(name, "groups must divide channels");
  if (g->samples == 0 || g->pixels == 0 || g->channels == 0) return false;
  j->blocks = kk_ceil_div(g->pixels, BLOCK_PIXELS);
  const int64_t doubles = 3 * g->samples * g->channels;
  const int64_t floats = g->channels * (2 + g->samples * (ROWS + j->blocks * j->sums));
  j->totals = malloc((size_t)doubles * sizeof(double) + (size_t)floats * sizeof(float));
  if (!j->totals) kk_fail(name, "out of memory");
  j->gamma = (float *)(j->totals + doubles);
  j->beta = j->gamma + g->channels;
  j->rows = j->beta + g->channels;
  j->partials = j->rows + g->samples * ROWS * g->channels;
  load_vector(j->gamma, g->gamma, g->affine_type, 0, g->channels, 1);
  load_vector(j->beta, g->beta, g->affine_type, 0, g->channels, 0);
  return true;
}

void kk_group_norm_forward(const kk_group_norm *norm, const void *x, void *y, float *mean, float *rstd) {
  struct job j = {.g = norm, .x = x, .y = y, .mean = mean, .rstd = rstd, .sums = 2};
  if (!open_job(&j, "kk_group_norm_forward")) return;
  struct phases p = {
      .j = &j, .prepare = forward_prepare, .sums = forward_sums, .coefficients = forward_coefficients,
      .apply = forward_apply};
  run(&p);
  free(j.totals);
}

void kk_group_norm_backward(
    const kk_group_norm *norm, const void *x, const float *mean, const float *rstd, const void *dy,
    const void *residual, void *dx, const kk_group_norm_gradients *gradients) {
  struct job j = {
      .g = norm, .x = x, .dy = dy, .residual = residual, .y = dx, .mean = (float *)mean,
      .rstd = (float *)rstd, .out = gradients, .sums = 3};
  if (!open_job(&j, "kk_group_norm_backward")) {
    int64_t rows = norm->samples * norm->channels;
    if (gradients->dgamma) fill(gradients->dgamma, 0, norm->channels);
    if (gradients->dbeta) fill(gradients->dbeta, 0, norm->channels);
    if (gradients->dscale) fill(gradients->dscale, 0, rows);
    if (gradients->dshift) fill(gradients->dshift, 0, rows);
    if (gradients->dinput) fill(gradients->dinput, 0, rows);
    return;
  }
  struct phases p = {
      .j = &j, .prepare = backward_prepare, .sums = backward_sums, .coefficients = backward_coefficients,
      .apply = backward_apply};
  run(&p);
  parameter_gradients(&j);
  free(j.totals);
}
