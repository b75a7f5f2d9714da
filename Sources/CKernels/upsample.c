#include "ckernels/pool.h"
#include "common.h"
#include "reduce.h"

enum { GRAIN = 1 << 15 };

struct job {
  int64_t width, channels, factor;
  kk_dtype type;
  const char *src;
  char *dst;
};

// Units are rows of the small picture.
static void forward_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const size_t pixel = (size_t)j->channels * kk_dtype_size(j->type);
  const size_t row = pixel * (size_t)(j->width * j->factor);
  for (long u = begin; u < end; u++) {
    char *first = j->dst + (size_t)(u * j->factor) * row;
    for (int64_t x = 0; x < j->width; x++)
      for (int64_t k = 0; k < j->factor; k++)
        memcpy(first + (size_t)(x * j->factor + k) * pixel, j->src + (size_t)(u * j->width + x) * pixel,
            pixel);
    for (int64_t k = 1; k < j->factor; k++) memcpy(first + (size_t)k * row, first, row);
  }
}

static void backward_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const int64_t c = j->channels, wide = j->width * j->factor;
  float *sums = malloc((size_t)kk_max(1, c) * sizeof(float));
  if (!sums) kk_fail("kk_upsample_nearest_backward", "out of memory");
  for (long u = begin; u < end; u++)
    for (int64_t x = 0; x < j->width; x++) {
      memset(sums, 0, (size_t)c * sizeof(float));
      for (int64_t k = 0; k < j->factor; k++) {
        const void *dy = kk_at(j->src, j->type, ((u * j->factor + k) * wide + x * j->factor) * c);
        kk_accumulate_f32(KK_SUM, sums, dy, j->type, j->factor, c, c);
      }
      kk_store_f32((void *)kk_at(j->dst, j->type, (u * j->width + x) * c), j->type, 1, sums, c);
    }
  free(sums);
}

void kk_upsample_nearest_forward(
    int64_t samples, int64_t height, int64_t width, int64_t channels, int64_t factor, kk_dtype type,
    const void *x, void *y) {
  struct job j = {width, channels, factor, type, x, y};
  int64_t work = kk_max(1, width * channels * factor * factor);
  kk_parallel_for(samples * height, kk_max(1, GRAIN / work), forward_rows, &j);
}

void kk_upsample_nearest_backward(
    int64_t samples, int64_t height, int64_t width, int64_t channels, int64_t factor, kk_dtype type,
    const void *dy, void *dx) {
  kk_require_f32_or_bf16("kk_upsample_nearest_backward", type);
  struct job j = {width, channels, factor, type, dy, dx};
  int64_t work = kk_max(1, width * channels * factor * factor);
  kk_parallel_for(samples * height, kk_max(1, GRAIN / work), backward_rows, &j);
}
