// Vectorisable float32 mathematics: no branch, no table, no call. Coefficients are minimax fits made for
// these ranges; the relative error of each function is within 2 units in the last place (erf, tanh: 3).
#pragma once
#include "common.h"

#define KK_LOG2_E 1.442695041f
#define KK_LN_2 0.693147181f
// ln 2 = high - low; the high part has 9 bits.
#define KK_LN2_HIGH 0.693359375f
#define KK_LN2_LOW 2.12194440e-4f
// 1.5 2^23: adding it rounds to an integer, which its last bits then hold.
#define KK_ROUNDER 12582912.0f
#define KK_ROUNDER_BITS 0x4b400000u

KK_INLINE float kk_pow2i(int32_t k) { return kk_bits_f32((uint32_t)(k + 127) << 23); }

// Nearest integer by the 1.5 2^23 trick: |t| < 2^22. Works on machines without a rounding instruction.
KK_INLINE float kk_nearest(float t, int32_t *k) {
  float shifted = t + KK_ROUNDER;
  *k = (int32_t)(kk_f32_bits(shifted) - KK_ROUNDER_BITS);
  return shifted - KK_ROUNDER;
}

// exp(r) - 1 for |r| <= ln 2 / 2, for numbers and vectors of numbers.
#define KK_EXPM1_NEAR_ZERO(R)                                                                                \
  ((R) + (R) * (R) *                                                                                         \
             ((((1.381446724e-3f * (R) + 8.368780836e-3f) * (R) + 4.166839272e-2f) * (R) + 1.666651964e-1f) *  \
                     (R) +                                                                                   \
                 4.999999404e-1f))

// x = k ln 2 + r, |r| <= ln 2 / 2; returns exp(r) - 1.
KK_INLINE float kk_exp_parts(float x, int32_t *k) {
  KK_CONTRACT
  float t = kk_nearest(x * KK_LOG2_E, k);
  float r = x - t * KK_LN2_HIGH;
  r = r + t * KK_LN2_LOW;
  return KK_EXPM1_NEAR_ZERO(r);
}

