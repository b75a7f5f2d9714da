// Private to the kernels: dispatch, small conversions, failure.
#pragma once
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ckernels/parallel.h"
#include "ckernels/types.h"

// One clone per x86-64 level, chosen at load time. Clones cannot inline each other: hot loops live in one
// KK_CLONES function whose helpers are KK_INLINE. (clang 21 crashes if a clone shares its name with a struct
// tag.) -DKK_BASELINE builds only what every machine can run, to test it.
#if defined(__x86_64__) && defined(__linux__) && !defined(KK_BASELINE)
#define KK_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define KK_CLONES
#endif
#define KK_INLINE static inline __attribute__((always_inline, unused))

// The loop's iterations are independent although its pointers may be equal (in place).
#define KK_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
// Sums may be split over vector lanes. Goes first in a block.
#define KK_REASSOCIATE _Pragma("clang fp reassociate(on) contract(fast)")
#define KK_CONTRACT _Pragma("clang fp contract(fast)")

/// Prints `kernel: message` to stderr and aborts: a caller broke a documented precondition.
_Noreturn void kk_fail(const char *kernel, const char *message);

KK_INLINE long kk_min(long a, long b) { return a < b ? a : b; }
KK_INLINE long kk_max(long a, long b) { return a > b ? a : b; }
KK_INLINE long kk_ceil_div(long a, long b) { return (a + b - 1) / b; }

KK_INLINE float kk_bits_f32(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

KK_INLINE uint32_t kk_f32_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

KK_INLINE float kk_from_bf16(uint16_t h) { return kk_bits_f32((uint32_t)h << 16); }

// Bits of an f32, or of a vector of them, whose upper half is the nearest bf16, ties to even. A NaN that ends in 16 zero
// bits, or is the processor's own, stays one.
#define KK_NEAREST_BF16(BITS) ((BITS) + 0x7fffu + (((BITS) >> 16) & 1u))

// Round to nearest even; every NaN becomes the quiet one.
KK_INLINE uint16_t kk_to_bf16(float f) {
  uint32_t u = kk_f32_bits(f);
  uint32_t rounded = KK_NEAREST_BF16(u) >> 16;
  return (uint16_t)(f != f ? 0x7fc0u : rounded);
}

// The same in less time for what ends in 16 zero bits if it is a NaN, as what comes from bf16 does; ties go away from 0.
KK_INLINE uint16_t kk_round_bf16(float f) { return (uint16_t)((kk_f32_bits(f) + 0x8000u) >> 16); }

KK_INLINE bool kk_is_integer(kk_dtype t) { return t >= KK_I32; }

// convert.c: n elements at `stride` (in elements) to and from dense f32 or i64 registers.
void kk_load_f32(float *dst, const void *src, kk_dtype type, long n, int64_t stride);
// n elements of each of `rows` rows, `pitch` elements apart, one after the other.
void kk_load_pitched_f32(float *dst, const void *src, kk_dtype type, long rows, int64_t pitch, long n);
void kk_store_f32(void *dst, kk_dtype type, int64_t stride, const float *src, long n);
void kk_load_i64(int64_t *dst, const void *src, kk_dtype type, long n, int64_t stride);
void kk_store_i64(void *dst, kk_dtype type, int64_t stride, const int64_t *src, long n);

KK_INLINE const void *kk_at(const void *p, kk_dtype type, int64_t offset) {
  return (const char *)p + offset * (int64_t)kk_dtype_size(type);
}

// Whether the activation type of a float kernel is one of the two it is compiled for.
KK_INLINE void kk_require_f32_or_bf16(const char *kernel, kk_dtype type) {
  if (type != KK_F32 && type != KK_BF16) kk_fail(kernel, "activations must be f32 or bf16");
}
