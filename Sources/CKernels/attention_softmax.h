// Private: the softmax of a block of scores, and its gradient; a template, of f32 unless EXP2 is defined. STORE_ROWS(P, AT,
// X, Y, BOTH) puts numbers AT of a row and, if BOTH, the 16 behind them; STORE_PAIRS(ROWS, AT, P, DS, SECOND, BOTH) the
// probabilities and gradients of two rows as kk_attention_loops has them.
#include "mathf.h"
#include "random.h"

// Some vectors of scores at a time; EXP2(X) makes 2^x of those at X, x <= 0 or a little above.
#ifndef EXP2
#define REGISTERS 4
typedef float numbers __attribute__((ext_vector_type(16 * REGISTERS)));
typedef uint32_t number_bits __attribute__((ext_vector_type(16 * REGISTERS)));
typedef union {
  numbers all;
  kk_lanes parts[REGISTERS];
} parted_numbers;

// 2^x for x <= 0 or a little above; below 2^-126 it fades to 0. Relative error within 2 units in the last place.
KK_INLINE TARGET void exp2_of_negative(parted_numbers *y) {
  KK_CONTRACT
  const numbers x = y->all < (numbers)-127.0f ? (numbers)-127.0f : y->all;
  // Rounds x to an integer k, and leaves k + 127 in the last bits.
  const float rounder = KK_ROUNDER + 127;
  const numbers shifted = x + rounder, r = x - (shifted - rounder);
  const number_bits power = (number_bits)shifted << 23;
  y->all = KK_EXP2_NEAR_ZERO(r) * (numbers)power;
}
#define EXP2(X) exp2_of_negative(X)

#define STORE_ROWS(P, AT, X, Y, BOTH)                                                                        \
  do {                                                                                                       \
    KK_STORE((P) + (AT), X);                                                                                 \
    if (BOTH) KK_STORE((P) + (AT) + 16, Y);                                                                  \
  } while (0)
#define STORE_PAIRS(ROWS, AT, P, DS, SECOND, BOTH)                                                           \
  do {                                                                                                       \
    STORE_ROWS((ROWS)[0], AT, (P)[0][0], (P)[0][1], BOTH);                                                   \
    if (SECOND) STORE_ROWS((ROWS)[1], AT, (P)[1][0], (P)[1][1], BOTH);                                       \
  } while (0)
#endif

KK_INLINE TARGET float maximum_of(const kk_lanes *x) {
  typedef float f8 __attribute__((ext_vector_type(8)));
  typedef float f4 __attribute__((ext_vector_type(4)));
  f8 y = x->lo > x->hi ? x->lo : x->hi;
  f4 z = y.lo > y.hi ? y.lo : y.hi;
  float a = z.x > z.z ? z.x : z.z, b = z.y > z.w ? z.y : z.w;
  return a > b ? a : b;
}

// Groups of truth values from `first` on; rows of fewer than 64 share one. With 16 registers of 32 bytes a group fills all of
// them.
#ifdef WIDE
enum { MOST_KEPT = KK_MOST_KEEP_GROUPS };
#else
enum { MOST_KEPT = 1 };
#endif
struct kept {
  uint64_t first, count;
  float values[MOST_KEPT * KK_KEEP_GROUP];
};

KK_INLINE TARGET bool has_kept(const struct kept *kept, uint64_t element) {
  return element / KK_KEEP_GROUP - kept->first < kept->count;
}

// What elements `element` and 31 behind it are multiplied with. If they are not at hand, as many groups are made at once as
// the `left` elements need that are read in order.
KK_INLINE TARGET const float *kept_at(struct kept *kept, const kk_keep *keep, uint64_t element, long left) {
  if (!has_kept(kept, element)) {
    kept->first = element / KK_KEEP_GROUP;
    kept->count = left >= MOST_KEPT * KK_KEEP_GROUP ? MOST_KEPT : 1;
    if (kept->count == MOST_KEPT) kk_keep_groups(keep, kept->first, MOST_KEPT, kept->values);
    else kk_keep_groups(keep, kept->first, 1, kept->values);
  }
  return kept->values + (element - kept->first * KK_KEEP_GROUP);
}

