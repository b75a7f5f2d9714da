// Private: activations for results that are rounded to bfloat16, whose last place is 2^-8; a template. NUMBER is float or a
// vector of floats, EXP2(T) is 2^T within 2^-13 for |T| <= 126 and finite beyond, RECIPROCAL(X) is 1 / X within 2^-13, and
// TARGET what they are compiled for.
#pragma once
#include "mathf.h"

#ifndef NUMBER
#define NUMBER float
#define EXP2(T) kk_coarse_exp2f(T)
#define RECIPROCAL(X) (1.0f / (X))
#define TARGET
#endif

// x s(u) with the logistic function s = 1 / (1 + e), e = exp(-u) = 2^t.
KK_INLINE TARGET NUMBER coarse_gated(NUMBER x, NUMBER t) { return x * RECIPROCAL(1.0f + EXP2(t)); }

// Its slope s + x u' s (1 - s), where 1 - s = e s.
KK_INLINE TARGET NUMBER coarse_gated_slope(NUMBER x, NUMBER t, NUMBER u_slope) {
  KK_CONTRACT
  NUMBER e = EXP2(t), s = RECIPROCAL(1.0f + e);
  return s * (x * (e * s) * u_slope + 1.0f);
}

KK_INLINE TARGET NUMBER coarse_silu(NUMBER x) { return coarse_gated(x, x * -KK_LOG2_E); }
KK_INLINE TARGET NUMBER coarse_silu_slope(NUMBER x) {
  return coarse_gated_slope(x, x * -KK_LOG2_E, (NUMBER)1.0f);
}

// -u / ln 2 of the tanh form: x (sqrt(8 / pi) + 0.0713548 x^2)
#define COARSE_GELU_TANH_EXPONENT(X, S) ((X) * (-1.0294324e-01f * (S) - 2.3022082e+00f))

KK_INLINE TARGET NUMBER coarse_gelu_tanh(NUMBER x) {
  KK_CONTRACT
  return coarse_gated(x, COARSE_GELU_TANH_EXPONENT(x, x * x));
}

KK_INLINE TARGET NUMBER coarse_gelu_tanh_slope(NUMBER x) {
  KK_CONTRACT
  NUMBER s = x * x;
  return coarse_gated_slope(x, COARSE_GELU_TANH_EXPONENT(x, s), 0.214064449f * s + 1.595769122f);
}

// Phi is the logistic function of u = x P(x^2), here with a P that leaves gelu within 7e-4 of itself down to 1e-5.
#define COARSE_GELU_ERF_EXPONENT(X, S)                                                                       \
  ((X) * ((((-4.6060077e-07f * (S) + 7.8964317e-06f) * (S) + 1.1167128e-03f) * (S) - 1.0780233e-01f) * (S) -  \
          2.2997444e+00f))
#define COARSE_GELU_ERF_SLOPE(S)                                                                             \
  ((((2.8733771e-06f * (S) - 3.8313725e-05f) * (S) - 3.8702316e-03f) * (S) + 2.2416864e-01f) * (S) + 1.5940614e+00f)

// x^2 as far as P is good.
KK_INLINE TARGET NUMBER coarse_gelu_square(NUMBER x) {
  NUMBER s = x * x;
  return s > (NUMBER)36.0f ? (NUMBER)36.0f : s;
}

KK_INLINE TARGET NUMBER coarse_gelu_erf(NUMBER x) {
  KK_CONTRACT
  NUMBER s = coarse_gelu_square(x);
  return coarse_gated(x, COARSE_GELU_ERF_EXPONENT(x, s));
}

KK_INLINE TARGET NUMBER coarse_gelu_erf_slope(NUMBER x) {
  KK_CONTRACT
  NUMBER s = coarse_gelu_square(x);
  return coarse_gated_slope(x, COARSE_GELU_ERF_EXPONENT(x, s), COARSE_GELU_ERF_SLOPE(s));
}

/// The activations of bf16, of x, and their gradients, of x and g.
#define COARSE_ACTIVATIONS(CASE)                                                                             \
  CASE(KK_OP_SILU, coarse_silu(x))                                                                           \
  CASE(KK_OP_GELU_ERF, coarse_gelu_erf(x))                                                                   \
  CASE(KK_OP_GELU_TANH, coarse_gelu_tanh(x))                                                                 \
  CASE(KK_OP_SILU_GRAD, g * coarse_silu_slope(x))                                                            \
  CASE(KK_OP_GELU_ERF_GRAD, g * coarse_gelu_erf_slope(x))                                                    \
  CASE(KK_OP_GELU_TANH_GRAD, g * coarse_gelu_tanh_slope(x))
