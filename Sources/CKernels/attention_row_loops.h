// Private: loops over keys for one query (attention_rows.c); a template. TARGET is for functions that are inlined, FUNCTION
// for those that are not.
#include "attention_loops.h"

typedef uint16_t halves __attribute__((ext_vector_type(16), aligned(2)));

#define WIDENED(P) __builtin_convertvector(*(const halves *)(P), kk_lane_bits)

// 16 numbers of a type; `type` is a constant.
#define LOAD_TYPED(P, TYPE, AT)                                                                              \
  ((TYPE) == KK_F32                                                                                          \
          ? KK_LOAD((const float *)(P) + (AT))                                                               \
          : (kk_lanes)(WIDENED((const uint16_t *)(P) + (AT)) << 16))

KK_INLINE TARGET float number(const void *p, kk_dtype type, long at) {
  return type == KK_F32 ? ((const float *)p)[at] : kk_from_bf16(((const uint16_t *)p)[at]);
}

// R rows at a time share the loads of q.
#define SCORES(R)                                                                                            \
  for (; i + R <= rows; i += R) {                                                                            \
    kk_lanes sum[R] = {0};                                                                                   \
    long j = 0;                                                                                              \
    for (; j + KK_LANES <= n; j += KK_LANES) {                                                               \
      kk_lanes x = KK_LOAD(q + j);                                                                           \
      _Pragma("unroll") for (int r = 0; r < R; r++) sum[r] += x * LOAD_TYPED(k, type, (i + r) * k_row + j);  \
    }                                                                                                        \
    _Pragma("unroll") for (int r = 0; r < R; r++) {                                                          \
      float rest = 0;                                                                                        \
      for (long l = j; l < n; l++) rest += q[l] * number(k, type, (i + r) * k_row + l);                      \
      s[i + r] = scale * (kk_sum_of(&sum[r]) + rest);                                                        \
    }                                                                                                        \
  }

KK_INLINE TARGET void scores(
    float *s, const float *q, const void *k, const kk_dtype type, int64_t k_row, long rows, long n,
    float scale) {
  KK_CONTRACT
  long i = 0;
  SCORES(4)
  SCORES(1)
}

FUNCTION void row_scores(
    float *s, const float *q, const void *k, kk_dtype type, int64_t k_row, long rows, long n, float scale) {
  if (type == KK_F32) scores(s, q, k, KK_F32, k_row, rows, n, scale);
  else scores(s, q, k, KK_BF16, k_row, rows, n, scale);
}

// V vectors of sums in registers over all rows.
#define MIX(V)                                                                                               \
  for (; j + 16 * V <= n; j += 16 * V) {                                                                     \
    kk_lanes sum[V];                                                                                         \
    _Pragma("unroll") for (int v = 0; v < V; v++) sum[v] = KK_LOAD(y + j + 16 * v);                          \
    for (long i = 0; i < rows; i++)                                                                          \
      _Pragma("unroll") for (int v = 0; v < V; v++)                                                          \
          sum[v] += p[i] * LOAD_TYPED(x, type, i * row + j + 16 * v);                                        \
    _Pragma("unroll") for (int v = 0; v < V; v++) KK_STORE(y + j + 16 * v, sum[v]);                          \
  }

KK_INLINE TARGET void mix(float *y, const float *p, const void *x, kk_dtype type, int64_t row, long rows, long n) {
  KK_CONTRACT
  long j = 0;
  MIX(4)
  MIX(1)
  for (; j < n; j++)
    for (long i = 0; i < rows; i++) y[j] += p[i] * number(x, type, i * row + j);
}

FUNCTION void row_mix(
    float *y, const float *p, const void *v, kk_dtype type, int64_t v_row, long rows, long n) {
  if (type == KK_F32) mix(y, p, v, KK_F32, v_row, rows, n);
  else mix(y, p, v, KK_BF16, v_row, rows, n);
}
