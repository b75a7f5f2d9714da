// The product of few rows with a matrix, read once at the memory's speed: what decoding does with the weights of layers.
#pragma once
#include "activation.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// y (m, n) = act(x (m, k) b [+ bias (n)] [+ y]); x and y are dense. b is stored as (n, k), or as (k, n) if `by_rows`, in
/// rows of `b_row` elements.
typedef struct {
  int64_t m, n, k, b_row;
  bool by_rows;    ///< only for KK_F32 and at most KK_MOST_PRODUCT_ROWS rows of x
  kk_dtype type;    ///< of x and b; KK_F32 or KK_BF16
  kk_dtype output;  ///< of y; KK_F32 or KK_BF16
  bool accumulate;  ///< y is added
  kk_activation activation;
} kk_row_product;

enum { KK_MOST_PRODUCT_ROWS = 4 };

/// Reads b once, whatever m is, and sums in f32. `bias` may be NULL. `scratch` has kk_row_product_scratch bytes.
void kk_row_product_run(
    const kk_row_product *product, const void *x, const void *b, const float *bias, void *y, void *scratch);

int64_t kk_row_product_scratch(const kk_row_product *product);

#ifdef __cplusplus
}
#endif
