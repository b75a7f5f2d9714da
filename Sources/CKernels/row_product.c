#include "ckernels/row_product.h"

#include "attention_loops.h"
#include "epilogue.h"
#include "row_product_job.h"

// Rows of b that stay in the cache for all rows of x, or columns; steps of k that share the sums' way to the cache.
enum { ROWS = 64, COLUMNS = 16, SPAN = 2048, STEPS = 4 };

typedef float lanes __attribute__((ext_vector_type(16), aligned(4)));
#define LOAD(P) (*(const lanes *)(P))

int64_t kk_row_product_scratch(const kk_row_product *p) {
  return p->form != KK_B_TRANSPOSED || p->type == KK_F32 ? 0 : p->m * p->k * (int64_t)sizeof(float);
}

void kk_row_product_store(const kk_row_product_job *j, long row, long first, float *sums, long count) {
  const kk_row_product *p = j->product;
  float old[ROWS];
  for (long done = 0; done < count; done += ROWS) {
    long n = kk_min(ROWS, count - done);
    void *y = (void *)kk_at(j->y, p->output, row * p->n + first + done);
    if (p->accumulate) kk_load_f32(old, y, p->output, n, 1);
    kk_finish_row(
        sums + done, n, j->bias ? j->bias + first + done : NULL, p->accumulate ? old : NULL, p->activation);
    kk_store_f32(y, p->output, 1, sums + done, n);
  }
}

static void multiply_columns(long begin, long end, int worker, void *context) {
  (void)worker;
  const kk_row_product_job *j = context;
  const kk_row_product *p = j->product;
  float sums[ROWS];
  for (long first = begin; first < end; first += ROWS) {
    long count = kk_min(ROWS, end - first);
    const void *b = kk_at(j->b, p->type, first * p->b_row);
    for (long row = 0; row < p->m; row++) {
      kk_row_scores(sums, (const float *)j->x + row * p->k, b, p->type, p->b_row, count, p->k, 1);
      kk_row_product_store(j, row, first, sums, count);
    }
  }
}

// sums[r] += x[r] b for n columns and STEPS rows of b. One row at a time takes half as long again: the sums then go
// through the cache as often as b; asking for the next rows ahead of time costs 10 %.
#define ADD_ROWS(M)                                                                                          \
  KK_INLINE void add_rows_##M(                                                                               \
      float (*sums)[SPAN], const float *x, long x_row, const float *b, long b_row, long n) {                 \
    KK_CONTRACT                                                                                              \
    const float *b1 = b + b_row, *b2 = b1 + b_row, *b3 = b2 + b_row;                                         \
    lanes f[M][STEPS];                                                                                       \
    _Pragma("unroll") for (int r = 0; r < M; r++)                                                            \
        _Pragma("unroll") for (int s = 0; s < STEPS; s++) f[r][s] = (lanes)x[r * x_row + s];                 \
    long i = 0;                                                                                              \
    for (; i + COLUMNS <= n; i += COLUMNS) {                                                                 \
      lanes a0 = LOAD(b + i), a1 = LOAD(b1 + i), a2 = LOAD(b2 + i), a3 = LOAD(b3 + i);                       \
      _Pragma("unroll") for (int r = 0; r < M; r++)                                                          \
          *(lanes *)(sums[r] + i) =                                                                          \
              LOAD(sums[r] + i) + f[r][0] * a0 + f[r][1] * a1 + f[r][2] * a2 + f[r][3] * a3;                 \
    }                                                                                                        \
    for (; i < n; i++)                                                                                       \
      _Pragma("unroll") for (int r = 0; r < M; r++) {                                                        \
        const float *t = x + r * x_row;                                                                      \
        sums[r][i] += t[0] * b[i] + t[1] * b1[i] + t[2] * b2[i] + t[3] * b3[i];                              \
      }                                                                                                      \
  }
ADD_ROWS(1) ADD_ROWS(2) ADD_ROWS(3) ADD_ROWS(4)

KK_CLONES static void multiply_span(const kk_row_product_job *j, long first, long count, float (*sums)[SPAN]) {
  const kk_row_product *p = j->product;
  const float *b = (const float *)j->b + first, *rows_of_x = j->x;
  long step = 0;
  for (; step + STEPS <= p->k; step += STEPS) {
    const float *x = rows_of_x + step, *rows = b + step * p->b_row;
    switch (p->m) {
      case 1: add_rows_1(sums, x, p->k, rows, p->b_row, count); break;
      case 2: add_rows_2(sums, x, p->k, rows, p->b_row, count); break;
      case 3: add_rows_3(sums, x, p->k, rows, p->b_row, count); break;
      default: add_rows_4(sums, x, p->k, rows, p->b_row, count);
    }
  }
  for (; step < p->k; step++)
    for (long row = 0; row < p->m; row++)
      for (long i = 0; i < count; i++) sums[row][i] += rows_of_x[row * p->k + step] * b[step * p->b_row + i];
}

static void multiply_rows(long begin, long end, int worker, void *context) {
  (void)worker;
  const kk_row_product_job *j = context;
  float sums[KK_MOST_PRODUCT_ROWS][SPAN];
  for (long first = begin; first < end; first += SPAN) {
    long count = kk_min(SPAN, end - first);
    for (long row = 0; row < j->product->m; row++) memset(sums[row], 0, (size_t)count * sizeof(float));
    multiply_span(j, first, count, sums);
    for (long row = 0; row < j->product->m; row++) kk_row_product_store(j, row, first, sums[row], count);
  }
}

void kk_row_product_run(
    const kk_row_product *p, const void *x, const void *b, const float *bias, void *y, void *scratch) {
  kk_require_f32_or_bf16("kk_row_product_run", p->type);
  kk_require_f32_or_bf16("kk_row_product_run", p->output);
  if (p->form != KK_B_TRANSPOSED && p->m > KK_MOST_PRODUCT_ROWS)
    kk_fail("kk_row_product_run", "products by rows or panels are for few rows");
  kk_row_product_job j = {p, x, b, bias, y};
  switch (p->form) {
    case KK_B_TRANSPOSED:
      if (p->type != KK_F32) {
        kk_load_f32(scratch, x, p->type, p->m * p->k, 1);
        j.x = scratch;
      }
      return kk_parallel_for(p->n, ROWS, multiply_columns, &j);
    case KK_B_BY_ROWS:
      if (p->type != KK_F32) kk_fail("kk_row_product_run", "products by rows are in f32");
      return kk_parallel_for(p->n, COLUMNS, multiply_rows, &j);
    case KK_B_PANELS:
      if (p->type != KK_BF16) kk_fail("kk_row_product_run", "products by panels are in bf16");
      return kk_parallel_for(kk_ceil_div(p->n, KK_PRODUCT_PANEL), 1, kk_multiply_panels, &j);
  }
}
