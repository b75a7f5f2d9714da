// Private: one call of kk_row_product_run.
#pragma once
#include "ckernels/row_product.h"
#include "epilogue.h"

typedef struct {
  const kk_row_product *product;
  const void *x, *b;
  const float *bias;
  void *y;
} kk_row_product_job;

/// Sums of `count` columns of a row, which are overwritten, become y.
KK_INLINE void kk_row_product_store(
    const kk_row_product_job *j, long row, long first, float *sums, long count) {
  const kk_row_product *p = j->product;
  kk_store_sums(j->y, p->output, row * p->n, first, sums, count, j->bias, p->accumulate, p->activation);
}

/// Panels begin ..< end of a job (a kk_body); row_product_panels.c.
void kk_multiply_panels(long begin, long end, int worker, void *job);
