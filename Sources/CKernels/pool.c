#include "ckernels/pool.h"

#include "common.h"
#include "reduce.h"

enum { GRAIN = 1 << 14, STRIP = 64 };

struct job {
  const kk_pool *pool;
  const char *x, *dy;
  char *out;
  bool maximum;
  int64_t strips;
};

// The part of a window that lies inside the picture.
struct window {
  int64_t top, bottom, left, right;
};

static struct window window_at(const kk_pool *p, int64_t row, int64_t column) {
  int64_t top = row * p->stride_height - p->padding_height;
  int64_t left = column * p->stride_width - p->padding_width;
  return (struct window){
      kk_max(0, top), kk_min(p->height, top + p->window_height), kk_max(0, left),
      kk_min(p->width, left + p->window_width)};
}

static float divisor(const kk_pool *p, struct window w) {
  if (p->counts_padding) return (float)(p->window_height * p->window_width);
  return (float)((w.bottom - w.top) * (w.right - w.left));
}

static float *allocate(int64_t floats) {
  float *p = malloc((size_t)kk_max(1, floats) * sizeof(float));
  if (!p) kk_fail("kk_pool", "out of memory");
  return p;
}

static void forward_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_pool *p = j->pool;
  const int64_t c = p->channels;
  float *sums = allocate(c);
  for (long u = begin; u < end; u++) {
    int64_t sample = u / p->out_height, row = u % p->out_height;
    for (int64_t column = 0; column < p->out_width; column++) {
      struct window w = window_at(p, row, column);
      float start = j->maximum ? -INFINITY : 0, scale = 1 / divisor(p, w);
      for (int64_t i = 0; i < c; i++) sums[i] = start;
      for (int64_t y = w.top; y < w.bottom; y++) {
        const void *x = kk_at(j->x, p->type, ((sample * p->height + y) * p->width + w.left) * c);
        kk_accumulate_f32(j->maximum ? KK_MAXIMUM : KK_SUM, sums, x, p->type, w.right - w.left, c, c);
      }
      if (!j->maximum)
        for (int64_t i = 0; i < c; i++) sums[i] *= scale;
      kk_store_f32((void *)kk_at(j->out, p->type, (u * p->out_width + column) * c), p->type, 1, sums, c);
    }
  }
  free(sums);
}

// One strip of channels of x at the pixel `at`, in f32.
static void load_strip(const kk_pool *p, const char *base, int64_t at, int64_t channel, long n, float *dst) {
  kk_load_f32(dst, kk_at(base, p->type, at * p->channels + channel), p->type, n, 1);
}

// Takes over the channels where x beats the best so far.
KK_CLONES static void challenge(const float *x, float *best, int32_t *place, int32_t pixel, long n) {
  for (long i = 0; i < n; i++) {
    bool take = (x[i] > best[i]) | ((x[i] != x[i]) & (best[i] == best[i]));
    best[i] = take ? x[i] : best[i];
    place[i] = take ? pixel : place[i];
  }
}

KK_CLONES static void add_scaled(float *sum, const float *x, float scale, long n) {
  KK_INDEPENDENT for (long i = 0; i < n; i++) sum[i] += scale * x[i];
}

// The first maximum of each channel takes the gradient.
static void scatter_maximum(
    const struct job *j, int64_t sample, int64_t channel, long n, struct window w, const float *dy,
    float *sums) {
  const kk_pool *p = j->pool;
  float best[STRIP], x[STRIP];
  int32_t place[STRIP];
  for (int64_t row = w.top; row < w.bottom; row++)
    for (int64_t column = w.left; column < w.right; column++) {
      bool first = row == w.top && column == w.left;
      int32_t pixel = (int32_t)(row * p->width + column);
      load_strip(p, j->x, sample * p->height * p->width + pixel, channel, n, first ? best : x);
      if (first)
        for (long i = 0; i < n; i++) place[i] = pixel;
      else challenge(x, best, place, pixel, n);
    }
  for (long i = 0; i < n; i++) sums[place[i] * STRIP + i] += dy[i];
}

// A strip of channels of one sample: its picture of sums fits the cache.
static void backward_strips(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_pool *p = j->pool;
  const int64_t pixels = p->height * p->width;
  float *sums = allocate(pixels * STRIP);
  for (long u = begin; u < end; u++) {
    int64_t sample = u / j->strips, channel = u % j->strips * STRIP;
    long n = kk_min(STRIP, p->channels - channel);
    memset(sums, 0, (size_t)(pixels * STRIP) * sizeof(float));
    for (int64_t at = 0; at < p->out_height * p->out_width; at++) {
      struct window w = window_at(p, at / p->out_width, at % p->out_width);
      float dy[STRIP];
      load_strip(p, j->dy, sample * p->out_height * p->out_width + at, channel, n, dy);
      if (j->maximum) {
        scatter_maximum(j, sample, channel, n, w, dy, sums);
        continue;
      }
      float scale = 1 / divisor(p, w);
      for (int64_t row = w.top; row < w.bottom; row++)
        for (int64_t column = w.left; column < w.right; column++)
          add_scaled(sums + (row * p->width + column) * STRIP, dy, scale, n);
    }
    for (int64_t pixel = 0; pixel < pixels; pixel++) {
      void *dst = (void *)kk_at(j->out, p->type, (sample * pixels + pixel) * p->channels + channel);
      kk_store_f32(dst, p->type, 1, sums + pixel * STRIP, n);
    }
  }
  free(sums);
}

static void forward(const kk_pool *p, const char *name, const void *x, void *y, bool maximum) {
  kk_require_f32_or_bf16(name, p->type);
  struct job j = {.pool = p, .x = x, .out = y, .maximum = maximum};
  int64_t work = p->out_width * p->channels * p->window_height * p->window_width;
  kk_parallel_for(p->samples * p->out_height, kk_max(1, GRAIN / kk_max(1, work)), forward_rows, &j);
}

static void backward(
    const kk_pool *p, const char *name, const void *x, const void *dy, void *dx, bool maximum) {
  kk_require_f32_or_bf16(name, p->type);
  struct job j = {
      .pool = p, .x = x, .dy = dy, .out = dx, .maximum = maximum, .strips = kk_ceil_div(p->channels, STRIP)};
  int64_t work = kk_max(1, p->height * p->width * kk_min(STRIP, p->channels));
  kk_parallel_for(p->samples * j.strips, kk_max(1, GRAIN / work), backward_strips, &j);
}

void kk_average_pool_forward(const kk_pool *pool, const void *x, void *y) {
  forward(pool, "kk_average_pool_forward", x, y, false);
}

void kk_max_pool_forward(const kk_pool *pool, const void *x, void *y) {
  forward(pool, "kk_max_pool_forward", x, y, true);
}

void kk_average_pool_backward(const kk_pool *pool, const void *dy, void *dx) {
  backward(pool, "kk_average_pool_backward", NULL, dy, dx, false);
}

void kk_max_pool_backward(const kk_pool *pool, const void *x, const void *dy, void *dx) {
  backward(pool, "kk_max_pool_backward", x, dy, dx, true);
}
