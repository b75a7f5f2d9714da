// The general matrix product, on processors with AVX-512.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum : int32_t {
  KK_IDENTITY = 0,
  KK_RELU = 1,
  KK_SILU = 2,
  KK_GELU_ERF = 3,
  KK_GELU_TANH = 4,
} kk_activation;

/// c (m, n) = act(a (m, k) b (k, n) + bias (n) + old c), summed in float32.
///
/// Strides are in elements. One stride of a and one of b is 1; rows of c are dense and distinct.
typedef struct {
  int64_t m, n, k;
  int64_t a_row, a_column;
  int64_t b_row, b_column;  ///< ignored if `packed`
  int64_t c_row;
  kk_dtype type;            ///< what is multiplied: KK_F32 or KK_BF16
  kk_dtype a_type, b_type;  ///< as stored: `type`, or KK_F32, which is rounded to it on the way
  kk_dtype output;          ///< KK_F32 or KK_BF16
  bool bias;                ///< float32
  bool accumulate;          ///< the old c is added, before the activation
  kk_activation activation; ///< applied last
  bool packed;              ///< b comes from kk_gemm_pack
} kk_gemm;

/// Whether this processor has the instructions for products of `type`.
bool kk_gemm_is_available(kk_dtype type);

/// Bytes of scratch memory, 64-byte aligned; they depend on kk_threads().
int64_t kk_gemm_scratch(const kk_gemm *gemm);

/// `bias` is read only if described. c overlaps neither a nor b. Results do not depend on the number of threads.
void kk_gemm_run(
    const kk_gemm *gemm, const void *a, const void *b, const float *bias, void *c, void *scratch);

/// Bytes of b as kk_gemm_pack arranges it.
int64_t kk_gemm_packed_bytes(const kk_gemm *gemm);

/// Arranges b, which lies as `gemm` describes, for runs with `packed` and the same n, k and type; `packed` is 64-byte aligned.
void kk_gemm_pack(const kk_gemm *gemm, const void *b, void *packed);

#ifdef __cplusplus
}
#endif
