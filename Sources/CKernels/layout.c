// Padding, joining, cutting and reversing: dense arrays, in terms of kk_copy or of rows of bytes.
#include "ckernels/copy.h"
#include "dims.h"

enum { BYTES_GRAIN = 1 << 16 };

static void dense_strides(int rank, const int64_t *shape, int64_t *strides) {
  int64_t stride = 1;
  for (int d = rank - 1; d >= 0; d--) {
    strides[d] = stride;
    stride *= shape[d];
  }
}

void kk_pad(
    int32_t rank, const int64_t *shape, void *dst, const void *src, kk_dtype type, const int64_t *low,
    const int64_t *high, const int64_t *interior, const void *value) {
  if (rank < 0 || rank > KK_MAX_DIMS) kk_fail("kk_pad", "rank must be 0 to 8");
  int64_t out[KK_MAX_DIMS], inside[KK_MAX_DIMS], zeros[KK_MAX_DIMS] = {0};
  kk_strides dst_strides, src_strides;
  for (int d = 0; d < rank; d++) {
    out[d] = low[d] + high[d] + shape[d] + (shape[d] > 1 ? shape[d] - 1 : 0) * interior[d];
    if (out[d] < 0 || interior[d] < 0) kk_fail("kk_pad", "negative size");
  }
  dense_strides(rank, out, dst_strides);
  dense_strides(rank, shape, src_strides);
  const int64_t zero = 0;
  kk_copy(rank, out, dst, type, dst_strides, value ? value : &zero, type, zeros);
  // Source element i of an axis lands on low + i (interior + 1); only those inside dst are copied.
  int64_t dst_offset = 0, src_offset = 0;
  for (int d = 0; d < rank; d++) {
    int64_t step = interior[d] + 1;
    int64_t first = low[d] < 0 ? kk_ceil_div(-low[d], step) : 0;
    int64_t room = out[d] - 1 - low[d];
    int64_t stop = room < 0 ? 0 : kk_min(shape[d], room / step + 1);
    inside[d] = kk_max(0, stop - first);
    dst_offset += (low[d] + first * step) * dst_strides[d];
    src_offset += first * src_strides[d];
    dst_strides[d] *= step;
  }
  if (kk_element_count(rank, inside) == 0) return;
  kk_copy(
      rank, inside, (void *)kk_at(dst, type, dst_offset), type, dst_strides, kk_at(src, type, src_offset),
      type, src_strides);
}

struct rows {
  char *dst;
  const char *src;
  int64_t dst_pitch, src_pitch, bytes;
};

static void copy_bytes(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct rows *r = context;
  while (begin < end) {
    int64_t row = begin / r->bytes, column = begin % r->bytes;
    int64_t n = kk_min(end - begin, r->bytes - column);
    memcpy(r->dst + row * r->dst_pitch + column, r->src + row * r->src_pitch + column, (size_t)n);
    begin += n;
  }
}

void kk_concatenate(
    void *dst, int64_t outer, int32_t count, const void *const *sources, const int64_t *bytes) {
  int64_t pitch = 0, offset = 0;
  for (int k = 0; k < count; k++) pitch += bytes[k];
  for (int k = 0; k < count; k++) {
    struct rows r = {(char *)dst + offset, sources[k], pitch, bytes[k], bytes[k]};
    kk_parallel_for(outer * bytes[k], BYTES_GRAIN, copy_bytes, &r);
    offset += bytes[k];
  }
}

void kk_reverse(
    int32_t rank, const int64_t *shape, const bool *reversed, void *dst, const void *src, kk_dtype type) {
  if (rank < 0 || rank > KK_MAX_DIMS) kk_fail("kk_reverse", "rank must be 0 to 8");
  if (kk_element_count(rank, shape) == 0) return;
  kk_strides dst_strides, src_strides;
  dense_strides(rank, shape, dst_strides);
  dense_strides(rank, shape, src_strides);
  int64_t last = 0;
  for (int d = 0; d < rank; d++) {
    if (!reversed[d]) continue;
    last += (shape[d] - 1) * src_strides[d];
    src_strides[d] = -src_strides[d];
  }
  kk_copy(rank, shape, dst, type, dst_strides, kk_at(src, type, last), type, src_strides);
}
