// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
// 2011).
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Element i of an array depends on (key, stream, i) alone. With b = i / 4 it comes from the four words
///
///     w = philox4x32_10(counter = (low b, high b, stream[0], stream[1]), key = (key[0], key[1]))
///
/// where low and high are b's 32-bit halves, counter words in the paper's order c0 ... c3, ten rounds,
/// multipliers 0xD2511F53 (c0) and 0xCD9E8D57 (c2), key increments 0x9E3779B9 and 0xBB67AE85. Element
/// i takes w = w[i % 4].
typedef struct {
  uint32_t key[2], stream[2];
} kk_random;

/// The four words of block `b`.
void kk_philox(const kk_random *random, uint64_t b, uint32_t words[4]);

/// out[i] = low + (high - low) u,   u = (w >> 8) 2^-24 in [0, 1).   KK_F32 or KK_BF16 (rounded from f32).
void kk_random_uniform(const kk_random *random, int64_t n, void *out, kk_dtype type, float low, float high);

/// Box-Muller on the word pairs (w[0], w[1]) and (w[2], w[3]) of a block; for a pair (p, q)
///
///     r = sqrt(-2 ln(((p >> 8) + 1) 2^-24)),   t = 2 pi (q >> 8) 2^-24,   z = r cos t, r sin t
///
/// and out[i] = mean + deviation z. KK_F32 or KK_BF16.
void kk_random_normal(
    const kk_random *random, int64_t n, void *out, kk_dtype type, float mean, float deviation);

/// out[i] = `value` where u < probability, else 0, u as in kk_random_uniform. KK_F32, KK_BF16, or KK_BOOL
/// (value 1).
void kk_random_bernoulli(
    const kk_random *random, int64_t n, void *out, kk_dtype type, float probability, float value);

#ifdef __cplusplus
}
#endif
