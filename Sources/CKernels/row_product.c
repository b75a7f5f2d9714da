#include "ckernels/row_product.h"

#include "attention_loops.h"

// Rows of b that stay in the cache for all rows of x.
enum { ROWS = 64 };

struct job {
  const kk_row_product *product;
  const float *x, *bias;
  const void *b;
  void *y;
};

int64_t kk_row_product_scratch(const kk_row_product *p) {
  return p->type == KK_F32 ? 0 : p->m * p->k * (int64_t)sizeof(float);
}

static void multiply_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  const kk_row_product *p = j->product;
  float sums[ROWS], before[ROWS];
  for (long first = begin; first < end; first += ROWS) {
    long count = kk_min(ROWS, end - first);
    const void *b = kk_at(j->b, p->type, first * p->b_row);
    for (long row = 0; row < p->m; row++) {
      void *y = (void *)kk_at(j->y, p->output, row * p->n + first);
      kk_row_scores(sums, j->x + row * p->k, b, p->type, p->b_row, count, p->k, 1);
      if (j->bias)
        for (long i = 0; i < count; i++) sums[i] += j->bias[first + i];
      if (p->accumulate) {
        kk_load_f32(before, y, p->output, count, 1);
        for (long i = 0; i < count; i++) sums[i] += before[i];
      }
      kk_store_f32(y, p->output, 1, sums, count);
    }
  }
}

void kk_row_product_run(
    const kk_row_product *p, const void *x, const void *b, const float *bias, void *y, void *scratch) {
  kk_require_f32_or_bf16("kk_row_product_run", p->type);
  kk_require_f32_or_bf16("kk_row_product_run", p->output);
  const float *rows = x;
  if (p->type != KK_F32) {
    kk_load_f32(scratch, x, p->type, p->m * p->k, 1);
    rows = scratch;
  }
  struct job j = {p, rows, bias, b, y};
  kk_parallel_for(p->n, ROWS, multiply_rows, &j);
}
