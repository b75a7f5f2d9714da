#include "attention_loops.h"

#include "mathf.h"

// A vector of queries: one register with AVX-512, two with AVX2.
typedef float lanes __attribute__((ext_vector_type(16), aligned(4)));
typedef int32_t ints __attribute__((ext_vector_type(16), aligned(4)));
typedef uint16_t halves __attribute__((ext_vector_type(16), aligned(2)));
typedef uint32_t words __attribute__((ext_vector_type(16), aligned(4)));

#define LOAD(P) (*(const lanes *)(P))
#define STORE(P, X) (*(lanes *)(P) = (X))

// kk_exp_of_negative of each lane.
KK_INLINE void exp_of_negative(lanes *y, const lanes *argument) {
  KK_CONTRACT
  lanes x = *argument < (lanes)-88.0f ? (lanes)-88.0f : *argument;
  lanes shifted = x * KK_LOG2_E + KK_ROUNDER, t = shifted - KK_ROUNDER;
  lanes r = x - t * KK_LN2_HIGH;
  r = r + t * KK_LN2_LOW;
  words power = ((words)shifted - (KK_ROUNDER_BITS - 127u)) << 23;
  *y = (KK_EXPM1_NEAR_ZERO(r) + 1.0f) * (lanes)power;
}

// R rows of 16 V sums in registers.
#define TILE(R, V)                                                                                           \
  KK_INLINE void tile_##R##x##V(const kk_product *p, long i, long j) {                                       \
    KK_CONTRACT                                                                                              \
    lanes sum[R][V];                                                                                         \
    float *c = p->c + i * p->c_row + j;                                                                      \
    _Pragma("unroll") for (int r = 0; r < R; r++)                                                            \
        _Pragma("unroll") for (int v = 0; v < V; v++)                                                        \
            sum[r][v] = p->add ? LOAD(c + r * p->c_row + 16 * v) : (lanes)0.0f;                              \
    const float *a = p->a + i * p->a_row, *b = p->b + j;                                                     \
    const int64_t a_row = p->a_row, a_step = p->a_step, b_row = p->b_row;                                    \
    for (long l = p->depth; l > 0; l--, a += a_step, b += b_row) {                                           \
      lanes row[V];                                                                                          \
      _Pragma("unroll") for (int v = 0; v < V; v++) row[v] = LOAD(b + 16 * v);                               \
      _Pragma("unroll") for (int r = 0; r < R; r++) {                                                        \
        lanes x = (lanes)a[r * a_row];                                                                       \
        _Pragma("unroll") for (int v = 0; v < V; v++) sum[r][v] += x * row[v];                               \
      }                                                                                                      \
    }                                                                                                        \
    _Pragma("unroll") for (int r = 0; r < R; r++)                                                            \
        _Pragma("unroll") for (int v = 0; v < V; v++) STORE(c + r * p->c_row + 16 * v, sum[r][v]);           \
  }
TILE(6, 4) TILE(4, 4) TILE(2, 4) TILE(1, 4)
TILE(8, 3) TILE(4, 3) TILE(2, 3) TILE(1, 3)
TILE(8, 2) TILE(4, 2) TILE(2, 2) TILE(1, 2)
TILE(8, 1) TILE(6, 1) TILE(4, 1) TILE(2, 1) TILE(1, 1)

// All rows of the columns from j on: R at a time, the rest four, two and one at a time.
#define STRIP(R, V)                                                                                          \
  {                                                                                                          \
    long i = 0;                                                                                              \
    for (; i + R <= p->m; i += R) tile_##R##x##V(p, i, j);                                                   \
    for (; i + 4 <= p->m; i += 4) tile_4x##V(p, i, j);                                                       \
    if (i + 2 <= p->m) tile_2x##V(p, i, j), i += 2;                                                          \
    if (i < p->m) tile_1x##V(p, i, j);                                                                       \
    j += 16 * V;                                                                                             \
  }

// For 32 registers of 64 bytes: 24 of them hold sums.
KK_CLONES static void multiply_wide(const kk_product *p) {
  long j = 0;
  while (j + 64 <= p->n) STRIP(6, 4)
  switch ((p->n - j) / 16) {
    case 3: STRIP(8, 3) break;
    case 2: STRIP(8, 2) break;
    case 1: STRIP(8, 1) break;
  }
}

// For 16 registers of 32 bytes: 12 of them hold sums.
KK_CLONES static void multiply_narrow(const kk_product *p) {
  for (long j = 0; j < p->n;) STRIP(6, 1)
}

static bool has_wide_registers(void) {
#if defined(__x86_64__) && !defined(KK_BASELINE)
  return __builtin_cpu_supports("x86-64-v4");
#else
  return false;
#endif
}

void kk_lanes_multiply(const kk_product *product) {
  if (has_wide_registers()) multiply_wide(product);
  else multiply_narrow(product);
}

KK_CLONES bool kk_lanes_softmax(float *s, long keys, long n, float *top, float *sum, float *fade) {
  bool fades = false;
  for (long j = 0; j < n; j += KK_LANES) {
    float *column = s + j, *end = column + keys * KK_QUERY_BLOCK;
    const lanes before = LOAD(top + j);
    lanes after = before, total = (lanes)0.0f, x, y;
    for (float *at = column; at < end; at += KK_QUERY_BLOCK) {
      x = LOAD(at);
      after = x > after ? x : after;
    }
    // A query that has seen nothing yet: everything it has is exp(-infinity).
    const lanes shift = after == (lanes)-INFINITY ? (lanes)0.0f : after;
    for (float *at = column; at < end; at += KK_QUERY_BLOCK) {
      x = LOAD(at) - shift;
      exp_of_negative(&y, &x);
      STORE(at, y);
      total += y;
    }
    x = before - shift;
    exp_of_negative(&y, &x);
    STORE(top + j, after);
    STORE(fade + j, y);
    STORE(sum + j, LOAD(sum + j) * y + total);
    ints changed = y != (lanes)1.0f;
    fades |= __builtin_reduce_or(changed) != 0;
  }
  return fades;
}

