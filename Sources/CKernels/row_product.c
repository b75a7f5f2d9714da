#include "ckernels/row_product.h"

#include "attention_loops.h"
#include "epilogue.h"
#include "row_product_job.h"

// Rows of b that stay in the cache for all rows of x; sums that stay there for all of k; least rows of b in a part.
enum { ROWS = 64, SPAN = 8192, LEAST_STEPS = 64 };

void kk_row_product_store(const kk_row_product_job *j, long row, long first, float *sums, long count) {
  const kk_row_product *p = j->product;
  float old[ROWS];
  for (long done = 0; done < count; done += ROWS) {
    long n = kk_min(ROWS, count - done);
    void *y = (void *)kk_at(j->y, p->output, row * p->n + first + done);
    if (p->accumulate) kk_load_f32(old, y, p->output, n, 1);
    kk_finish_row(
        sums + done, n, j->bias ? j->bias + first + done : NULL, p->accumulate ? old : NULL, p->activation);
    kk_store_f32(y, p->output, 1, sums + done, n);
  }
}

static void multiply_columns(long begin, long end, int worker, void *context) {
  (void)worker;
  const kk_row_product_job *j = context;
  const kk_row_product *p = j->product;
  float sums[ROWS];
  for (long first = begin; first < end; first += ROWS) {
    long count = kk_min(ROWS, end - first);
    const void *b = kk_at(j->b, p->type, first * p->b_row);
    for (long row = 0; row < p->m; row++) {
      kk_row_scores(sums, (const float *)j->x + row * p->k, b, p->type, p->b_row, count, p->k, 1);
      kk_row_product_store(j, row, first, sums, count);
    }
  }
}

#define FUNCTION KK_CLONES static
#define TARGET
#include "row_product_spans.h"

// Rows of b are shared out, so that everybody reads on where memory goes on; with too few of them, columns too.
static long part_count(const kk_row_product *p) { return kk_max(1, kk_min(kk_threads(), p->k / LEAST_STEPS)); }

static long range_count(const kk_row_product *p) {
  return kk_max(kk_ceil_div(p->n, SPAN / p->m), kk_threads() / part_count(p));
}

static void multiply_parts(long begin, long end, int worker, void *context) {
  (void)worker;
  const kk_row_product_job *j = context;
  const kk_row_product *p = j->product;
  const long parts = part_count(p), ranges = range_count(p);
  for (long unit = begin; unit < end; unit++) {
    const long part = unit / ranges, range = unit % ranges;
    const long first = p->n * range / ranges, count = p->n * (range + 1) / ranges - first;
    float *sums = j->parts + part * p->m * p->n + first;
    for (long row = 0; row < p->m; row++) memset(sums + row * p->n, 0, (size_t)count * sizeof(float));
    const kk_row_span span = {p->k * part / parts, p->k * (part + 1) / parts, first, count, sums};
    if (kk_has_wide_registers()) kk_multiply_span_wide(j, &span);
    else multiply_span(j, &span);
  }
}

KK_CLONES static void add_parts(long begin, long end, int worker, void *context) {
  (void)worker;
  const kk_row_product_job *j = context;
  const kk_row_product *p = j->product;
  for (long row = 0; row < p->m; row++) {
    float *sums = j->parts + row * p->n;
    for (long part = 1; part < part_count(p); part++)
      for (long i = begin; i < end; i++) sums[i] += sums[part * p->m * p->n + i];
    kk_row_product_store(j, row, begin, sums + begin, end - begin);
  }
}

int64_t kk_row_product_scratch(const kk_row_product *p) {
  switch (p->form) {
    case KK_B_TRANSPOSED: return p->type == KK_F32 ? 0 : p->m * p->k * (int64_t)sizeof(float);
    case KK_B_BY_ROWS: return part_count(p) * p->m * p->n * (int64_t)sizeof(float);
    case KK_B_PANELS: return 0;
  }
  return 0;
}

void kk_row_product_run(
    const kk_row_product *p, const void *x, const void *b, const float *bias, void *y, void *scratch) {
  kk_require_f32_or_bf16("kk_row_product_run", p->type);
  kk_require_f32_or_bf16("kk_row_product_run", p->output);
  if (p->form != KK_B_TRANSPOSED && p->m > KK_MOST_PRODUCT_ROWS)
    kk_fail("kk_row_product_run", "products by rows or panels are for few rows");
  kk_row_product_job j = {p, x, b, bias, y, scratch};
  switch (p->form) {
    case KK_B_TRANSPOSED:
      if (p->type != KK_F32) {
        kk_load_f32(scratch, x, p->type, p->m * p->k, 1);
        j.x = scratch;
      }
      return kk_parallel_for(p->n, ROWS, multiply_columns, &j);
    case KK_B_BY_ROWS:
      if (p->type != KK_F32) kk_fail("kk_row_product_run", "products by rows are in f32");
      kk_parallel_for(part_count(p) * range_count(p), 1, multiply_parts, &j);
      return kk_parallel_for(p->n, SPAN, add_parts, &j);
    case KK_B_PANELS:
      if (p->type != KK_BF16) kk_fail("kk_row_product_run", "products by panels are in bf16");
      return kk_parallel_for(kk_ceil_div(p->n, KK_PRODUCT_PANEL), 1, kk_multiply_panels, &j);
  }
}
