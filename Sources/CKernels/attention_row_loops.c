// Loops over keys for one query, for every processor, and the choice of loops.
#define TARGET
#define FUNCTION KK_CLONES static
#include "attention_row_loops.h"

void kk_row_scores(
    float *s, const float *q, const void *k, kk_dtype type, int64_t k_row, long rows, long n, float scale) {
  (kk_has_wide_registers() ? kk_row_scores_wide : row_scores)(s, q, k, type, k_row, rows, n, scale);
}

void kk_row_mix(
    float *y, const float *p, const void *v, kk_dtype type, int64_t v_row, long rows, long n) {
  (kk_has_wide_registers() ? kk_row_mix_wide : row_mix)(y, p, v, type, v_row, rows, n);
}
