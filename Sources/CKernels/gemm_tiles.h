// The inner loops of the matrix product: tiles of c in registers, and panels of a and b as they read them.
//
// A *step* is one number along k in float32 and a pair of neighbours in bfloat16: four bytes either way.
#pragma once
#include "ckernels/gemm.h"
#include "common.h"

// A tile is 14 rows of two vectors: 28 sums, two vectors of b and one number of a fill the 32 registers.
enum { KK_TILE_ROWS = 14, KK_TILE_COLUMNS = 32, KK_STEP_BYTES = 4 };

/// Steps of k numbers.
KK_INLINE int64_t kk_steps(kk_dtype type, int64_t k) { return type == KK_BF16 ? (k + 1) / 2 : k; }

/// How the lines of an operand (rows of a, columns of b) lie in memory.
struct kk_lines {
  kk_dtype type, stored;
  int64_t line, along;  // strides from line to line and along k; one of them is 1
};

/// `lines` lines at `source`, k numbers of each, to out[step][width]; missing lines are zero. Writes up to two floats
/// more when `width` is KK_TILE_ROWS.
void kk_pack_panel(
    const struct kk_lines *l, const void *source, int64_t lines, int64_t k, int64_t width, float *out);

/// c (rows, 32) = a b [+ c] with panels a (steps, 14) and b (steps, 32); rows of c are `c_row` apart.
void kk_gemm_tile(
    kk_dtype type, int64_t rows, int64_t steps, const float *a, const float *b, float *c, int64_t c_row, bool add);
