// Between storage types and the f32 or i64 registers of the kernels.
#include "common.h"

size_t kk_dtype_size(kk_dtype type) {
  switch (type) {
    case KK_F32: case KK_I32: return 4;
    case KK_BF16: case KK_F16: return 2;
    case KK_I64: return 8;
    case KK_U8: case KK_BOOL: return 1;
    case KK_IOTA: case KK_KEEP: return 0;
  }
  kk_fail("kk_dtype_size", "unknown dtype");
}

// Float to integer: truncation, saturated; NaN becomes 0.
KK_INLINE float saturate(float x, float low, float high) {
  x = x < low ? low : x;
  x = x > high ? high : x;
  return x == x ? x : 0.0f;
}

KK_INLINE int64_t to_i64(float x) {
  bool top = x >= 9223372036854775808.0f;
  int64_t v = (int64_t)saturate(x, -9223372036854775808.0f, 9223371487098961920.0f);
  return top ? INT64_MAX : v;
}

KK_INLINE int32_t to_i32(float x) {
  bool top = x >= 2147483648.0f;
  int32_t v = (int32_t)saturate(x, -2147483648.0f, 2147483520.0f);
  return top ? INT32_MAX : v;
}

// The contiguous loop is separate, because only a constant stride of 1 vectorises well.
#define LOAD(T, EXPRESSION)                                                                                  \
  {                                                                                                          \
    const T *s = src;                                                                                        \
    if (stride == 1) {                                                                                       \
      KK_INDEPENDENT for (long i = 0; i < n; i++) {                                                          \
        T x = s[i];                                                                                          \
        dst[i] = (EXPRESSION);                                                                               \
      }                                                                                                      \
    } else if (stride == 0) {                                                                                \
      T x = s[0];                                                                                            \
      for (long i = 0; i < n; i++) dst[i] = (EXPRESSION);                                                    \
    } else {                                                                                                 \
      KK_INDEPENDENT for (long i = 0; i < n; i++) {                                                          \
        T x = s[i * stride];                                                                                 \
        dst[i] = (EXPRESSION);                                                                               \
      }                                                                                                      \
    }                                                                                                        \
    return;                                                                                                  \
  }

#define STORE(T, EXPRESSION)                                                                                 \
  {                                                                                                          \
    T *d = dst;                                                                                              \
    if (stride == 1) {                                                                                       \
      KK_INDEPENDENT for (long i = 0; i < n; i++) d[i] = (EXPRESSION);                                       \
    } else {                                                                                                 \
      for (long i = 0; i < n; i++) d[i * stride] = (EXPRESSION);                                             \
    }                                                                                                        \
    return;                                                                                                  \
  }

KK_CLONES void kk_load_f32(float *dst, const void *src, kk_dtype type, long n, int64_t stride) {
  switch (type) {
    case KK_F32: LOAD(float, x)
    case KK_BF16: LOAD(uint16_t, kk_from_bf16(x))
    case KK_F16: LOAD(_Float16, (float)x)
    case KK_I32: LOAD(int32_t, (float)x)
    case KK_I64: LOAD(int64_t, (float)x)
    case KK_U8: LOAD(uint8_t, (float)x)
    case KK_BOOL: LOAD(uint8_t, x ? 1.0f : 0.0f)
    case KK_IOTA: case KK_KEEP: break;
  }
  kk_fail("kk_load_f32", "unknown dtype");
}

// Rows are often shorter than what the compiler would unroll, and too far apart for the processor to look ahead.
#define LOAD_ROWS(T, EXPRESSION)                                                                             \
  for (long r = 0; r < rows; r++, dst += n) {                                                                \
    const T *s = (const T *)src + r * pitch;                                                                 \
    for (const T *ahead = s + AHEAD * pitch, *end = ahead + n; ahead < end; ahead += 64 / sizeof(T))         \
      __builtin_prefetch(ahead);                                                                             \
    _Pragma("clang loop vectorize(assume_safety) interleave_count(1)") for (long i = 0; i < n; i++) {        \
      T x = s[i];                                                                                            \
      dst[i] = (EXPRESSION);                                                                                 \
    }                                                                                                        \
  }                                                                                                          \
  return;

enum { AHEAD = 16 };  // rows

KK_CLONES void kk_load_pitched_f32(float *dst, const void *src, kk_dtype type, long rows, int64_t pitch, long n) {
  if (type == KK_F32) { LOAD_ROWS(float, x) }
  if (type == KK_BF16) { LOAD_ROWS(uint16_t, kk_from_bf16(x)) }
  for (long r = 0; r < rows; r++) kk_load_f32(dst + r * n, kk_at(src, type, r * pitch), type, n, 1);
}

KK_CLONES void kk_store_f32(void *dst, kk_dtype type, int64_t stride, const float *src, long n) {
  switch (type) {
    case KK_F32: STORE(float, src[i])
    case KK_BF16: STORE(uint16_t, kk_to_bf16(src[i]))
    case KK_F16: STORE(_Float16, (_Float16)src[i])
    case KK_I32: STORE(int32_t, to_i32(src[i]))
    case KK_I64: STORE(int64_t, to_i64(src[i]))
    case KK_U8: STORE(uint8_t, (uint8_t)(int32_t)saturate(src[i], 0.0f, 255.0f))
    case KK_BOOL: STORE(uint8_t, src[i] != 0.0f)
    case KK_IOTA: case KK_KEEP: break;
  }
  kk_fail("kk_store_f32", "unknown dtype");
}

KK_CLONES void kk_load_i64(int64_t *dst, const void *src, kk_dtype type, long n, int64_t stride) {
  switch (type) {
    case KK_F32: LOAD(float, to_i64(x))
    case KK_BF16: LOAD(uint16_t, to_i64(kk_from_bf16(x)))
    case KK_F16: LOAD(_Float16, to_i64((float)x))
    case KK_I32: LOAD(int32_t, x)
    case KK_I64: LOAD(int64_t, x)
    case KK_U8: LOAD(uint8_t, x)
    case KK_BOOL: LOAD(uint8_t, x != 0)
    case KK_IOTA: case KK_KEEP: break;
  }
  kk_fail("kk_load_i64", "unknown dtype");
}

KK_CLONES void kk_store_i64(void *dst, kk_dtype type, int64_t stride, const int64_t *src, long n) {
  switch (type) {
    case KK_F32: STORE(float, (float)src[i])
    case KK_BF16: STORE(uint16_t, kk_to_bf16((float)src[i]))
    case KK_F16: STORE(_Float16, (_Float16)(float)src[i])
    case KK_I32: STORE(int32_t, (int32_t)src[i])
    case KK_I64: STORE(int64_t, src[i])
    case KK_U8: STORE(uint8_t, (uint8_t)src[i])
    case KK_BOOL: STORE(uint8_t, src[i] != 0)
    case KK_IOTA: case KK_KEEP: break;
  }
  kk_fail("kk_store_i64", "unknown dtype");
}
