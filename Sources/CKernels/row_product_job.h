// Private: one call of kk_row_product_run.
#pragma once
#include "ckernels/row_product.h"
#include "common.h"

typedef struct {
  const kk_row_product *product;
  const void *x, *b;
  const float *bias;
  void *y;
  float *parts;  // sums (m, n) of each part of k, with KK_B_BY_ROWS
} kk_row_product_job;

/// Rows `step` ..< `last` and `count` columns of b from `first` on; their sums (m, count) are added to, in rows of n.
typedef struct {
  long step, last, first, count;
  float *sums;
} kk_row_span;

/// sums += x b of a span; row_product_wide.c, where kk_has_wide_registers.
void kk_multiply_span_wide(const kk_row_product_job *j, const kk_row_span *span);

/// Sums of `count` columns of a row from `first` on, which are overwritten, become y.
void kk_row_product_store(const kk_row_product_job *j, long row, long first, float *sums, long count);

/// Panels begin ..< end of a job (a kk_body); row_product_panels.c.
void kk_multiply_panels(long begin, long end, int worker, void *job);
