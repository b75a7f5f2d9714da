// Stable sorting of rows: a radix sort of order-preserving integer keys, a byte at a time, least significant
// first.
#include "ckernels/scan.h"
#include "common.h"

enum { INSERTION = 32, GRAIN = 1 << 12 };

struct item {
  uint64_t key;
  int32_t index;
};

struct sort {
  int64_t n;
  const char *src;
  char *values;
  int32_t *indices;
  kk_dtype type;
  bool descending;
};

// Maps floats to integers of the same order; every NaN to the top whichever the direction.
static uint64_t float_key(float x, bool descending) {
  if (x != x) return UINT32_MAX;
  uint32_t u = kk_f32_bits(x == 0.0f ? 0.0f : x);
  u = u & 0x80000000u ? ~u : u | 0x80000000u;
  return descending ? ~u : u;
}

static uint64_t integer_key(int64_t x, bool descending) {
  uint64_t u = (uint64_t)x ^ ((uint64_t)1 << 63);
  return descending ? ~u : u;
}

static void insertion_sort(struct item *items, long n) {
  for (long i = 1; i < n; i++) {
    struct item moved = items[i];
    long j = i;
    for (; j > 0 && items[j - 1].key > moved.key; j--) items[j] = items[j - 1];
    items[j] = moved;
  }
}

// Returns whichever of the two buffers holds the result.
static struct item *radix_sort(struct item *items, struct item *spare, long n) {
  uint64_t all_or = 0, all_and = UINT64_MAX;
  for (long i = 0; i < n; i++) {
    all_or |= items[i].key;
    all_and &= items[i].key;
  }
  for (int shift = 0; shift < 64; shift += 8) {
    // Every key has the same byte here.
    if (((all_or ^ all_and) >> shift & 255) == 0) continue;
    long starts[257] = {0};
    for (long i = 0; i < n; i++) starts[(items[i].key >> shift & 255) + 1]++;
    for (int b = 0; b < 256; b++) starts[b + 1] += starts[b];
    for (long i = 0; i < n; i++) spare[starts[items[i].key >> shift & 255]++] = items[i];
    struct item *swap = items;
    items = spare;
    spare = swap;
  }
  return items;
}

static void sort_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct sort *s = context;
  const size_t size = kk_dtype_size(s->type);
  struct item *items = malloc((size_t)s->n * 2 * sizeof *items);
  if (!items) kk_fail("kk_sort", "out of memory");
  for (long row = begin; row < end; row++) {
    const char *src = s->src + (size_t)(row * s->n) * size;
    for (long i = 0; i < s->n; i++) {
      items[i].index = (int32_t)i;
      if (kk_is_integer(s->type)) {
        int64_t x;
        kk_load_i64(&x, src + (size_t)i * size, s->type, 1, 1);
        items[i].key = integer_key(x, s->descending);
      } else {
        float x;
        kk_load_f32(&x, src + (size_t)i * size, s->type, 1, 1);
        items[i].key = float_key(x, s->descending);
      }
    }
    struct item *sorted = items;
    if (s->n <= INSERTION) insertion_sort(items, s->n);
    else sorted = radix_sort(items, items + s->n, s->n);
    for (long i = 0; i < s->n; i++) {
      if (s->indices) s->indices[row * s->n + i] = sorted[i].index;
      if (s->values)
        memcpy(s->values + (size_t)(row * s->n + i) * size, src + (size_t)sorted[i].index * size, size);
    }
  }
  free(items);
}

void kk_sort(
    int64_t rows, int64_t n, const void *src, kk_dtype type, bool descending, void *values,
    int32_t *indices) {
  if (rows == 0 || n == 0) return;
  if (n > INT32_MAX) kk_fail("kk_sort", "rows must have less than 2^31 elements");
  struct sort s = {n, src, values, indices, type, descending};
  kk_parallel_for(rows, kk_max(1, GRAIN / n), sort_rows, &s);
}
