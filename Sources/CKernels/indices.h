// Private: index arrays.
#pragma once
#include "common.h"

KK_INLINE int64_t kk_index(const void *indices, kk_dtype type, int64_t i) {
  return type == KK_I32 ? ((const int32_t *)indices)[i] : ((const int64_t *)indices)[i];
}

/// Position of the first index outside 0 ..< n, or -1.
int64_t kk_first_bad_index(const char *kernel, const void *indices, kk_dtype type, int64_t count, int64_t n);
