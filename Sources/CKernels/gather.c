#include "ckernels/gather.h"

#include <stdatomic.h>

#include "indices.h"

enum { GRAIN = 1 << 15 };

struct check {
  const void *indices;
  kk_dtype type;
  int64_t n;
  _Atomic int64_t first;
};

static void check_range(long begin, long end, int worker, void *context) {
  (void)worker;
  struct check *c = context;
  for (long i = begin; i < end; i++) {
    int64_t index = kk_index(c->indices, c->type, i);
    if (index >= 0 && index < c->n) continue;
    int64_t first = atomic_load(&c->first);
    while (i < first && !atomic_compare_exchange_weak(&c->first, &first, i)) {
    }
    return;
  }
}

int64_t kk_first_bad_index(const char *kernel, const void *indices, kk_dtype type, int64_t count, int64_t n) {
  if (type != KK_I32 && type != KK_I64) kk_fail(kernel, "indices must be i32 or i64");
  struct check c = {indices, type, n, INT64_MAX};
  kk_parallel_for(count, GRAIN, check_range, &c);
  int64_t first = atomic_load(&c.first);
  return first == INT64_MAX ? -1 : first;
}

struct gather {
  int64_t n, count, inner, bytes;
  const char *src;
  const void *indices;
  kk_dtype index_type;
  char *dst;
};

static void gather_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct gather *g = context;
  for (long r = begin; r < end; r++) {
    int64_t from = r / g->count * g->n + kk_index(g->indices, g->index_type, r % g->count);
    memcpy(g->dst + r * g->bytes, g->src + from * g->bytes, (size_t)g->bytes);
  }
}

int64_t kk_gather(
    int64_t outer, int64_t n, int64_t count, int64_t row_bytes, const void *src, const void *indices,
    kk_dtype index_type, void *dst) {
  int64_t bad = kk_first_bad_index("kk_gather", indices, index_type, count, n);
  if (bad >= 0 || row_bytes == 0) return bad;
  struct gather g = {n, count, 1, row_bytes, src, indices, index_type, dst};
  kk_parallel_for(outer * count, kk_max(1, GRAIN / row_bytes), gather_rows, &g);
  return -1;
}

#define ALONG(T)                                                                                             \
  for (long e = begin; e < end; e++) {                                                                       \
    int64_t o = e / (g->count * g->inner), i = e % g->inner;                                                 \
    int64_t from = (o * g->n + kk_index(g->indices, g->index_type, e)) * g->inner + i;                       \
    ((T *)g->dst)[e] = ((const T *)g->src)[from];                                                            \
  }

static void gather_elements(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct gather *g = context;
  switch (g->bytes) {
    case 1: ALONG(uint8_t) break;
    case 2: ALONG(uint16_t) break;
    case 4: ALONG(uint32_t) break;
    case 8: ALONG(uint64_t) break;
    default: kk_fail("kk_gather_along", "elements must have 1, 2, 4 or 8 bytes");
  }
}

int64_t kk_gather_along(
    int64_t outer, int64_t n, int64_t count, int64_t inner, int64_t element_bytes, const void *src,
    const void *indices, kk_dtype index_type, void *dst) {
  int64_t total = outer * count * inner;
  int64_t bad = kk_first_bad_index("kk_gather_along", indices, index_type, total, n);
  if (bad >= 0) return bad;
  struct gather g = {n, count, inner, element_bytes, src, indices, index_type, dst};
  kk_parallel_for(total, GRAIN / 4, gather_elements, &g);
  return -1;
}