KK_INLINE float kk_clamp(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

KK_INLINE float kk_expf(float x) {
  int32_t k;
  float p = kk_exp_parts(kk_clamp(x, -105.0f, 89.5f), &k) + 1.0f;
  // Two factors, so that results below 2^-126 and above 2^127 come out right.
  int32_t half = k >> 1;
  return p * kk_pow2i(half) * kk_pow2i(k - half);
}

// exp of x <= 0 (or a little above) for normalised results: below 2^-126 it fades to 0.
KK_INLINE float kk_exp_of_negative(float x) {
  int32_t k;
  float p = kk_exp_parts(x < -88.0f ? -88.0f : x, &k) + 1.0f;
  return p * kk_pow2i(k);
}

// 2^r for |r| <= 1/2, for numbers and vectors of numbers; 1 at 0.
#define KK_EXP2_NEAR_ZERO(R)                                                                                 \
  ((((((1.326472731e-3f * (R) + 9.671512991e-3f) * (R) + 5.550733581e-2f) * (R) + 2.402224243e-1f) * (R) +  \
        6.931470037e-1f) *                                                                                   \
       (R)) +                                                                                                \
   1.0f)

KK_INLINE float kk_expm1f(float x) {
  KK_CONTRACT
  int32_t k;
  float p = kk_exp_parts(kk_clamp(x, -20.0f, 89.5f), &k);
  int32_t half = k >> 1;
  float a = kk_pow2i(half), b = kk_pow2i(k - half);
  float y = (p * a + (a - kk_pow2i(half - k))) * b;
  return k == 0 ? p : y;
}

KK_INLINE float kk_logf(float x) {
  KK_CONTRACT
  bool tiny = x < 1.17549435e-38f;
  uint32_t bits = kk_f32_bits(tiny ? x * 8388608.0f : x);
  // Mantissa in [2/3, 4/3).
  int32_t k = (int32_t)(bits - 0x3f2aaaabu) >> 23;
  float f = kk_bits_f32(bits - ((uint32_t)k << 23)) - 1.0f;
  float e = (float)k - (tiny ? 23.0f : 0.0f);
  float q = -1.289167851e-1f;
  q = q * f + 1.398444027e-1f;
  q = q * f - 1.218426228e-1f;
  q = q * f + 1.400586814e-1f;
  q = q * f - 1.668048799e-1f;
  q = q * f + 2.001040578e-1f;
  q = q * f - 2.499979734e-1f;
  q = q * f + 3.333321512e-1f;
  float s = f * f;
  float y = e * -KK_LN2_LOW + s * (f * q - 0.5f);
  y = e * KK_LN2_HIGH + (f + y);
  y = x > 0.0f ? y : (x == 0.0f ? -INFINITY : NAN);
  // +inf and NaN pass through.
  return (bits & 0x7fffffffu) >= 0x7f800000u ? (x > 0.0f || x != x ? x : NAN) : y;
}

KK_INLINE float kk_log1pf(float x) {
  float u = 1.0f + x;
  // What 1 + x rounded away, to first order.
  float lost = x - (u - 1.0f);
  float y = kk_logf(u) + lost / u;
  y = u == 1.0f ? x : y;
  y = u == INFINITY ? INFINITY : y;
  return u == 0.0f ? -INFINITY : y;
}

KK_INLINE float kk_tanhf(float x) {
  float a = __builtin_fabsf(x);
  float e = kk_expm1f(2.0f * (a > 10.0f ? 10.0f : a));
  float y = e / (e + 2.0f);
  return __builtin_copysignf(y, x);
}

KK_INLINE float kk_sigmoidf(float x) {
  float e = kk_exp_of_negative(-__builtin_fabsf(x));
  float s = 1.0f / (1.0f + e);
  return x < 0.0f ? e * s : s;
}

KK_INLINE float kk_erff(float x) {
  KK_CONTRACT
  float a = __builtin_fabsf(x), s = x * x;
  float p = 7.889122935e-5f;
  p = p * s - 8.020842215e-4f;
  p = p * s + 5.189535674e-3f;
  p = p * s - 2.685444430e-2f;
  p = p * s + 1.128360033e-1f;
  p = p * s - 3.761262596e-1f;
  p = p * s + 1.283791661e-1f;
  // erfc(t) = exp(t Q(t)) for t in [0.9, 4]; from 4 on erf rounds to 1.
  float t = a > 4.0f ? 4.0f : a;
  float q = -1.043291650e-5f;
  q = q * t + 3.148562391e-4f;
  q = q * t - 3.610334825e-3f;
  q = q * t + 2.369455248e-2f;
  q = q * t - 1.061590314e-1f;
  q = q * t - 6.351980567e-1f;
  q = q * t - 1.128637075e+0f;
  float large = __builtin_copysignf(1.0f - kk_expf(q * t), x);
  float small = x + x * p;
  return a > 0.95f ? large : small;
}

// Largest |x| of kk_sinf and kk_cosf; callers hand larger ones to the C library.
#define KK_TRIG_LIMIT 10000.0f

KK_INLINE float kk_sin_quadrant(float x, int32_t shift) {
  KK_CONTRACT
  int32_t k;
  float t = kk_nearest(x * 0.636619772f, &k);
  // pi/2 in three parts; t (13 bits) times the first two (11 bits at most) is exact.
  float r = x - t * 1.5703125f;
  r = r - t * 4.83751296997070312e-4f;
  r = r - t * 7.5497899548918821e-8f;
  float s = r * r;
  float sine = r + r * s * (s * (s * -1.951665618e-4f + 8.332173340e-3f) - 1.666665524e-1f);
  float cosine = (1.0f - 0.5f * s) + s * s * (s * (s * 2.443772973e-5f - 1.388736186e-3f) + 4.166664556e-2f);
  k += shift;
  float y = k & 1 ? cosine : sine;
  return k & 2 ? -y : y;
}

KK_INLINE float kk_sinf(float x) { return kk_sin_quadrant(x, 0); }
KK_INLINE float kk_cosf(float x) { return kk_sin_quadrant(x, 1); }

// exp(x) for |x| <= 87, and of the nearer end beyond: 2^k goes straight into the exponent.
KK_INLINE float kk_exp_within(float x) {
  KK_CONTRACT
  float z = kk_clamp(x, -87.0f, 87.0f);
  float shifted = z * KK_LOG2_E + KK_ROUNDER;
  float t = shifted - KK_ROUNDER;
  float r = z - t * KK_LN2_HIGH;
  r = r + t * KK_LN2_LOW;
  float p = 1.0f + KK_EXPM1_NEAR_ZERO(r);
  return kk_bits_f32(kk_f32_bits(p) + (kk_f32_bits(shifted) << 23));
}

// x s(x), s the logistic function
KK_INLINE float kk_siluf(float x) { return x * (1.0f / (1.0f + kk_exp_within(-x))); }

// s + x s (1 - s), where 1 - s = e s without cancellation
KK_INLINE float kk_silu_slope(float x) {
  KK_CONTRACT
  float e = kk_exp_within(-x), s = 1.0f / (1.0f + e);
  return s * (x * (e * s) + 1.0f);
}

KK_INLINE float kk_gelu_erff(float x) { return 0.5f * x * (1.0f + kk_erff(x * 0.707106781f)); }

// Phi(x) + x phi(x)
KK_INLINE float kk_gelu_erf_slope(float x) {
  float density = 0.398942280f * kk_expf(-0.5f * x * x);
  return 0.5f * (1.0f + kk_erff(x * 0.707106781f)) + x * density;
}

// (1 + tanh u) / 2 = s(2 u),   2 u = x (sqrt(8 / pi) + 0.0713548 x^2)
KK_INLINE float kk_gelu_tanhf(float x) {
  KK_CONTRACT
  float u = x * (0.0713548163f * (x * x) + 1.595769122f);
  return x * (1.0f / (1.0f + kk_exp_within(-u)));
}

KK_INLINE float kk_gelu_tanh_slope(float x) {
  KK_CONTRACT
  float square = x * x, u = x * (0.0713548163f * square + 1.595769122f);
  float e = kk_exp_within(-u), s = 1.0f / (1.0f + e);
  return s * (x * (e * s) * (0.214064449f * square + 1.595769122f) + 1.0f);
}

// For results that are rounded to bfloat16, whose last place is 2^-8: 2^t within 2^-13 for |t| <= 126, and of the nearer
// end beyond.
KK_INLINE float kk_coarse_exp2f(float t) {
  KK_CONTRACT
  float z = kk_clamp(t, -126.0f, 126.0f), shifted = z + KK_ROUNDER;
  float r = z - (shifted - KK_ROUNDER);
  float p = ((5.517166987e-2f * r + 2.426111290e-1f) * r + 6.932609859e-1f) * r + 9.999280731e-1f;
  return kk_bits_f32(kk_f32_bits(p) + (kk_f32_bits(shifted) << 23));
}
