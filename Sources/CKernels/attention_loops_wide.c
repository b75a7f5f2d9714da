// The loops of attention in f32, and those for one query, for processors of level x86-64-v4: with registers of 32 bytes,
// which compilers prefer there, too few loads are under way for the fastest memory.
#include "attention_loops.h"

#if defined(__x86_64__) && !defined(KK_BASELINE)
#define WIDE
// A level alone prefers registers of 32 bytes.
#define TARGET __attribute__((target("arch=x86-64-v4"), min_vector_width(512)))
#define FUNCTION TARGET static
#define UNIT_NUMBERS 1
#define MULTIPLY(SUM, X, Y) (SUM) += (X) * (Y)
#include "attention_forms.h"
#include "attention_row_loops.h"
#include "attention_softmax.h"
#include "attention_tiles.h"

const kk_attention_loops *kk_attention_loops_wide(void) {
  static const kk_attention_loops loops = KK_ATTENTION_LOOPS(false, multiply_wide);
  return &loops;
}

void kk_row_scores_wide(
    float *s, const float *q, const void *k, kk_dtype type, int64_t k_row, long rows, long n, float scale) {
  row_scores(s, q, k, type, k_row, rows, n, scale);
}

void kk_row_mix_wide(
    float *y, const float *p, const void *v, kk_dtype type, int64_t v_row, long rows, long n) {
  row_mix(y, p, v, type, v_row, rows, n);
}
#else
const kk_attention_loops *kk_attention_loops_wide(void) { return NULL; }
void kk_row_scores_wide(
    float *s, const float *q, const void *k, kk_dtype type, int64_t k_row, long rows, long n, float scale) {
  (void)s, (void)q, (void)k, (void)type, (void)k_row, (void)rows, (void)n, (void)scale;
}
void kk_row_mix_wide(
    float *y, const float *p, const void *v, kk_dtype type, int64_t v_row, long rows, long n) {
  (void)y, (void)p, (void)v, (void)type, (void)v_row, (void)rows, (void)n;
}
#endif
