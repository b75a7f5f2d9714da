// Private: rows times rows of b, in f32; a template. TARGET is for functions that are inlined, FUNCTION for those that are
// not.
#include "attention_loops.h"
#include "row_product_job.h"

// Steps of k that share the sums' way to the cache: one by one takes half as long again.
enum { STEPS = 4 };

// sums[r] += x[r] b for n columns and STEPS rows of b. Asking for the next rows ahead of time costs 10 %.
#define ADD_ROWS(M)                                                                                          \
  KK_INLINE TARGET void add_rows_##M(                                                                        \
      float *sums, long sums_row, const float *x, long x_row, const float *b, long b_row, long n) {          \
    KK_CONTRACT                                                                                              \
    kk_lanes f[M][STEPS];                                                                                    \
    _Pragma("unroll") for (int r = 0; r < M; r++)                                                            \
        _Pragma("unroll") for (int s = 0; s < STEPS; s++) f[r][s] = (kk_lanes)x[r * x_row + s];              \
    long i = 0;                                                                                              \
    _Pragma("unroll(2)") for (; i + KK_LANES <= n; i += KK_LANES)                                            \
        _Pragma("unroll") for (int r = 0; r < M; r++) {                                                      \
      kk_lanes sum = KK_LOAD(sums + r * sums_row + i);                                                       \
      _Pragma("unroll") for (int s = 0; s < STEPS; s++) sum += f[r][s] * KK_LOAD(b + s * b_row + i);         \
      KK_STORE(sums + r * sums_row + i, sum);                                                                \
    }                                                                                                        \
    for (; i < n; i++)                                                                                       \
      _Pragma("unroll") for (int r = 0; r < M; r++)                                                          \
          _Pragma("unroll") for (int s = 0; s < STEPS; s++)                                                  \
              sums[r * sums_row + i] += x[r * x_row + s] * b[s * b_row + i];                                 \
  }
ADD_ROWS(1) ADD_ROWS(2) ADD_ROWS(3) ADD_ROWS(4)

FUNCTION void multiply_span(const kk_row_product_job *j, const kk_row_span *span) {
  const kk_row_product *p = j->product;
  const float *b = (const float *)j->b + span->first, *rows_of_x = j->x;
  const long count = span->count;
  float *sums = span->sums;
  long step = span->step;
  for (; step + STEPS <= span->last; step += STEPS) {
    const float *x = rows_of_x + step, *rows = b + step * p->b_row;
    switch (p->m) {
      case 1: add_rows_1(sums, p->n, x, p->k, rows, p->b_row, count); break;
      case 2: add_rows_2(sums, p->n, x, p->k, rows, p->b_row, count); break;
      case 3: add_rows_3(sums, p->n, x, p->k, rows, p->b_row, count); break;
      default: add_rows_4(sums, p->n, x, p->k, rows, p->b_row, count);
    }
  }
  for (; step < span->last; step++)
    for (long row = 0; row < p->m; row++)
      for (long i = 0; i < count; i++)
        sums[row * p->n + i] += rows_of_x[row * p->k + step] * b[step * p->b_row + i];
}
