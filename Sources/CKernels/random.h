// Private: Philox 4x32-10 and truth values made of it, inline for kernels that use random numbers where they are.
#pragma once
#include "ckernels/random.h"
#include "common.h"

// Eight blocks side by side, one word of each; the upper half of a lane is garbage.
typedef uint64_t kk_philox_lanes __attribute__((ext_vector_type(8), aligned(8)));
typedef uint32_t kk_philox_words __attribute__((ext_vector_type(16), aligned(4)));
typedef int32_t kk_philox_ints __attribute__((ext_vector_type(16), aligned(4)));
typedef float kk_philox_floats __attribute__((ext_vector_type(16), aligned(4)));

// Elements that share eight blocks.
enum { KK_KEEP_GROUP = 64 };

/// Ten rounds on the counters c under the key (k0, k1). Works on the lower halves of 64-bit lanes, so that the
/// products of one round are operands of the next as they are.
KK_INLINE void kk_philox_rounds(kk_philox_lanes c[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    kk_philox_lanes p0 = (c[0] & 0xffffffffu) * 0xD2511F53u, p1 = (c[2] & 0xffffffffu) * 0xCD9E8D57u;
    c[0] = (p1 >> 32) ^ c[1] ^ k0;
    c[2] = (p0 >> 32) ^ c[3] ^ k1;
    c[1] = p1;
    c[3] = p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/// The 16-bit numbers of elements 64 group ..< 64 group + 64 of `kk_keep`: those of elements 32 p + 16 h + lane are the
/// lower (h = 0) or upper half of words[p][lane].
KK_INLINE void kk_keep_words(const kk_random *random, uint64_t group, kk_philox_words words[2]) {
  const kk_philox_lanes b = 8 * group + (kk_philox_lanes){0, 1, 2, 3, 4, 5, 6, 7};
  kk_philox_lanes c[4] = {b, b >> 32, random->stream[0], random->stream[1]};
  kk_philox_rounds(c, random->key[0], random->key[1]);
  for (int p = 0; p < 2; p++) {
    kk_philox_lanes both = (c[2 * p] & 0xffffffffu) | c[2 * p + 1] << 32;
    memcpy(&words[p], &both, sizeof both);
  }
}

/// `value` for the elements of a group that are kept, else 0.
KK_INLINE void kk_keep_group(const kk_keep *keep, uint64_t group, float out[KK_KEEP_GROUP]) {
  kk_philox_words words[2];
  kk_keep_words(&keep->random, group, words);
  const kk_philox_floats value = keep->value;
  const kk_philox_ints bound = (int32_t)keep->bound;
  for (int p = 0; p < 2; p++) {
    kk_philox_floats low = (kk_philox_ints)(words[p] & 0xffffu) < bound ? value : 0.0f;
    kk_philox_floats high = (kk_philox_ints)(words[p] >> 16) < bound ? value : 0.0f;
    memcpy(out + 32 * p, &low, sizeof low);
    memcpy(out + 32 * p + 16, &high, sizeof high);
  }
}
