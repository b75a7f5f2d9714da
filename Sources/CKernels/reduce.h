// Private: the loops under kk_reduce.
#pragma once
#include "ckernels/reduce.h"
#include "common.h"

/// Fold of x[0 ..< n], n > 0.
float kk_fold_f32(kk_reduction op, const float *x, long n);
int64_t kk_fold_i64(kk_reduction op, const int64_t *x, long n);

/// acc[j] = op(acc[j], x[i * pitch + j]) for i < rows in order, j < width; x is f32 or bf16.
void kk_accumulate_f32(
    kk_reduction op, float *acc, const void *x, kk_dtype type, long rows, int64_t pitch, long width);
/// The same of rows at x + places[i].
void kk_accumulate_places_f32(
    kk_reduction op, float *acc, const void *x, kk_dtype type, long rows, const int64_t *places, long width);
void kk_accumulate_i64(kk_reduction op, int64_t *acc, const int64_t *x, long width);

/// totals[j] = op(totals[j], x[j]), j < n.
void kk_combine_floats(kk_reduction op, double *totals, const float *x, long n);
void kk_combine_doubles(kk_reduction op, double *totals, const double *x, long n);

#define KK_MAX_OF(A, B) ((A) > (B) || (A) != (A) ? (A) : (B))
#define KK_MIN_OF(A, B) ((A) < (B) || (A) != (A) ? (A) : (B))

KK_INLINE double kk_combine_f64(kk_reduction op, double a, double b) {
  switch (op) {
    case KK_SUM: return a + b;
    case KK_PRODUCT: return a * b;
    case KK_MAXIMUM: return KK_MAX_OF(a, b);
    case KK_MINIMUM: return KK_MIN_OF(a, b);
  }
  return a;
}

KK_INLINE int64_t kk_combine_i64(kk_reduction op, int64_t a, int64_t b) {
  switch (op) {
    case KK_SUM: return (int64_t)((uint64_t)a + (uint64_t)b);
    case KK_PRODUCT: return (int64_t)((uint64_t)a * (uint64_t)b);
    case KK_MAXIMUM: return a > b ? a : b;
    case KK_MINIMUM: return a < b ? a : b;
  }
  return a;
}

KK_INLINE double kk_identity_f64(kk_reduction op) {
  return op == KK_SUM ? 0.0 : op == KK_PRODUCT ? 1.0 : op == KK_MAXIMUM ? -INFINITY : INFINITY;
}

KK_INLINE int64_t kk_identity_i64(kk_reduction op) {
  return op == KK_SUM ? 0 : op == KK_PRODUCT ? 1 : op == KK_MAXIMUM ? INT64_MIN : INT64_MAX;
}
