// Private: the inner loops of attention, once for f32 and once for bf16 with the processor's dot products.
//
// What they multiply is a unit of 32 bits: an f32, or a pair of bf16 that are neighbours in depth. An array x (n, m) has
// three forms: by rows, pairs along m; transposed, the same units with n on the lanes; paired, two rows interleaved to one
// of units along m (an f32 is its own pair). With those the products of attention are
//
//     s = q k^T      by rows x transposed         dv = p^T dy    paired^T x paired
//     y = p v        by rows x paired             dk = ds^T q    paired^T x paired
//     dp = dy v^T    by rows x transposed         dq = ds k      by rows x paired
#pragma once
#include "ckernels/probe.h"
#include "ckernels/random.h"
#include "common.h"

enum { KK_LANES = 16, KK_PANEL = 4 };  // lanes of a vector, most vectors of a panel

typedef float kk_lanes __attribute__((ext_vector_type(16), aligned(4)));
typedef uint32_t kk_lane_bits __attribute__((ext_vector_type(16), aligned(4)));

#define KK_LOAD(P) (*(const kk_lanes *)(P))
#define KK_STORE(P, X) (*(kk_lanes *)(P) = (X))

// By address: vectors are wider than what the callers' targets return in a register.
KK_INLINE float kk_sum_of(const kk_lanes *x) {
  typedef float f8 __attribute__((ext_vector_type(8)));
  typedef float f4 __attribute__((ext_vector_type(4)));
  f8 y = x->lo + x->hi;
  f4 z = y.lo + y.hi;
  return (z.x + z.z) + (z.y + z.w);
}

// Rounded up to whole vectors.
KK_INLINE int64_t kk_whole_lanes(int64_t n) { return (n + KK_LANES - 1) / KK_LANES * KK_LANES; }

/// Rows of memory that will be needed, fetched a few at a time between the tiles of products: rows of one head lie apart,
/// where no processor looks ahead.
typedef struct {
  const char *at;
  int64_t row;  // bytes from one to the next
  long count, bytes;
} kk_ahead_rows;

typedef struct {
  kk_ahead_rows parts[10];
  int count, part;
  long step;
} kk_ahead;

KK_INLINE void kk_fetch(kk_ahead *a) {
  for (long left = a->step; left > 0 && a->part < a->count;) {
    kk_ahead_rows *p = &a->parts[a->part];
    const long rows = kk_min(left, p->count);
    for (long i = 0; i < p->bytes; i += 64)
      for (long r = 0; r < rows; r++) __builtin_prefetch(p->at + r * p->row + i, 0, 2);
    left -= rows;
    p->at += rows * p->row;
    p->count -= rows;
    if (p->count == 0) a->part++;
  }
}

/// What rows of causal scores are spared: columns of s = q k^T, or depth of y = p v.
typedef enum { KK_NOT_CAUSAL, KK_CAUSAL_COLUMNS, KK_CAUSAL_DEPTH } kk_causal;

/// c (m, n) = [c +] a b over `depth` units, a(i, l) at i a_row + l a_step bytes, c by rows and written up to whole
/// vectors. b lies in panels of up to four vectors of lanes, one behind the other, each (b_depth, its lanes).
typedef struct {
  long m, n, depth;
  const void *a;
  int64_t a_row, a_step;
  const float *b;
  long b_lanes, b_depth;
  float *c;
  int64_t c_row;
  bool add;
  kk_causal causal;
  int64_t seen;  // keys that row 0 has to do with; each row has one more than the one before
  kk_ahead *ahead;
} kk_product;

/// Units of depth of n numbers.
KK_INLINE int64_t kk_units(int64_t n, bool pairs) { return pairs ? (n + 1) / 2 : n; }

/// Rows of units, `row` bytes apart.
typedef struct {
  const void *rows;
  int64_t row;
} kk_unit_rows;

/// Most rows of a tile of so many vectors.
KK_INLINE long kk_tile_rows(long vectors) { return vectors == 4 ? 6 : vectors == 3 ? 8 : 12; }

/// Vectors of panel i of `vectors`: as even as they come.
KK_INLINE long kk_panel_vectors(long vectors, long i) {
  long panels = kk_ceil_div(vectors, KK_PANEL);
  return vectors / panels + (i < vectors % panels);
}

