// The product of few rows with a matrix, read once at the memory's speed: what decoding does with the weights of layers.
#pragma once
#include "activation.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// How b (k, n) lies in memory. But for KK_B_TRANSPOSED, x has at most KK_MOST_PRODUCT_ROWS rows.
typedef enum : int32_t {
  KK_B_TRANSPOSED,  ///< (n, k), in rows of `b_row` elements
  KK_B_BY_ROWS,     ///< (k, n), in rows of `b_row` elements; only KK_F32
  /// (n / KK_PRODUCT_PANEL, k / 2, KK_PRODUCT_PANEL, 2), zeros beyond b, and from one panel to the next `b_row`
  /// elements; only KK_BF16, and where kk_has_pair_products
  KK_B_PANELS,
} kk_row_product_form;

/// y (m, n) = act(x (m, k) b [+ bias (n)] [+ y]); x and y are dense.
typedef struct {
  int64_t m, n, k, b_row;
  kk_row_product_form form;
  kk_dtype type;    ///< of x and b; KK_F32 or KK_BF16
  kk_dtype output;  ///< of y; KK_F32 or KK_BF16
  bool accumulate;  ///< y is added
  kk_activation activation;
} kk_row_product;

enum { KK_MOST_PRODUCT_ROWS = 4, KK_PRODUCT_PANEL = 64 };

/// Reads b once, whatever m is, and sums in f32. `bias` may be NULL. `scratch` has kk_row_product_scratch bytes, which
/// depend on kk_threads().
void kk_row_product_run(
    const kk_row_product *product, const void *x, const void *b, const float *bias, void *y, void *scratch);

int64_t kk_row_product_scratch(const kk_row_product *product);

#ifdef __cplusplus
}
#endif
