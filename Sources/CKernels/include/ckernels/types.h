// Element types and limits shared by all kernels.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { KK_MAX_DIMS = 8 };

/// Storage types. Two are no storage, for elementwise operands only: `KK_IOTA` has the value sum_d index_d
/// strides_d; `KK_KEEP` has element number sum_d index_d strides_d of the `kk_keep` that its data points to.
typedef enum : int32_t {
  KK_F32 = 0,
  KK_BF16 = 1,
  KK_F16 = 2,
  KK_I32 = 3,
  KK_I64 = 4,
  KK_U8 = 5,
  KK_BOOL = 6,
  KK_IOTA = 7,
  KK_KEEP = 8,
} kk_dtype;

/// Bytes of one element; 0 for what is no storage.
size_t kk_dtype_size(kk_dtype type);

#ifdef __cplusplus
}
#endif
