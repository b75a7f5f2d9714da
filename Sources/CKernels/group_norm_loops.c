#include "group_norm_loops.h"

#include "coarse.h"

#define F32(X) (X)
#define STORE_F32(X) (X)

// Four pixels at a time: the sums are read and written once for four loads.
#define SUMS(T, LOAD)                                                                                        \
  {                                                                                                          \
    const T *row = x;                                                                                        \
    long i = 0;                                                                                              \
    for (; i + 4 <= pixels; i += 4, row += 4 * channels)                                                     \
      KK_INDEPENDENT for (long c = 0; c < channels; c++) {                                                   \
        KK_CONTRACT                                                                                          \
        float k = center[c];                                                                                 \
        float d0 = LOAD(row[c]) - k, d1 = LOAD(row[channels + c]) - k;                                       \
        float d2 = LOAD(row[2 * channels + c]) - k, d3 = LOAD(row[3 * channels + c]) - k;                    \
        sum[c] += (d0 + d1) + (d2 + d3);                                                                     \
        square[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);                                              \
      }                                                                                                      \
    for (; i < pixels; i++, row += channels)                                                                 \
      KK_INDEPENDENT for (long c = 0; c < channels; c++) {                                                   \
        float d = LOAD(row[c]) - center[c];                                                                  \
        sum[c] += d;                                                                                         \
        square[c] += d * d;                                                                                  \
      }                                                                                                      \
  }

KK_CLONES static void add_sums(
    const void *x, kk_dtype type, long pixels, long channels, const float *center, float *sum, float *square) {
  if (type == KK_BF16) SUMS(uint16_t, kk_from_bf16)
  else SUMS(float, F32)
}

// Of pixels of some channels, those behind the first `done`; NULL stays NULL.
KK_INLINE void *behind(const void *x, kk_dtype type, long done, long channels) {
  return x ? (void *)kk_at(x, type, (int64_t)done * channels) : NULL;
}

void kk_norm_sums(
    const void *x, kk_dtype type, long pixels, long channels, const float *center, float *sum, float *square) {
  const long done = type == KK_BF16 ? kk_norm_sums_wide(x, pixels, channels, center, sum, square) : 0;
  add_sums(behind(x, type, done, channels), type, pixels - done, channels, center, sum, square);
}

#define ROWS(T, LOAD, STORE, EXPRESSION)                                                                     \
  {                                                                                                          \
    const T *row = x;                                                                                        \
    T *out = y;                                                                                              \
    for (long i = 0; i < pixels; i++, row += channels, out += channels)                                      \
      KK_INDEPENDENT for (long c = 0; c < channels; c++) {                                                   \
        KK_CONTRACT                                                                                          \
        float z = LOAD(row[c]) * a[c] + b[c];                                                                \
        out[c] = STORE(EXPRESSION);                                                                          \
      }                                                                                                      \
  }

KK_CLONES static void apply(
    const void *x, void *y, kk_dtype type, long pixels, long channels, const float *a, const float *b,
    bool silu) {
  if (type == KK_BF16) {
    if (silu) ROWS(uint16_t, kk_from_bf16, kk_round_bf16, coarse_silu(z))
    else ROWS(uint16_t, kk_from_bf16, kk_round_bf16, z)
  } else {
    if (silu) ROWS(float, F32, STORE_F32, kk_siluf(z))
    else ROWS(float, F32, STORE_F32, z)
  }
}

void kk_norm_apply(
    const void *x, void *y, kk_dtype type, long pixels, long channels, const float *a, const float *b,
    bool silu) {
  const long done = type == KK_BF16 ? kk_norm_apply_wide(x, y, pixels, channels, a, b, silu) : 0;
  apply(
      behind(x, type, done, channels), behind(y, type, done, channels), type, pixels - done, channels, a, b, silu);
}

// Two pixels at a time. KEEP(at, d) stores dz or does nothing.
#define GRADIENT_SUMS(T, LOAD, SLOPE, KEEP)                                                                  \
  {                                                                                                          \
    const T *row = x, *dy_row = dy;                                                                          \
    T *out = dz_out;                                                                                         \
    long i = 0;                                                                                              \
    for (; i + 2 <= pixels; i += 2) {                                                                        \
      KK_INDEPENDENT for (long c = 0; c < channels; c++) {                                                   \
        KK_CONTRACT                                                                                          \
        float x0 = LOAD(row[c]), x1 = LOAD(row[channels + c]);                                               \
        float d0 = LOAD(dy_row[c]) * SLOPE(x0 * a[c] + b[c]);                                                \
        float d1 = LOAD(dy_row[channels + c]) * SLOPE(x1 * a[c] + b[c]);                                     \
        float h0 = x0 * r[c] + m[c], h1 = x1 * r[c] + m[c];                                                  \
        KEEP(c, d0);                                                                                         \
        KEEP(channels + c, d1);                                                                              \
        s0[c] += d0 + d1;                                                                                    \
        s1[c] += d0 * h0 + d1 * h1;                                                                          \
        s2[c] += h0 + h1;                                                                                    \
      }                                                                                                      \
      row += 2 * channels, dy_row += 2 * channels;                                                           \
      if (out) out += 2 * channels;                                                                          \
    }                                                                                                        \
    if (i < pixels)                                                                                          \
      KK_INDEPENDENT for (long c = 0; c < channels; c++) {                                                   \
        float x0 = LOAD(row[c]), d0 = LOAD(dy_row[c]) * SLOPE(x0 * a[c] + b[c]);                             \
        float h0 = x0 * r[c] + m[c];                                                                         \
        KEEP(c, d0);                                                                                         \
        s0[c] += d0;                                                                                         \
        s1[c] += d0 * h0;                                                                                    \
        s2[c] += h0;                                                                                         \
      }                                                                                                      \
  }
