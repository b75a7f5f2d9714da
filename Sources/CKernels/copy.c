#include "ckernels/copy.h"

#include "dims.h"
#include "transpose.h"

enum { ROW = 1024, TILE_ROWS = 64, TILE_COLUMNS = 64, COPY_GRAIN = 1 << 15, SHORT_ROW = 512 };

struct copy {
  int rank;
  int64_t shape[KK_MAX_DIMS];
  kk_strides strides[2];  // dst, src
  char *dst;
  const char *src;
  kk_dtype dst_type, src_type;
  int source_axis;  // of a transpose: where the source is contiguous
  int64_t row_tiles, column_tiles;
};

// n elements from a source run to a destination run.
static void copy_run(
    const struct copy *c, int64_t d, int64_t s, long n, int64_t dst_stride, int64_t src_stride) {
  char *dst = (char *)kk_at(c->dst, c->dst_type, d);
  const char *src = kk_at(c->src, c->src_type, s);
  size_t size = kk_dtype_size(c->dst_type);
  if (c->dst_type == c->src_type && dst_stride == 1 && src_stride == 1) {
    if (dst != src) memcpy(dst, src, (size_t)n * size);
  } else if (kk_is_integer(c->dst_type) && kk_is_integer(c->src_type)) {
    int64_t buffer[ROW];
    for (long i = 0; i < n; i += ROW) {
      long m = kk_min(ROW, n - i);
      kk_load_i64(buffer, kk_at(src, c->src_type, i * src_stride), c->src_type, m, src_stride);
      kk_store_i64((void *)kk_at(dst, c->dst_type, i * dst_stride), c->dst_type, dst_stride, buffer, m);
    }
  } else if (c->dst_type == KK_F32 && dst_stride == 1) {
    kk_load_f32((float *)dst, src, c->src_type, n, src_stride);
  } else if (c->src_type == KK_F32 && src_stride == 1) {
    kk_store_f32(dst, c->dst_type, dst_stride, (const float *)src, n);
  } else if (c->src_type == KK_I64 && !kk_is_integer(c->dst_type) && src_stride == 1) {
    kk_store_i64(dst, c->dst_type, dst_stride, (const int64_t *)src, n);
  } else {
    float buffer[ROW];
    for (long i = 0; i < n; i += ROW) {
      long m = kk_min(ROW, n - i);
      kk_load_f32(buffer, kk_at(src, c->src_type, i * src_stride), c->src_type, m, src_stride);
      kk_store_f32((void *)kk_at(dst, c->dst_type, i * dst_stride), c->dst_type, dst_stride, buffer, m);
    }
  }
}

// Rows so many bytes apart. A call takes longer than a short row.
KK_CLONES static void copy_short_rows(
    char *dst, int64_t dst_pitch, const char *src, int64_t src_pitch, long rows, long bytes) {
  for (; rows > 0; rows--, dst += dst_pitch, src += src_pitch) {
    long i = 0;
    for (; i + 64 <= bytes; i += 64) __builtin_memcpy_inline(dst + i, src + i, 64);
    for (; i + 16 <= bytes; i += 16) __builtin_memcpy_inline(dst + i, src + i, 16);
    for (; i + 2 <= bytes; i += 2) __builtin_memcpy_inline(dst + i, src + i, 2);
    if (i < bytes) dst[i] = src[i];
  }
}

static bool has_short_rows(const struct copy *c) {
  const int last = c->rank - 1;
  return c->dst_type == c->src_type && c->strides[0][last] == 1 && c->strides[1][last] == 1 &&
         c->shape[last] * (int64_t)kk_dtype_size(c->dst_type) <= SHORT_ROW;
}

static void copy_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct copy *c = context;
  const int last = c->rank - 1;
  const int64_t size = (int64_t)kk_dtype_size(c->dst_type);
  const bool is_short = has_short_rows(c);
  struct kk_walk at = kk_walk_to(last, c->shape, c->strides, begin);
  for (long r = begin, rows = 1; r < end; r += rows) {
    const int64_t d = at.offsets[0], s = at.offsets[1];
    if (is_short) {
      rows = kk_min(end - r, c->shape[last - 1] - at.position[last - 1]);
      copy_short_rows(
          (char *)kk_at(c->dst, c->dst_type, d), c->strides[0][last - 1] * size, kk_at(c->src, c->src_type, s),
          c->strides[1][last - 1] * size, rows, c->shape[last] * size);
      // All of them but the last.
      at.position[last - 1] += rows - 1;
      for (int v = 0; v < 2; v++) at.offsets[v] += (rows - 1) * c->strides[v][last - 1];
    } else {
      copy_run(c, d, s, c->shape[last], c->strides[0][last], c->strides[1][last]);
    }
    kk_walk_on(&at, last, c->shape, c->strides);
  }
}

