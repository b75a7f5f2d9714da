// The loops of attention in f32 that every processor runs, and the choice of loops.
#include "attention_loops.h"

#define TARGET
#define FUNCTION KK_CLONES static
#define UNIT_NUMBERS 1
#define MULTIPLY(SUM, X, Y) (SUM) += (X) * (Y)
#include "attention_forms.h"
#include "attention_softmax.h"
#include "attention_tiles.h"

static const kk_attention_loops narrow = KK_ATTENTION_LOOPS(false, multiply_narrow);

static const kk_attention_loops *loops_f32(void) {
  return kk_has_wide_registers() ? kk_attention_loops_wide() : &narrow;
}

const kk_attention_loops *kk_attention_loops_for(kk_dtype type) {
  const kk_attention_loops *pairs = type == KK_BF16 ? kk_attention_loops_bf16() : NULL;
  return pairs ? pairs : loops_f32();
}

KK_CLONES void kk_scores_add(kk_scores *x, const float *mask, int64_t mask_row) {
  KK_CONTRACT
  const float factor = x->factor;
  for (long r = 0; r < x->rows; r++)
    for (long k = 0; k < x->keys; k += KK_LANES) {
      float *s = x->s + r * x->pitch + k;
      kk_lanes scaled = KK_LOAD(s) * factor;
      KK_STORE(s, mask ? scaled + KK_LOAD(mask + r * mask_row + k) : scaled);
    }
  x->factor = 1;
}

KK_CLONES void kk_scores_hide(const kk_scores *x, long seen) {
  typedef int32_t ints __attribute__((ext_vector_type(16)));
  const ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (long r = 0; r < x->rows; r++) {
    const long first = kk_max(0, kk_min(x->keys, seen + r));
    for (long k = first / KK_LANES * KK_LANES; k < x->keys; k += KK_LANES) {
      float *s = x->s + r * x->pitch + k;
      KK_STORE(s, lane < (int32_t)(first - k) ? KK_LOAD(s) : (kk_lanes)-INFINITY);
    }
  }
}

KK_CLONES void kk_rows_scale(float *x, int64_t pitch, long rows, long n, const float *factor) {
  for (long r = 0; r < rows; r++)
    for (long i = 0; i < n; i += KK_LANES) {
      float *at = x + r * pitch + i;
      KK_STORE(at, KK_LOAD(at) * factor[r]);
    }
}
