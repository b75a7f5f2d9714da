// Along one axis of a dense array (outer, n, inner): positions of extremes, running sums, sorting.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// dst (outer, inner) = first index of the maximum (or minimum) along n, as KK_I32 or KK_I64. A NaN counts as
/// the extreme, as in PyTorch. n > 0.
void kk_arg_extreme(
    bool minimum, int64_t outer, int64_t n, int64_t inner, const void *src, kk_dtype src_type, void *dst,
    kk_dtype dst_type);

/// dst[i] = sum of src[0 ... i], without src[i] if `exclusive`, from the far end if `reverse`. dst has src's
/// type and may be src. Floats accumulate in f64, integers in int64 modulo 2^64. Not for KK_BOOL.
void kk_cumulative_sum(
    int64_t outer, int64_t n, int64_t inner, const void *src, void *dst, kk_dtype type, bool exclusive,
    bool reverse);

/// Stable sort of each of `rows` rows of n < 2^31 elements; `values` (rows, n) of src's type and `indices`
/// (rows, n) may each be NULL. Equal elements keep their order also when descending; -0 equals 0; NaN goes
/// last both ways.
void kk_sort(
    int64_t rows, int64_t n, const void *src, kk_dtype type, bool descending, void *values, int32_t *indices);

#ifdef __cplusplus
}
#endif