// One long run is cut into pieces.
static void copy_pieces(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct copy *c = context;
  int64_t d = c->strides[0][0], s = c->strides[1][0];
  copy_run(c, begin * d, begin * s, end - begin, d, s);
}

// The axes other than the source's and the destination's contiguous ones are walked tile by tile.
static void copy_tiles(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct copy *c = context;
  const int last = c->rank - 1, axis = c->source_axis;
  int64_t outer_shape[KK_MAX_DIMS], outer[2][KK_MAX_DIMS];
  int outer_rank = 0;
  for (int d = 0; d < last; d++) {
    if (d == axis) continue;
    outer_shape[outer_rank] = c->shape[d];
    outer[0][outer_rank] = c->strides[0][d];
    outer[1][outer_rank++] = c->strides[1][d];
  }
  const int64_t dst_pitch = c->strides[0][axis], src_pitch = c->strides[1][last];
  const size_t size = kk_dtype_size(c->src_type);
  for (long t = begin; t < end; t++) {
    int64_t tile = t % (c->row_tiles * c->column_tiles), index = t / (c->row_tiles * c->column_tiles);
    int64_t i = tile / c->column_tiles * TILE_ROWS, j = tile % c->column_tiles * TILE_COLUMNS;
    long rows = kk_min(TILE_ROWS, c->shape[axis] - i), columns = kk_min(TILE_COLUMNS, c->shape[last] - j);
    int64_t d = kk_offset(outer_rank, outer_shape, outer[0], index) + i * dst_pitch + j;
    int64_t s = kk_offset(outer_rank, outer_shape, outer[1], index) + i + j * src_pitch;
    if (c->dst_type == c->src_type) {
      kk_transpose_tile(
          (void *)kk_at(c->dst, c->dst_type, d), dst_pitch, kk_at(c->src, c->src_type, s), src_pitch, rows,
          columns, size);
    } else {
      uint64_t buffer[TILE_ROWS * TILE_COLUMNS];
      kk_transpose_tile(buffer, TILE_COLUMNS, kk_at(c->src, c->src_type, s), src_pitch, rows, columns, size);
      struct copy cast = *c;
      cast.src = (const char *)buffer;
      for (long r = 0; r < rows; r++) copy_run(&cast, d + r * dst_pitch, r * TILE_COLUMNS, columns, 1, 1);
    }
  }
}

// The axis along which the source is contiguous, if that is worth a transpose; else -1.
static int transposed_axis(const struct copy *c) {
  const int last = c->rank - 1;
  if (c->strides[0][last] != 1 || llabs(c->strides[1][last]) <= 1 || c->shape[last] < 4) return -1;
  for (int d = 0; d < last; d++)
    if (c->strides[1][d] == 1 && c->shape[d] >= 4) return d;
  return -1;
}

void kk_copy(
    int32_t rank, const int64_t *shape, void *dst, kk_dtype dst_type, const int64_t *dst_strides,
    const void *src, kk_dtype src_type, const int64_t *src_strides) {
  if (rank < 0 || rank > KK_MAX_DIMS) kk_fail("kk_copy", "rank must be 0 to 8");
  int64_t total = kk_element_count(rank, shape);
  if (total == 0) return;
  struct copy c = {.dst = dst, .src = src, .dst_type = dst_type, .src_type = src_type};
  memcpy(c.shape, shape, (size_t)rank * sizeof *shape);
  memcpy(c.strides[0], dst_strides, (size_t)rank * sizeof *shape);
  memcpy(c.strides[1], src_strides, (size_t)rank * sizeof *shape);
  c.rank = kk_collapse(rank, c.shape, 2, c.strides, 0);
  const int last = c.rank - 1;
  if (c.rank == 1) {
    kk_parallel_for(total, COPY_GRAIN, copy_pieces, &c);
    return;
  }
  c.source_axis = transposed_axis(&c);
  if (c.source_axis >= 0) {
    c.row_tiles = kk_ceil_div(c.shape[c.source_axis], TILE_ROWS);
    c.column_tiles = kk_ceil_div(c.shape[last], TILE_COLUMNS);
    int64_t outer = total / c.shape[c.source_axis] / c.shape[last];
    kk_parallel_for(outer * c.row_tiles * c.column_tiles, 8, copy_tiles, &c);
    return;
  }
  kk_parallel_for(total / c.shape[last], kk_max(1, COPY_GRAIN / c.shape[last]), copy_rows, &c);
}
