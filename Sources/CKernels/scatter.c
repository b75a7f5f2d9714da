// Scattered sums. A place of the result belongs to one worker, which meets its updates in order: no atomics,
// and the same bits for any number of threads.
#include "ckernels/gather.h"
#include "indices.h"

enum { PIECE = 1 << 16, STRIP = 64 };

struct scatter {
  int64_t n, count, inner, pieces, piece_rows, strips;
  const char *updates;
  const void *indices;
  const void *base;  // or NULL
  kk_dtype index_type, type;
  char *dst;
};

static void *allocate(int64_t values) {
  void *p = malloc((size_t)kk_max(1, values) * sizeof(int64_t));
  if (!p) kk_fail("kk_scatter_add", "out of memory");
  return p;
}

KK_CLONES static void add_f32(float *sum, const float *x, long n) {
  KK_INDEPENDENT for (long i = 0; i < n; i++) sum[i] += x[i];
}

static void add_i64(int64_t *sum, const int64_t *x, long n) {
  for (long i = 0; i < n; i++) sum[i] = (int64_t)((uint64_t)sum[i] + (uint64_t)x[i]);
}

// Rows [first, first + rows) of one outer position; every worker reads all indices and takes its own.
static void scatter_piece(
    const struct scatter *s, int64_t outer, int64_t first, int64_t rows, char *sums, char *row) {
  const int64_t inner = s->inner;
  const bool integer = kk_is_integer(s->type);
  const size_t size = integer ? sizeof(int64_t) : sizeof(float);
  const void *base = s->base ? kk_at(s->base, s->type, (outer * s->n + first) * inner) : NULL;
  if (!base) memset(sums, 0, (size_t)(rows * inner) * size);
  else if (integer) kk_load_i64((int64_t *)sums, base, s->type, rows * inner, 1);
  else if (base != sums) kk_load_f32((float *)sums, base, s->type, rows * inner, 1);
  for (int64_t k = 0; k < s->count; k++) {
    int64_t at = kk_index(s->indices, s->index_type, k) - first;
    if (at < 0 || at >= rows) continue;
    const void *update = kk_at(s->updates, s->type, (outer * s->count + k) * inner);
    char *sum = sums + (size_t)(at * inner) * size;
    if (integer) {
      kk_load_i64((int64_t *)row, update, s->type, inner, 1);
      add_i64((int64_t *)sum, (const int64_t *)row, inner);
    } else if (s->type == KK_F32) {
      add_f32((float *)sum, update, inner);
    } else {
      kk_load_f32((float *)row, update, s->type, inner, 1);
      add_f32((float *)sum, (const float *)row, inner);
    }
  }
}

static void scatter_pieces(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct scatter *s = context;
  const bool direct = s->type == KK_F32 || s->type == KK_I64, integer = kk_is_integer(s->type);
  char *row = allocate(s->inner), *scratch = direct ? NULL : allocate(s->piece_rows * s->inner);
  for (long u = begin; u < end; u++) {
    int64_t outer = u / s->pieces, first = u % s->pieces * s->piece_rows;
    int64_t rows = kk_min(s->piece_rows, s->n - first);
    void *dst = (void *)kk_at(s->dst, s->type, (outer * s->n + first) * s->inner);
    scatter_piece(s, outer, first, rows, direct ? dst : scratch, row);
    if (direct) continue;
    if (integer) kk_store_i64(dst, s->type, 1, (const int64_t *)scratch, rows * s->inner);
    else kk_store_f32(dst, s->type, 1, (const float *)scratch, rows * s->inner);
  }
  free(scratch);
  free(row);
}

int64_t kk_scatter_add(
    int64_t outer, int64_t n, int64_t count, int64_t inner, const void *updates, kk_dtype type,
    const void *indices, kk_dtype index_type, const void *base, void *dst) {
  int64_t bad = kk_first_bad_index("kk_scatter_add", indices, index_type, count, n);
  if (bad >= 0 || outer * n * inner == 0) return bad;
  struct scatter s = {
      .n = n, .count = count, .inner = inner, .updates = updates, .indices = indices,
      .base = base, .index_type = index_type, .type = type, .dst = dst};
  // Small pieces for those that need scratch memory, few pieces otherwise.
  int64_t fair = kk_ceil_div(n, 4 * kk_threads());
  s.piece_rows = type == KK_F32 || type == KK_I64 ? fair : kk_min(fair, kk_max(1, PIECE / inner));
  s.pieces = kk_ceil_div(n, s.piece_rows);
  int64_t work = (n + count) * inner / s.pieces;
  kk_parallel_for(outer * s.pieces, kk_max(1, (1 << 14) / kk_max(1, work)), scatter_pieces, &s);
  return -1;
}

// A strip of columns of one outer position.
static void scatter_strips(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct scatter *s = context;
  const bool integer = kk_is_integer(s->type);
  const int64_t pitch = kk_min(STRIP, s->inner);
  void *sums = allocate(s->n * pitch);
  for (long u = begin; u < end; u++) {
    int64_t outer = u / s->strips, column = u % s->strips * STRIP;
    long width = kk_min(STRIP, s->inner - column);
    memset(sums, 0, (size_t)(s->n * pitch) * (integer ? sizeof(int64_t) : sizeof(float)));
    for (int64_t k = 0; k < s->count; k++) {
      int64_t at = (outer * s->count + k) * s->inner + column;
      int64_t x_i[STRIP];
      float x[STRIP];
      if (integer) kk_load_i64(x_i, kk_at(s->updates, s->type, at), s->type, width, 1);
      else kk_load_f32(x, kk_at(s->updates, s->type, at), s->type, width, 1);
      for (long j = 0; j < width; j++) {
        int64_t place = kk_index(s->indices, s->index_type, at + j) * pitch + j;
        if (integer) add_i64((int64_t *)sums + place, x_i + j, 1);
        else ((float *)sums)[place] += x[j];
      }
    }
    for (int64_t row = 0; row < s->n; row++) {
      void *dst = (void *)kk_at(s->dst, s->type, (outer * s->n + row) * s->inner + column);
      if (integer) kk_store_i64(dst, s->type, 1, (const int64_t *)sums + row * pitch, width);
      else kk_store_f32(dst, s->type, 1, (const float *)sums + row * pitch, width);
    }
  }
  free(sums);
}

int64_t kk_scatter_add_along(
    int64_t outer, int64_t n, int64_t count, int64_t inner, const void *updates, kk_dtype type,
    const void *indices, kk_dtype index_type, void *dst) {
  int64_t bad = kk_first_bad_index("kk_scatter_add_along", indices, index_type, outer * count * inner, n);
  if (bad >= 0 || outer * n * inner == 0) return bad;
  struct scatter s = {
      .n = n, .count = count, .inner = inner, .strips = kk_ceil_div(inner, STRIP), .updates = updates,
      .indices = indices, .index_type = index_type, .type = type, .dst = dst};
  int64_t work = (n + count) * kk_min(STRIP, inner);
  kk_parallel_for(outer * s.strips, kk_max(1, (1 << 14) / kk_max(1, work)), scatter_strips, &s);
  return -1;
}
