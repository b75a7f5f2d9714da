// Private: one call of kk_row_product_run.
#pragma once
#include "ckernels/row_product.h"
#include "common.h"

typedef struct {
  const kk_row_product *product;
  const void *x, *b;
  const float *bias;
  void *y;
} kk_row_product_job;

/// Sums of `count` columns of a row from `first` on, which are overwritten, become y.
void kk_row_product_store(const kk_row_product_job *j, long row, long first, float *sums, long count);

/// Panels begin ..< end of a job (a kk_body); row_product_panels.c.
void kk_multiply_panels(long begin, long end, int worker, void *job);
