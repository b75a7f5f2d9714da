// The product of few rows with a matrix that lies transposed: what decoding does with the weights of its layers.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// y (m, n) = x (m, k) b^T [+ bias (n)] [+ y] with b (n, k) in rows of `b_row` elements; x and y are dense.
typedef struct {
  int64_t m, n, k, b_row;
  kk_dtype type;    ///< of x and b; KK_F32 or KK_BF16
  kk_dtype output;  ///< of y; KK_F32 or KK_BF16
  bool accumulate;  ///< y is added
} kk_row_product;

/// Reads b once, whatever m is, and sums in f32. `bias` may be NULL. `scratch` has kk_row_product_scratch bytes.
void kk_row_product_run(
    const kk_row_product *product, const void *x, const void *b, const float *bias, void *y, void *scratch);

int64_t kk_row_product_scratch(const kk_row_product *product);

#ifdef __cplusplus
}
#endif
