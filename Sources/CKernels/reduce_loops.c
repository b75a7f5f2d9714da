#include "reduce.h"

enum { LANES = 64 };

// Lanes of their own, because no compiler splits a maximum with NaN rules by itself.
#define FOLD_LANES(T, CHOOSE)                                                                                \
  {                                                                                                          \
    T lanes[LANES];                                                                                          \
    long i = 0;                                                                                              \
    T best = x[0];                                                                                           \
    if (n >= LANES) {                                                                                        \
      for (int j = 0; j < LANES; j++) lanes[j] = x[j];                                                       \
      for (i = LANES; i + LANES <= n; i += LANES)                                                            \
        for (int j = 0; j < LANES; j++) lanes[j] = CHOOSE(x[i + j], lanes[j]);                               \
      for (int w = LANES / 2; w > 0; w /= 2)                                                                 \
        for (int j = 0; j < w; j++) lanes[j] = CHOOSE(lanes[j + w], lanes[j]);                               \
      best = lanes[0];                                                                                       \
    }                                                                                                        \
    for (; i < n; i++) best = CHOOSE(x[i], best);                                                            \
    return best;                                                                                             \
  }

KK_CLONES float kk_fold_f32(kk_reduction op, const float *x, long n) {
  KK_REASSOCIATE
  switch (op) {
    case KK_SUM: {
      float sum = 0;
      for (long i = 0; i < n; i++) sum += x[i];
      return sum;
    }
    case KK_PRODUCT: {
      float product = 1;
      for (long i = 0; i < n; i++) product *= x[i];
      return product;
    }
    case KK_MAXIMUM: FOLD_LANES(float, KK_MAX_OF)
    case KK_MINIMUM: FOLD_LANES(float, KK_MIN_OF)
  }
  return 0;
}

KK_CLONES int64_t kk_fold_i64(kk_reduction op, const int64_t *x, long n) {
  int64_t value = kk_identity_i64(op);
  switch (op) {
    case KK_SUM:
      for (long i = 0; i < n; i++) value = kk_combine_i64(KK_SUM, value, x[i]);
      break;
    case KK_PRODUCT:
      for (long i = 0; i < n; i++) value = kk_combine_i64(KK_PRODUCT, value, x[i]);
      break;
    case KK_MAXIMUM:
      for (long i = 0; i < n; i++) value = kk_combine_i64(KK_MAXIMUM, value, x[i]);
      break;
    case KK_MINIMUM:
      for (long i = 0; i < n; i++) value = kk_combine_i64(KK_MINIMUM, value, x[i]);
      break;
  }
  return value;
}

#define MULTIPLY(A, B) ((A) * (B))
#define IDENTITY(X) (X)

// Four rows at a time, so that acc is read and written once for four loads.
#define SUM_ROWS(T, VALUE, PLACE)                                                                            \
  {                                                                                                          \
    const T *s = x;                                                                                          \
    long i = 0;                                                                                              \
    for (; i + 4 <= rows; i += 4) {                                                                          \
      const T *r0 = s + PLACE(i), *r1 = s + PLACE(i + 1), *r2 = s + PLACE(i + 2), *r3 = s + PLACE(i + 3);    \
      KK_INDEPENDENT for (long j = 0; j < width; j++)                                                        \
          acc[j] += (VALUE(r0[j]) + VALUE(r1[j])) + (VALUE(r2[j]) + VALUE(r3[j]));                           \
    }                                                                                                        \
    for (; i < rows; i++)                                                                                    \
      KK_INDEPENDENT for (long j = 0; j < width; j++) acc[j] += VALUE(s[PLACE(i) + j]);                      \
    return;                                                                                                  \
  }

#define CHOOSE_ROWS(T, VALUE, PLACE, CHOOSE)                                                                 \
  {                                                                                                          \
    const T *s = x;                                                                                          \
    for (long i = 0; i < rows; i++)                                                                          \
      KK_INDEPENDENT for (long j = 0; j < width; j++) {                                                      \
        float v = VALUE(s[PLACE(i) + j]);                                                                    \
        acc[j] = CHOOSE(v, acc[j]);                                                                          \
      }                                                                                                      \
    return;                                                                                                  \
  }

#define EACH_OP(T, VALUE, PLACE)                                                                             \
  switch (op) {                                                                                              \
    case KK_SUM: SUM_ROWS(T, VALUE, PLACE)                                                                   \
    case KK_PRODUCT: CHOOSE_ROWS(T, VALUE, PLACE, MULTIPLY)                                                  \
    case KK_MAXIMUM: CHOOSE_ROWS(T, VALUE, PLACE, KK_MAX_OF)                                                 \
    case KK_MINIMUM: CHOOSE_ROWS(T, VALUE, PLACE, KK_MIN_OF)                                                 \
  }
#define BY_PITCH(I) ((I) * pitch)
#define BY_PLACE(I) places[I]

KK_CLONES void kk_accumulate_f32(
    kk_reduction op, float *acc, const void *x, kk_dtype type, long rows, int64_t pitch, long width) {
  if (type == KK_BF16) {
    EACH_OP(uint16_t, kk_from_bf16, BY_PITCH)
  } else {
    EACH_OP(float, IDENTITY, BY_PITCH)
  }
}

KK_CLONES void kk_accumulate_places_f32(
    kk_reduction op, float *acc, const void *x, kk_dtype type, long rows, const int64_t *places, long width) {
  if (type == KK_BF16) {
    EACH_OP(uint16_t, kk_from_bf16, BY_PLACE)
  } else {
    EACH_OP(float, IDENTITY, BY_PLACE)
  }
}

KK_CLONES void kk_accumulate_i64(kk_reduction op, int64_t *acc, const int64_t *x, long width) {
  switch (op) {
    case KK_SUM:
      for (long j = 0; j < width; j++) acc[j] = kk_combine_i64(KK_SUM, acc[j], x[j]);
      break;
    case KK_PRODUCT:
      for (long j = 0; j < width; j++) acc[j] = kk_combine_i64(KK_PRODUCT, acc[j], x[j]);
      break;
    case KK_MAXIMUM:
      for (long j = 0; j < width; j++) acc[j] = kk_combine_i64(KK_MAXIMUM, acc[j], x[j]);
      break;
    case KK_MINIMUM:
      for (long j = 0; j < width; j++) acc[j] = kk_combine_i64(KK_MINIMUM, acc[j], x[j]);
      break;
  }
}

#define COMBINE                                                                                              \
  switch (op) {                                                                                              \
    case KK_SUM:                                                                                             \
      for (long j = 0; j < n; j++) totals[j] += x[j];                                                        \
      break;                                                                                                 \
    case KK_PRODUCT:                                                                                         \
      for (long j = 0; j < n; j++) totals[j] *= x[j];                                                        \
      break;                                                                                                 \
    case KK_MAXIMUM:                                                                                         \
      for (long j = 0; j < n; j++) totals[j] = kk_combine_f64(KK_MAXIMUM, totals[j], x[j]);                  \
      break;                                                                                                 \
    case KK_MINIMUM:                                                                                         \
      for (long j = 0; j < n; j++) totals[j] = kk_combine_f64(KK_MINIMUM, totals[j], x[j]);                  \
      break;                                                                                                 \
  }

KK_CLONES void kk_combine_floats(kk_reduction op, double *restrict totals, const float *restrict x, long n) {
  COMBINE
}

KK_CLONES void kk_combine_doubles(
    kk_reduction op, double *restrict totals, const double *restrict x, long n) {
  COMBINE
}
