// The loops of attention in bf16, two products and a sum in f32 at a time (AVX512_BF16). No compiler makes these
// instructions of plain loops.
#include "attention_loops.h"

#if defined(__x86_64__) && !defined(KK_BASELINE)
#include <immintrin.h>

#define WIDE
#define TARGET __attribute__((target("arch=x86-64-v4,avx512bf16"), min_vector_width(512)))
#define FUNCTION TARGET static
#define REGISTERS 4
#include "coarse_lanes.h"
#define EXP2(X) ((X)->all = coarse_exp2_of_numbers((X)->all))

#define UNIT_NUMBERS 2
#define MULTIPLY(SUM, X, Y)                                                                                  \
  (SUM) = (kk_lanes)_mm512_dpbf16_ps((__m512)(SUM), (__m512bh)(X), (__m512bh)(Y))

// 32 numbers of a row become the first half of where they lay, or 16 the first quarter of 32.
KK_INLINE TARGET void store_row(float *row, long at, const kk_lanes *x, const kk_lanes *y, bool both) {
  char *to = (char *)row + 2 * at;
  if (both) {
    __m512bh halves = _mm512_cvtne2ps_pbh((__m512)*y, (__m512)*x);
    memcpy(to, &halves, sizeof halves);
  } else {
    __m256bh halves = _mm512_cvtneps_pbh((__m512)*x);
    memcpy(to, &halves, sizeof halves);
  }
}

KK_INLINE TARGET void store_pairs(float *to, const kk_lanes *x, const kk_lanes *y) {
  const __m512i order = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2,
      17, 1, 16, 0);
  __m512i pairs = _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh((__m512)*y, (__m512)*x));
  memcpy(to, &pairs, sizeof pairs);
}

#define STORE_ROWS(P, AT, X, Y, BOTH) store_row(P, AT, &(X), &(Y), BOTH)
#define STORE_PAIRS(ROWS, AT, P, DS, SECOND, BOTH)                                                           \
  do {                                                                                                       \
    store_pairs((ROWS)[0] + (AT), &(P)[0][0], &(P)[1][0]);                                                   \
    store_pairs((ROWS)[1] + (AT), &(DS)[0][0], &(DS)[1][0]);                                                 \
    if (BOTH) {                                                                                              \
      store_pairs((ROWS)[0] + (AT) + 16, &(P)[0][1], &(P)[1][1]);                                            \
      store_pairs((ROWS)[1] + (AT) + 16, &(DS)[0][1], &(DS)[1][1]);                                          \
    }                                                                                                        \
  } while (0)
#define ROUND(Y, X) *(Y) = (halves)_mm512_cvtneps_pbh((__m512) * (X))
#include "attention_forms.h"
#include "attention_softmax.h"
#include "attention_tiles.h"

const kk_attention_loops *kk_attention_loops_bf16(void) {
  static const kk_attention_loops loops = KK_ATTENTION_LOOPS(true, multiply_wide);
  return kk_has_pair_products() ? &loops : NULL;
}
#else
const kk_attention_loops *kk_attention_loops_bf16(void) { return NULL; }
#endif
