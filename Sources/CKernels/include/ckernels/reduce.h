// Reductions over any axes.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum : int32_t {
  KK_SUM,
  KK_PRODUCT,
  KK_MAXIMUM,  // NaN if any element is
  KK_MINIMUM,  // NaN if any element is
} kk_reduction;

/// Folds the axes d with reduced[d] into dst, dense over the other axes in order, times `scale` (1 / count
/// for a mean). Floats accumulate in f32 lanes of at most 4,096 elements and f64 beyond, integers in int64
/// (modulo 2^64; bool counts). A float result of an integer source is scaled in f64; an integer result
/// ignores `scale`. The fold of no element is 0, 1, -inf or +inf. The order of the sum does not depend on the
/// number of threads.
void kk_reduce(
    kk_reduction op, int32_t rank, const int64_t *shape, const bool *reduced, void *dst, kk_dtype dst_type,
    const void *src, kk_dtype src_type, const int64_t *src_strides, double scale);

#ifdef __cplusplus
}
#endif