// What is kept of keys k ..< k + 32 of row r + i, i in 0 ..< 2. Short rows follow each other in groups, and may share one.
KK_INLINE TARGET const float *kept_of_rows(struct kept kept[2], const kk_scores *x, long r, int i, long k) {
  const uint64_t element = x->element + (uint64_t)(r + i) * x->element_row + (uint64_t)k;
  const bool is_short = x->element_row <= KK_KEEP_GROUP;
  const long left = is_short ? (x->rows - r - i) * (long)x->element_row - k : kk_whole_lanes(x->keys) - k;
  return kept_at(&kept[i == 1 && !has_kept(&kept[0], element)], x->keep, element, left);
}

// 2^(factor s - shift) of scores that lie in `y`. The product is rounded by itself, so that the largest gives 1.
KK_INLINE TARGET void make_probabilities(parted_numbers *y, float factor, const parted_numbers *shift) {
  y->all = y->all * factor;
  y->all = y->all - shift->all;
  EXP2(y);
}

// Scores k ..< k + 32 of rows r and r + 1, the latter only if `second`; -infinity where there are none.
KK_INLINE TARGET parted_numbers scores_of_rows(float *const rows[2], long k, const bool second, bool both) {
  parted_numbers y = {(numbers)-INFINITY};
  _Pragma("unroll") for (int i = 0; i < 2 + 2 * second; i++)
      if (i % 2 == 0 || both) y.parts[i] = KK_LOAD(rows[i / 2] + k + i % 2 * 16);
  return y;
}

KK_INLINE TARGET void raise_tops(const kk_scores *x, float *top, float *fade) {
  const long n = kk_whole_lanes(x->keys);
  for (long r = 0; r < x->rows; r++) {
    const float *row = x->s + r * x->pitch;
    kk_lanes even = KK_LOAD(row), odd = even, y;
    for (long k = 16; k < n; k += 32) {
      y = KK_LOAD(row + k);
      even = y > even ? y : even;
      if (k + 16 == n) break;
      y = KK_LOAD(row + k + 16);
      odd = y > odd ? y : odd;
    }
    even = odd > even ? odd : even;
    // Rounding keeps the order, and the factor is above 0.
    const float after = x->factor * maximum_of(&even);
    fade[r] = top[r];
    top[r] = after > top[r] ? after : top[r];
  }
}

// The softmax of rows r and r + 1, the latter only if `second`: short rows alone would leave registers empty.
KK_INLINE TARGET void softmax_rows(
    const kk_scores *x, long r, const bool second, const float *top, float *sum, float *fade, const bool drops,
    struct kept kept[2]) {
  const long n = kk_whole_lanes(x->keys);
  float *rows[2] = {x->s + r * x->pitch, x->s + (r + 1) * x->pitch};
  parted_numbers shifts = {(numbers)0.0f};
  kk_lanes totals[2][2] = {{0}};
  _Pragma("unroll") for (int i = 0; i < 2; i++) {
    if (i == 1 && !second) break;
    // A query that has seen nothing yet: everything it has is 2^-infinity.
    const float shift = top[r + i] == -INFINITY ? 0.0f : top[r + i];
    shifts.parts[2 * i] = shifts.parts[2 * i + 1] = (kk_lanes)shift;
    fade[r + i] = fade[r + i] == -INFINITY ? 0.0f : exp2f(fade[r + i] - shift);
    totals[i][0] = KK_LOAD(sum + (r + i) * KK_LANES) * fade[r + i];
  }
  for (long k = 0; k < n; k += 32) {
    const bool both = k + 16 < n;
    parted_numbers y = scores_of_rows(rows, k, second, both);
    make_probabilities(&y, x->factor, &shifts);
    _Pragma("unroll") for (int i = 0; i < 2; i++) {
      if (i == 1 && !second) break;
      kk_lanes *p = &y.parts[2 * i];
      totals[i][0] += p[0];
      totals[i][1] += p[1];
      if (drops) {
        const float *keep = kept_of_rows(kept, x, r, i, k);
        p[0] *= KK_LOAD(keep);
        if (both) p[1] *= KK_LOAD(keep + 16);
      }
      STORE_ROWS(rows[i], k, p[0], p[1], both);
    }
  }
  KK_STORE(sum + r * KK_LANES, totals[0][0] + totals[0][1]);
  if (second) KK_STORE(sum + (r + 1) * KK_LANES, totals[1][0] + totals[1][1]);
}

