// Positions of extremes and running sums along one axis of (outer, n, inner).
#include "ckernels/scan.h"
#include "common.h"
#include "reduce.h"

enum { STRIP = 256, GRAIN = 1 << 15 };

struct scan {
  int64_t n, inner, strips;
  const char *src;
  char *dst;
  kk_dtype src_type, dst_type;
  bool minimum, exclusive, reverse;
};

static void store_index(const struct scan *s, int64_t at, int64_t index) {
  if (s->dst_type == KK_I32) ((int32_t *)s->dst)[at] = (int32_t)index;
  else ((int64_t *)s->dst)[at] = index;
}

// A row in pieces: only a piece whose fold beats the best so far is searched.
static int64_t extreme_of_row(const struct scan *s, int64_t base) {
  enum { PIECE = 512 };
  const bool integer = kk_is_integer(s->src_type);
  int64_t found = 0, best_i = 0;
  float best = 0;
  for (int64_t start = 0; start < s->n; start += PIECE) {
    long m = kk_min(PIECE, s->n - start);
    const void *x = kk_at(s->src, s->src_type, base + start);
    if (integer) {
      int64_t buffer[PIECE];
      kk_load_i64(buffer, x, s->src_type, m, 1);
      int64_t v = kk_fold_i64(s->minimum ? KK_MINIMUM : KK_MAXIMUM, buffer, m);
      if (start > 0 && (s->minimum ? v >= best_i : v <= best_i)) continue;
      best_i = v;
      long j = 0;
      while (buffer[j] != v) j++;
      found = start + j;
    } else {
      float buffer[PIECE];
      kk_load_f32(buffer, x, s->src_type, m, 1);
      float v = kk_fold_f32(s->minimum ? KK_MINIMUM : KK_MAXIMUM, buffer, m);
      if (start > 0 && (s->minimum ? v >= best : v <= best)) continue;
      best = v;
      long j = 0;
      while (v == v ? buffer[j] != v : buffer[j] == buffer[j]) j++;
      found = start + j;
      if (v != v) break;
    }
  }
  return found;
}

KK_CLONES static void better_f32(
    bool minimum, const float *x, float *best, int32_t *at, int32_t row, long width) {
  if (minimum) {
    for (long j = 0; j < width; j++) {
      bool take = (x[j] < best[j]) | ((x[j] != x[j]) & (best[j] == best[j]));
      best[j] = take ? x[j] : best[j];
      at[j] = take ? row : at[j];
    }
  } else {
    for (long j = 0; j < width; j++) {
      bool take = (x[j] > best[j]) | ((x[j] != x[j]) & (best[j] == best[j]));
      best[j] = take ? x[j] : best[j];
      at[j] = take ? row : at[j];
    }
  }
}

static void better_i64(bool minimum, const int64_t *x, int64_t *best, int32_t *at, int32_t row, long width) {
  for (long j = 0; j < width; j++) {
    bool take = minimum ? x[j] < best[j] : x[j] > best[j];
    best[j] = take ? x[j] : best[j];
    at[j] = take ? row : at[j];
  }
}

// A strip of columns, row upon row.
static void extreme_of_columns(const struct scan *s, int64_t outer, int64_t column, long width) {
  const bool integer = kk_is_integer(s->src_type);
  int64_t best_i[STRIP], x_i[STRIP];
  float best[STRIP], x[STRIP];
  int32_t at[STRIP] = {0};
  for (int64_t row = 0; row < s->n; row++) {
    const void *p = kk_at(s->src, s->src_type, (outer * s->n + row) * s->inner + column);
    if (integer) kk_load_i64(row ? x_i : best_i, p, s->src_type, width, 1);
    else kk_load_f32(row ? x : best, p, s->src_type, width, 1);
    if (row == 0) continue;
    if (integer) better_i64(s->minimum, x_i, best_i, at, (int32_t)row, width);
    else better_f32(s->minimum, x, best, at, (int32_t)row, width);
  }
  for (long j = 0; j < width; j++) store_index(s, outer * s->inner + column + j, at[j]);
}

static void arg_units(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct scan *s = context;
  for (long u = begin; u < end; u++) {
    if (s->inner == 1) {
      store_index(s, u, extreme_of_row(s, u * s->n));
    } else {
      int64_t column = u % s->strips * STRIP;
      extreme_of_columns(s, u / s->strips, column, kk_min(STRIP, s->inner - column));
    }
  }
}

