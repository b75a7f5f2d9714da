// Private: dst[i * dst_pitch + j] = src[j * src_pitch + i], pitches in elements, i < rows, j < columns.
#pragma once
#include "common.h"

/// Elements of `size` 1, 2, 4 or 8 bytes.
void kk_transpose_tile(
    void *dst, int64_t dst_pitch, const void *src, int64_t src_pitch, long rows, long columns, size_t size);
