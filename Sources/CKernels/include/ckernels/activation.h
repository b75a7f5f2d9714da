// Functions that a product applies to its sums.
#pragma once
#include "types.h"

typedef enum : int32_t {
  KK_IDENTITY = 0,
  KK_RELU = 1,
  KK_SILU = 2,
  KK_GELU_ERF = 3,
  KK_GELU_TANH = 4,
} kk_activation;