/// A block of scores (rows, keys) at a distance of `pitch`, keys rounded up to whole vectors; those in base 2 are
/// `factor` times these. Dropped probabilities, elements `element` + row `element_row` + key of `keep`, are 0, the rest
/// times its value; `element` and `element_row` are multiples of 16, and no row begins within a group of 64 and ends in the
/// next.
typedef struct {
  float *s;
  int64_t pitch;
  long rows, keys;
  float factor;
  const kk_keep *keep;  // or NULL
  uint64_t element, element_row;
} kk_scores;

typedef struct {
  bool pairs;
  void (*multiply)(const kk_product *product);
  /// One step of the online softmax (arXiv 2205.14135, algorithm 1): s becomes 2^(s - top), by rows; top (rows) and sum
  /// (rows, lanes, to be added up) are brought up to date, and `fade` (rows) is the factor for what was summed before.
  void (*softmax)(const kk_scores *scores, float *top, float *sum, float *fade);
  /// p = 2^(s - log_sum), and ds = p (dp - dot) in place of dp (rows, keys). f32: p in place of s. bf16: rows 2 i of s
  /// become pairs of p, rows 2 i + 1 pairs of ds, and those of dp ds by rows; there is room for an even number of rows.
  void (*softmax_gradient)(const kk_scores *scores, float *dp, const float *log_sum, const float *dot);
  /// Of queries that have seen all their keys: log_sum = ln of the sum of e^s, and 1 / sum; 0 of those that saw none.
  void (*softmax_sums)(const float *top, const float *sum, long count, float *log_sum, float *factors);
  /// x (count, n) by rows, `x_row` bytes apart: where it lies if it can be read there, else in `buffer` (count, n to whole
  /// vectors).
  kk_unit_rows (*by_rows)(const void *x, kk_dtype type, int64_t x_row, long count, long n, float *buffer);
  /// y = x^T of x (count, units): panels of depth `units`, zeros in lanes from `count` on.
  void (*transpose)(float *y, kk_unit_rows x, long count, long units);
  /// y = x (count, n) paired: panels of depth kk_units(count), zeros from n and `count` on.
  void (*pair)(float *y, const void *x, kk_dtype type, int64_t x_row, long count, long n);
  /// y (count, n), `y_row` numbers apart, = factor x of f32 x in whole vectors; factor i is factors[i * step].
  void (*store)(
      void *y, kk_dtype type, int64_t y_row, const float *x, long count, long n, const float *factors, long step);
  /// dots[i] = sum_j x(i, j) y(i, j) of (count, n), rows `x_row` and `y_row` bytes apart.
  void (*dot)(
      float *dots, const void *x, int64_t x_row, const void *y, int64_t y_row, kk_dtype type, long count, long n);
} kk_attention_loops;

/// All of them, where their templates are included.
#define KK_ATTENTION_LOOPS(PAIRS, MULTIPLY)                                                                  \
  {                                                                                                          \
    PAIRS, MULTIPLY, softmax, softmax_gradient, softmax_sums, form_rows, transpose_rows, pair_rows, store_rows,  \
        dot_rows                                                                                             \
  }

/// For operands of a type; `pairs` is false where bf16 has to be computed in f32.
const kk_attention_loops *kk_attention_loops_for(kk_dtype type);

/// attention_loops_bf16.c; NULL where the processor has no such instruction.
const kk_attention_loops *kk_attention_loops_bf16(void);

/// s = factor s + mask (rows, or one for all if `mask_row` is 0), after which the factor is 1.
void kk_scores_add(kk_scores *scores, const float *mask, int64_t mask_row);

/// s = -infinity from key `seen` + row on, and from `keys` on.
void kk_scores_hide(const kk_scores *scores, long seen);

/// x (rows, n) *= factor (rows), at a distance of `pitch`.
void kk_rows_scale(float *x, int64_t pitch, long rows, long n, const float *factor);

/// Scores of one query: s[i] = scale sum_j q_j k(i, j), k (rows, n) of f32 or bf16 in rows of `k_row`.
void kk_row_scores(
    float *s, const float *q, const void *k, kk_dtype type, int64_t k_row, long rows, long n, float scale);

/// y_j += sum_i p_i v(i, j), v (rows, n) of f32 or bf16 in rows of `v_row`.
void kk_row_mix(float *y, const float *p, const void *v, kk_dtype type, int64_t v_row, long rows, long n);

// attention_loops_wide.c: the same, where kk_has_wide_registers.
const kk_attention_loops *kk_attention_loops_wide(void);
void kk_row_scores_wide(
    float *s, const float *q, const void *k, kk_dtype type, int64_t k_row, long rows, long n, float scale);
void kk_row_mix_wide(
    float *y, const float *p, const void *v, kk_dtype type, int64_t v_row, long rows, long n);
