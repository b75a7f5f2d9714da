// Private: the inner loops of attention. Scores lie transposed, (keys, queries) in rows of KK_QUERY_BLOCK
// numbers: a vector lane is a query, and maxima and sums over keys need no exchange between lanes.
#pragma once
#include "common.h"

enum { KK_QUERY_BLOCK = 64, KK_KEY_BLOCK = 64, KK_LANES = 16 };

/// c (m, n) = [c +] a b with a(i, l) at a[i * a_row + l * a_step] and b(l, j) at b[l * b_row + j]; n is a
/// multiple of 16. `a` is read number by number, so any strides will do; b and c by rows.
typedef struct {
  long m, n, depth;
  const float *a, *b;
  float *c;
  int64_t a_row, a_step, b_row, c_row;
  bool add;
} kk_product;
void kk_lanes_multiply(const kk_product *product);

/// One step of the online softmax (arXiv 2205.14135, algorithm 1): s (keys, n) becomes exp(s - top), top and
/// sum (n) are brought up to date, and `fade` (n) is the factor for what was summed before. Returns whether any
/// is not 1.
bool kk_lanes_softmax(float *s, long keys, long n, float *top, float *sum, float *fade);

/// s = exp(s - log_sum), the probabilities, and dp = s (dp - dot), the gradient of the scores; both (keys, n).
void kk_lanes_softmax_gradient(
    float *s, float *dp, long keys, long n, const float *log_sum, const float *dot);

/// x (rows, n) *= factor (n).
void kk_lanes_scale(float *x, long rows, long n, const float *factor);

/// x (rows, n) += y (rows, n), in rows of KK_QUERY_BLOCK.
void kk_lanes_add(float *x, long rows, long n, const float *y);

/// Scores of one query: s[i] = scale sum_j q_j k(i, j), k (rows, n) of f32 or bf16 in rows of `k_row`.
void kk_row_scores(
    float *s, const float *q, const void *k, kk_dtype type, int64_t k_row, long rows, long n, float scale);

/// y_j += sum_i p_i v(i, j), v (rows, n) of f32 or bf16 in rows of `v_row`.
void kk_row_mix(float *y, const float *p, const void *v, kk_dtype type, int64_t v_row, long rows, long n);