KK_CLONES void kk_lanes_softmax_gradient(
    float *s, float *dp, long keys, long n, const float *log_sum, const float *dot) {
  for (long j = 0; j < n; j += KK_LANES) {
    const lanes shift = LOAD(log_sum + j), mean = LOAD(dot + j);
    for (long at = j; at < keys * KK_QUERY_BLOCK; at += KK_QUERY_BLOCK) {
      lanes x = LOAD(s + at) - shift, p;
      exp_of_negative(&p, &x);
      STORE(s + at, p);
      STORE(dp + at, p * (LOAD(dp + at) - mean));
    }
  }
}

KK_CLONES void kk_lanes_scale(float *x, long rows, long n, const float *factor) {
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < n; j += KK_LANES) {
      float *at = x + i * KK_QUERY_BLOCK + j;
      STORE(at, LOAD(at) * LOAD(factor + j));
    }
}

KK_CLONES void kk_lanes_add(float *x, long rows, long n, const float *y) {
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < n; j += KK_LANES) {
      long at = i * KK_QUERY_BLOCK + j;
      STORE(x + at, LOAD(x + at) + LOAD(y + at));
    }
}

// 16 numbers of a type; `type` is a constant.
#define LOAD_TYPED(P, TYPE, AT)                                                                              \
  ((TYPE) == KK_F32                                                                                          \
          ? LOAD((const float *)(P) + (AT))                                                                  \
          : (lanes)(__builtin_convertvector(*(const halves *)((const uint16_t *)(P) + (AT)), words) << 16))

KK_INLINE float number(const void *p, kk_dtype type, long at) {
  return type == KK_F32 ? ((const float *)p)[at] : kk_from_bf16(((const uint16_t *)p)[at]);
}

KK_INLINE float total(const lanes *x) {
  typedef float f8 __attribute__((ext_vector_type(8)));
  typedef float f4 __attribute__((ext_vector_type(4)));
  f8 y = x->lo + x->hi;
  f4 z = y.lo + y.hi;
  return (z.x + z.z) + (z.y + z.w);
}

// R rows at a time share the loads of q.
#define SCORES(R)                                                                                            \
  for (; i + R <= rows; i += R) {                                                                            \
    lanes sum[R] = {0};                                                                                      \
    long j = 0;                                                                                              \
    for (; j + KK_LANES <= n; j += KK_LANES) {                                                               \
      lanes x = LOAD(q + j);                                                                                 \
      _Pragma("unroll") for (int r = 0; r < R; r++) sum[r] += x * LOAD_TYPED(k, type, (i + r) * k_row + j);  \
    }                                                                                                        \
    _Pragma("unroll") for (int r = 0; r < R; r++) {                                                          \
      float rest = 0;                                                                                        \
      for (long l = j; l < n; l++) rest += q[l] * number(k, type, (i + r) * k_row + l);                      \
      s[i + r] = scale * (total(&sum[r]) + rest);                                                             \
    }                                                                                                        \
  }

KK_INLINE void scores(
    float *s, const float *q, const void *k, const kk_dtype type, int64_t k_row, long rows, long n,
    float scale) {
  KK_CONTRACT
  long i = 0;
  SCORES(4)
  SCORES(1)
}

KK_CLONES void kk_row_scores(
    float *s, const float *q, const void *k, kk_dtype type, int64_t k_row, long rows, long n, float scale) {
  if (type == KK_F32) scores(s, q, k, KK_F32, k_row, rows, n, scale);
  else scores(s, q, k, KK_BF16, k_row, rows, n, scale);
}

// V vectors of sums in registers over all rows.
#define MIX(V)                                                                                               \
  for (; j + 16 * V <= n; j += 16 * V) {                                                                     \
    lanes sum[V];                                                                                            \
    _Pragma("unroll") for (int v = 0; v < V; v++) sum[v] = LOAD(y + j + 16 * v);                             \
    for (long i = 0; i < rows; i++)                                                                          \
      _Pragma("unroll") for (int v = 0; v < V; v++)                                                          \
          sum[v] += p[i] * LOAD_TYPED(x, type, i * row + j + 16 * v);                                        \
    _Pragma("unroll") for (int v = 0; v < V; v++) STORE(y + j + 16 * v, sum[v]);                             \
  }

KK_INLINE void mix(float *y, const float *p, const void *x, kk_dtype type, int64_t row, long rows, long n) {
  KK_CONTRACT
  long j = 0;
  MIX(4)
  MIX(1)
  for (; j < n; j++)
    for (long i = 0; i < rows; i++) y[j] += p[i] * number(x, type, i * row + j);
}

KK_CLONES void kk_row_mix(
    float *y, const float *p, const void *v, kk_dtype type, int64_t v_row, long rows, long n) {
  if (type == KK_F32) mix(y, p, v, KK_F32, v_row, rows, n);
  else mix(y, p, v, KK_BF16, v_row, rows, n);
}