#define ONE(Z) 1.0f
#define DROP(AT, D)
#define KEEP_F32(AT, D) out[AT] = D
#define KEEP_BF16(AT, D) out[AT] = kk_round_bf16(D)

KK_CLONES static void add_gradient_sums(
    const void *x, const void *dy, void *dz_out, kk_dtype type, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu, float *const sums[3]) {
  const float *r = k->r, *m = k->m, *a = k->a, *b = k->b;
  float *s0 = sums[0], *s1 = sums[1], *s2 = sums[2];
  if (type == KK_BF16) {
    if (silu && dz_out) GRADIENT_SUMS(uint16_t, kk_from_bf16, coarse_silu_slope, KEEP_BF16)
    else if (silu) GRADIENT_SUMS(uint16_t, kk_from_bf16, coarse_silu_slope, DROP)
    else GRADIENT_SUMS(uint16_t, kk_from_bf16, ONE, DROP)
  } else {
    if (silu && dz_out) GRADIENT_SUMS(float, F32, kk_silu_slope, KEEP_F32)
    else if (silu) GRADIENT_SUMS(float, F32, kk_silu_slope, DROP)
    else GRADIENT_SUMS(float, F32, ONE, DROP)
  }
}

void kk_norm_gradient_sums(
    const void *x, const void *dy, void *dz_out, kk_dtype type, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu, float *const sums[3]) {
  long done = 0;
  if (type == KK_BF16) done = kk_norm_gradient_sums_wide(x, dy, dz_out, pixels, channels, k, silu, sums);
  add_gradient_sums(
      behind(x, type, done, channels), behind(dy, type, done, channels), behind(dz_out, type, done, channels), type,
      pixels - done, channels, k, silu, sums);
}

#define GRADIENT(T, LOAD, STORE, SLOPE, RESIDUAL)                                                            \
  {                                                                                                          \
    const T *row = x, *dy_row = dy, *more = residual;                                                        \
    T *out = dx;                                                                                             \
    for (long i = 0; i < pixels; i++) {                                                                      \
      KK_INDEPENDENT for (long c = 0; c < channels; c++) {                                                   \
        KK_CONTRACT                                                                                          \
        float x0 = LOAD(row[c]), d0 = LOAD(dy_row[c]) * SLOPE(x0 * a[c] + b[c]);                             \
        out[c] = STORE(d0 * a[c] + (x0 * q[c] + s[c]) + RESIDUAL);                                           \
      }                                                                                                      \
      row += channels, dy_row += channels, out += channels;                                                  \
      if (more) more += channels;                                                                            \
    }                                                                                                        \
  }

#define EACH_RESIDUAL(T, LOAD, STORE, SLOPE)                                                                 \
  {                                                                                                          \
    if (residual) GRADIENT(T, LOAD, STORE, SLOPE, LOAD(more[c]))                                             \
    else GRADIENT(T, LOAD, STORE, SLOPE, 0.0f)                                                               \
  }

KK_CLONES static void apply_gradient(
    const void *x, const void *dy, const void *residual, void *dx, kk_dtype type, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu) {
  const float *a = k->a, *b = k->b, *q = k->q, *s = k->s;
  if (type == KK_BF16) {
    if (silu) EACH_RESIDUAL(uint16_t, kk_from_bf16, kk_round_bf16, coarse_silu_slope)
    else EACH_RESIDUAL(uint16_t, kk_from_bf16, kk_round_bf16, ONE)
  } else {
    if (silu) EACH_RESIDUAL(float, F32, STORE_F32, kk_silu_slope)
    else EACH_RESIDUAL(float, F32, STORE_F32, ONE)
  }
}

void kk_norm_gradient_apply(
    const void *x, const void *dy, const void *residual, void *dx, kk_dtype type, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu) {
  long done = 0;
  if (type == KK_BF16) done = kk_norm_gradient_apply_wide(x, dy, residual, dx, pixels, channels, k, silu);
  apply_gradient(
      behind(x, type, done, channels), behind(dy, type, done, channels), behind(residual, type, done, channels),
      behind(dx, type, done, channels), type, pixels - done, channels, k, silu);
}