KK_INLINE TARGET void softmax_of(const kk_scores *x, float *top, float *sum, float *fade, const bool drops) {
  struct kept kept[2];
  kept[0].first = kept[0].count = kept[1].first = kept[1].count = 0;
  raise_tops(x, top, fade);
  long r = 0;
  for (; r + 2 <= x->rows; r += 2) softmax_rows(x, r, true, top, sum, fade, drops, kept);
  if (r < x->rows) softmax_rows(x, r, false, top, sum, fade, drops, kept);
}

FUNCTION void softmax(const kk_scores *x, float *top, float *sum, float *fade) {
  if (x->keep) softmax_of(x, top, sum, fade, true);
  else softmax_of(x, top, sum, fade, false);
}

FUNCTION void softmax_sums(const float *top, const float *sum, long count, float *log_sum, float *factors) {
  KK_CONTRACT
  for (long r = 0; r < count; r++) {
    const kk_lanes lanes = KK_LOAD(sum + r * KK_LANES);
    factors[r] = kk_sum_of(&lanes);
  }
  KK_INDEPENDENT for (long r = 0; r < count; r++) {
    const bool sees = top[r] != -INFINITY;
    log_sum[r] = sees ? KK_LN_2 * top[r] + kk_logf(factors[r]) : 0.0f;
    factors[r] = sees ? 1.0f / factors[r] : 0.0f;
  }
}

// The gradient of rows r and r + 1, the latter only if `second`.
KK_INLINE TARGET void softmax_gradient_rows(
    const kk_scores *x, long r, const bool second, float *dp, const float *log_sum, const float *dot,
    const bool drops, struct kept kept[2]) {
  const long n = kk_whole_lanes(x->keys);
  float *rows[2] = {x->s + r * x->pitch, x->s + (r + 1) * x->pitch};
  float *gradients[2] = {dp + r * x->pitch, dp + (r + 1) * x->pitch};
  parted_numbers shifts = {(numbers)log_sum[r]};
  if (second) shifts.parts[2] = shifts.parts[3] = (kk_lanes)log_sum[r + 1];
  for (long k = 0; k < n; k += 32) {
    const bool both = k + 16 < n;
    parted_numbers y = scores_of_rows(rows, k, second, both);
    make_probabilities(&y, x->factor, &shifts);
    kk_lanes p[2][2] = {{y.parts[0], y.parts[1]}, {y.parts[2], y.parts[3]}}, ds[2][2] = {{0}};
    _Pragma("unroll") for (int i = 0; i < 2; i++) {
      if (i == 1 && !second) break;
      const float *keep = drops ? kept_of_rows(kept, x, r, i, k) : NULL;
      _Pragma("unroll") for (int h = 0; h < 2; h++) {
        if (h == 1 && !both) break;
        kk_lanes gradient = KK_LOAD(gradients[i] + k + 16 * h);
        if (drops) gradient *= KK_LOAD(keep + 16 * h);
        ds[i][h] = p[i][h] * (gradient - dot[r + i]);
        if (drops) p[i][h] *= KK_LOAD(keep + 16 * h);
      }
    }
    STORE_ROWS(gradients[0], k, ds[0][0], ds[0][1], both);
    if (second) STORE_ROWS(gradients[1], k, ds[1][0], ds[1][1], both);
    STORE_PAIRS(rows, k, p, ds, second, both);
  }
}

KK_INLINE TARGET void softmax_gradient_of(
    const kk_scores *x, float *dp, const float *log_sum, const float *dot, const bool drops) {
  struct kept kept[2];
  kept[0].first = kept[0].count = kept[1].first = kept[1].count = 0;
  long r = 0;
  for (; r + 2 <= x->rows; r += 2) softmax_gradient_rows(x, r, true, dp, log_sum, dot, drops, kept);
  if (r < x->rows) softmax_gradient_rows(x, r, false, dp, log_sum, dot, drops, kept);
}

FUNCTION void softmax_gradient(
    const kk_scores *x, float *dp, const float *log_sum, const float *dot) {
  if (x->keep) softmax_gradient_of(x, dp, log_sum, dot, true);
  else softmax_gradient_of(x, dp, log_sum, dot, false);
}
