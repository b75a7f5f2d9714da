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

/// Truth values with 16 bits each, of which 64 neighbours share eight blocks: element i is true where
///
///     (w[2 (i / 32 % 2) + i % 2] >> 16 (i / 16 % 2)) % 2^16 < bound,   w the words of block 8 (i / 64) + i % 16 / 2
///
/// and the probability is bound / 2^16. `value` stands for true, 0 for false.
typedef struct {
  kk_random random;
  uint32_t bound;
  float value;
} kk_keep;

/// The nearest bound of a probability from [0, 1].
static inline uint32_t kk_keep_bound(double probability) { return (uint32_t)(probability * 65536 + 0.5); }

/// out[i] = `value` or 0 for elements start + i, 0 <= i < n.
void kk_keep_f32(const kk_keep *keep, uint64_t start, long n, float *out);

/// The truth values themselves, elements 0 ..< n. KK_F32, KK_BF16, or KK_BOOL (value 1).
void kk_random_bernoulli(const kk_keep *keep, int64_t n, void *out, kk_dtype type);

#ifdef __cplusplus
}
#endif