void kk_arg_extreme(
    bool minimum, int64_t outer, int64_t n, int64_t inner, const void *src, kk_dtype src_type, void *dst,
    kk_dtype dst_type) {
  if (outer == 0 || inner == 0) return;
  if (n <= 0 || n > INT32_MAX) kk_fail("kk_arg_extreme", "the axis must have 1 to 2^31 - 1 elements");
  if (dst_type != KK_I32 && dst_type != KK_I64) kk_fail("kk_arg_extreme", "indices must be i32 or i64");
  struct scan s = {
      .n = n, .inner = inner, .strips = kk_ceil_div(inner, STRIP), .src = src, .dst = dst,
      .src_type = src_type, .dst_type = dst_type, .minimum = minimum};
  kk_parallel_for(outer * s.strips, kk_max(1, GRAIN / (n * kk_min(inner, STRIP))), arg_units, &s);
}

// Running sums of a strip of columns; with inner = 1 the strip is one column.
static void sum_units(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct scan *s = context;
  const bool integer = kk_is_integer(s->src_type);
  for (long u = begin; u < end; u++) {
    int64_t column = u % s->strips * STRIP, base = u / s->strips * s->n * s->inner + column;
    long width = kk_min(STRIP, s->inner - column);
    double sum[STRIP] = {0};
    uint64_t sum_i[STRIP] = {0};
    float x[STRIP];
    int64_t x_i[STRIP];
    for (int64_t step = 0; step < s->n; step++) {
      int64_t at = base + (s->reverse ? s->n - 1 - step : step) * s->inner;
      const void *src = kk_at(s->src, s->src_type, at);
      void *dst = (void *)kk_at(s->dst, s->src_type, at);
      if (integer) {
        kk_load_i64(x_i, src, s->src_type, width, 1);
        for (long j = 0; j < width; j++) {
          uint64_t before = sum_i[j];
          sum_i[j] += (uint64_t)x_i[j];
          x_i[j] = (int64_t)(s->exclusive ? before : sum_i[j]);
        }
        kk_store_i64(dst, s->src_type, 1, x_i, width);
      } else {
        kk_load_f32(x, src, s->src_type, width, 1);
        for (long j = 0; j < width; j++) {
          double before = sum[j];
          sum[j] += x[j];
          x[j] = (float)(s->exclusive ? before : sum[j]);
        }
        kk_store_f32(dst, s->src_type, 1, x, width);
      }
    }
  }
}

// Dense rows of floats: a block at a time through f32 registers.
static void sum_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  enum { BLOCK = 512 };
  const struct scan *s = context;
  float x[BLOCK];
  for (long row = begin; row < end; row++) {
    double sum = 0;
    for (int64_t done = 0; done < s->n; done += BLOCK) {
      long m = kk_min(BLOCK, s->n - done);
      int64_t at = row * s->n + (s->reverse ? s->n - done - m : done);
      kk_load_f32(x, kk_at(s->src, s->src_type, at), s->src_type, m, 1);
      for (long k = 0; k < m; k++) {
        long i = s->reverse ? m - 1 - k : k;
        double before = sum;
        sum += x[i];
        x[i] = (float)(s->exclusive ? before : sum);
      }
      kk_store_f32((void *)kk_at(s->dst, s->src_type, at), s->src_type, 1, x, m);
    }
  }
}

void kk_cumulative_sum(
    int64_t outer, int64_t n, int64_t inner, const void *src, void *dst, kk_dtype type, bool exclusive,
    bool reverse) {
  if (outer == 0 || n == 0 || inner == 0) return;
  if (type == KK_BOOL) kk_fail("kk_cumulative_sum", "not for bool");
  struct scan s = {
      .n = n, .inner = inner, .strips = kk_ceil_div(inner, STRIP), .src = src, .dst = dst, .src_type = type,
      .exclusive = exclusive, .reverse = reverse};
  int64_t grain = kk_max(1, GRAIN / (n * kk_min(inner, STRIP)));
  bool rows = inner == 1 && !kk_is_integer(type);
  kk_parallel_for(outer * s.strips, grain, rows ? sum_rows : sum_units, &s);
}
