// Moving elements: strided copy and cast, padding, concatenation, reversal. Strides are in elements.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// dst[i] = cast(src[i]) for every index i of `shape`; each view has `rank` strides of any sign, 0 in the
/// source broadcasts. Covers transposes, slices, broadcasts and casts. Between integers a cast wraps; from
/// floats it truncates and saturates, NaN gives 0; to bool it is x != 0. The views must not overlap, unless
/// they are equal.
void kk_copy(
    int32_t rank, const int64_t *shape, void *dst, kk_dtype dst_type, const int64_t *dst_strides,
    const void *src, kk_dtype src_type, const int64_t *src_strides);

/// dst = src with axis d padded by low[d] and high[d] elements (negative crops) after interior[d] elements
/// were put between neighbours. Both dense, of one type; `value` points to one element of it, NULL for zeros. `shape`
/// is the source's; axis d of dst has low + high + shape + max(shape - 1, 0) interior elements.
void kk_pad(
    int32_t rank, const int64_t *shape, void *dst, const void *src, kk_dtype type, const int64_t *low,
    const int64_t *high, const int64_t *interior, const void *value);

/// Joins `count` dense arrays along one axis: source k is (outer, bytes[k]), dst is (outer, sum of bytes).
/// bytes[k] = size of the axis and of all inner ones in source k, in bytes.
void kk_concatenate(
    void *dst, int64_t outer, int32_t count, const void *const *sources, const int64_t *bytes);

/// dst = src with the order of the elements reversed along every axis d whose flag is set; both dense.
void kk_reverse(
    int32_t rank, const int64_t *shape, const bool *reversed, void *dst, const void *src, kk_dtype type);

#ifdef __cplusplus
}
#endif
