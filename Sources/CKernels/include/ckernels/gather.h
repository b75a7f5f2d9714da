// Indexing along one axis of dense arrays (outer, n, inner). Indices are KK_I32 or KK_I64, at least 0 and
// less than n. Every function checks them first: it returns -1, or the position of the first bad index after
// writing nothing.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// dst[o, k, :] = src[o, indices[k], :]: src (outer, n, row), indices (count), dst (outer, count, row); rows
/// of `row_bytes` bytes.
int64_t kk_gather(
    int64_t outer, int64_t n, int64_t count, int64_t row_bytes, const void *src, const void *indices,
    kk_dtype index_type, void *dst);

/// dst[o, k, i] = src[o, indices[o, k, i], i]: src (outer, n, inner), indices and dst (outer, count, inner),
/// elements of `element_bytes` bytes (1, 2, 4 or 8).
int64_t kk_gather_along(
    int64_t outer, int64_t n, int64_t count, int64_t inner, int64_t element_bytes, const void *src,
    const void *indices, kk_dtype index_type, void *dst);

/// dst[o, j, :] = sum of updates[o, k, :] over the k with indices[k] = j, in order of k: the gradient of
/// kk_gather; added to `base` (as dst, and may be dst) if not NULL. updates (outer, count, inner), dst
/// (outer, n, inner), both of `type`. Floats add in f32, integers in int64.
int64_t kk_scatter_add(
    int64_t outer, int64_t n, int64_t count, int64_t inner, const void *updates, kk_dtype type,
    const void *indices, kk_dtype index_type, const void *base, void *dst);

/// The gradient of kk_gather_along: dst[o, j, i] = sum of updates[o, k, i] where
/// indices[o, k, i] = j.
int64_t kk_scatter_add_along(
    int64_t outer, int64_t n, int64_t count, int64_t inner, const void *updates, kk_dtype type,
    const void *indices, kk_dtype index_type, void *dst);

#ifdef __cplusplus
}
#endif
