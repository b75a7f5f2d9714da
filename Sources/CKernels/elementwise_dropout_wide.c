// Dropout in registers of 64 bytes, straight from memory to memory: truth values become masks of registers where they are
// made, and no number is stored between two passes.
#include "elementwise.h"
#include "random.h"

#if defined(__x86_64__) && !defined(KK_BASELINE)
#include <immintrin.h>

#define TARGET __attribute__((target("arch=x86-64-v4"), min_vector_width(512)))

typedef float lanes __attribute__((ext_vector_type(16), aligned(4)));
typedef uint32_t words __attribute__((ext_vector_type(16), aligned(4)));
typedef uint16_t halves __attribute__((ext_vector_type(16), aligned(2)));

enum { LANES = 16, MOST = KK_MOST_KEEP_GROUPS * KK_KEEP_GROUP };

KK_INLINE TARGET __mmask16 below(words x, words bound) {
  return _mm512_cmplt_epu32_mask((__m512i)x, (__m512i)bound);
}

// The masks of the 16 numbers each of `count` groups.
KK_INLINE TARGET void make_masks(const kk_keep *keep, uint64_t group, const int count, __mmask16 *masks) {
  kk_philox_words drawn[KK_MOST_KEEP_GROUPS][2];
  kk_keep_words(keep, group, count, drawn);
  const kk_philox_words bound = keep->bound;
  _Pragma("unroll") for (int g = 0; g < count; g++) _Pragma("unroll") for (int p = 0; p < 2; p++) {
    *masks++ = below(drawn[g][p] & 0xffffu, bound);
    *masks++ = below(drawn[g][p] >> 16, bound);
  }
}

// Numbers i ..< i + 16.
KK_INLINE TARGET void drop(const kk_dropout *d, const kk_dtype type, const bool adds, int64_t i, __mmask16 mask) {
  const lanes x = type == KK_F32
      ? *(const lanes *)((const float *)d->x + i)
      : (lanes)(__builtin_convertvector(*(const halves *)((const uint16_t *)d->x + i), words) << 16);
  const lanes kept = (lanes)_mm512_maskz_mul_ps(mask, (__m512)x, _mm512_set1_ps(d->keep->value));
  if (adds) {
    *(lanes *)((float *)d->y + i) = kept + *(const lanes *)(d->residual + i);
  } else if (type == KK_F32) {
    *(lanes *)((float *)d->y + i) = kept;
  } else {
    const words bits = (words)kept;
    *(halves *)((uint16_t *)d->y + i) = __builtin_convertvector(KK_NEAREST_BF16(bits) >> 16, halves);
  }
}

// The first `count` of 16 numbers, by way of the stack.
TARGET static void drop_part(
    const kk_dropout *d, const kk_dtype type, const bool adds, int64_t i, long count, __mmask16 mask) {
  char x[64], y[64];
  float residual[LANES];
  const size_t size = kk_dtype_size(type), result = adds ? sizeof(float) : size;
  memcpy(x, (const char *)d->x + (size_t)i * size, (size_t)count * size);
  if (adds) memcpy(residual, d->residual + i, (size_t)count * sizeof(float));
  const kk_dropout part = {d->keep, x, type, residual, y};
  drop(&part, type, adds, 0, mask);
  memcpy((char *)d->y + (size_t)i * result, y, (size_t)count * result);
}

KK_INLINE TARGET void run(
    const kk_dropout *d, const kk_dtype type, const bool adds, int64_t i, int64_t end) {
  __mmask16 masks[MOST / LANES];
  for (; i + MOST <= end; i += MOST) {
    make_masks(d->keep, (uint64_t)i / KK_KEEP_GROUP, KK_MOST_KEEP_GROUPS, masks);
    _Pragma("unroll") for (int k = 0; k < MOST / LANES; k++) drop(d, type, adds, i + LANES * k, masks[k]);
  }
  for (; i < end; i += KK_KEEP_GROUP) {
    make_masks(d->keep, (uint64_t)i / KK_KEEP_GROUP, 1, masks);
    for (int64_t k = i; k < kk_min(end, i + KK_KEEP_GROUP); k += LANES) {
      const __mmask16 mask = masks[(k - i) / LANES];
      if (k + LANES <= end) drop(d, type, adds, k, mask);
      else drop_part(d, type, adds, k, end - k, mask);
    }
  }
}

TARGET void kk_run_dropout_wide(const kk_dropout *d, int64_t begin, int64_t end) {
  if (d->type == KK_F32 && d->residual) run(d, KK_F32, true, begin, end);
  else if (d->type == KK_F32) run(d, KK_F32, false, begin, end);
  else if (d->residual) run(d, KK_BF16, true, begin, end);
  else run(d, KK_BF16, false, begin, end);
}
#else
void kk_run_dropout_wide(const kk_dropout *d, int64_t begin, int64_t end) { (void)d, (void)begin, (void)end; }
#endif
