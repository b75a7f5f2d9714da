// Private: coarse functions (coarse.h) of REGISTERS registers of 64 bytes at a time, by the instructions that AVX-512 has
// for them; a template. Operations on one register wait for each other, and what waits fills the processor's queues before
// enough other registers' are in them: alternating between eight takes a fifth to a quarter less time.
#pragma once
#include <immintrin.h>

#include "attention_loops.h"

typedef float numbers __attribute__((ext_vector_type(16 * REGISTERS)));
typedef union {
  numbers all;
  kk_lanes parts[REGISTERS];
} parted_numbers;

// 2^t within 2^-13; below 2^-126 it fades to 0, which it is at -infinity.
KK_INLINE TARGET numbers coarse_exp2_of_numbers(numbers t) {
  KK_CONTRACT
  parted_numbers x = {t}, y;
  _Pragma("unroll") for (int i = 0; i < REGISTERS; i++)
      y.parts[i] = (kk_lanes)_mm512_reduce_ps((__m512)x.parts[i], _MM_FROUND_TO_NEG_INF);
  y.all = ((7.802453e-2f * y.all + 2.2606715e-1f) * y.all + 6.9583353e-1f) * y.all + 9.9992522e-1f;
  _Pragma("unroll") for (int i = 0; i < REGISTERS; i++)
      y.parts[i] = (kk_lanes)_mm512_scalef_ps((__m512)y.parts[i], (__m512)x.parts[i]);
  return y.all;
}

// 1 / x within 2^-14. A division takes longer than all else in an activation.
KK_INLINE TARGET numbers coarse_reciprocal_of_numbers(numbers x) {
  parted_numbers y = {x};
  _Pragma("unroll") for (int i = 0; i < REGISTERS; i++)
      y.parts[i] = (kk_lanes)_mm512_rcp14_ps((__m512)y.parts[i]);
  return y.all;
}

// 1 / x within 2^-22, by a step of Newton's method: sums of many numbers show what the coarse one is off on average.
KK_INLINE TARGET numbers reciprocal_of_numbers(numbers x) {
  KK_CONTRACT
  const numbers y = coarse_reciprocal_of_numbers(x);
  return y * (2.0f - x * y);
}
