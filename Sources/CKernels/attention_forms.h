// Private: operands of attention in the forms that its products read (attention_loops.h).
#pragma once
#include "attention_loops.h"

/// Units of depth of n numbers.
KK_INLINE int64_t kk_units(int64_t n, bool pairs) { return pairs ? (n + 1) / 2 : n; }

/// Rows of units, `row` bytes apart.
typedef struct {
  const void *rows;
  int64_t row;
} kk_unit_rows;

/// x (count, n) by rows, `x_row` bytes apart: where it lies if it can be read there, else in `buffer` (count, n to whole
/// vectors).
kk_unit_rows kk_form_rows(
    const void *x, kk_dtype type, int64_t x_row, long count, long n, bool pairs, float *buffer);

/// y = x^T of x (count, units): panels of depth `units`, zeros in lanes from `count` on.
void kk_form_transposed(float *y, kk_unit_rows x, long count, long units);

/// y = x (count, n) paired: panels of depth kk_units(count), zeros from n and `count` on.
void kk_form_paired(
    float *y, const void *x, kk_dtype type, int64_t x_row, long count, long n, bool pairs);

/// y (count, n), `y_row` numbers apart, = factor x of f32 x in whole vectors; factor i is factors[i * step].
void kk_attention_store_rows(
    void *y, kk_dtype type, int64_t y_row, const float *x, long count, long n, const float *factors,
    long step);

/// dots[i] = sum_j x(i, j) y(i, j) of (count, n), rows `x_row` and `y_row` numbers apart.
void kk_rows_dot(
    float *dots, const void *x, int64_t x_row, const void *y, int64_t y_row, kk_dtype type, long count,
    long n);
