// Private: Philox 4x32-10 and truth values made of it, inline for kernels that use random numbers where they are.
#pragma once
#include "ckernels/random.h"
#include "common.h"

// Eight blocks side by side, one word of each; the upper half of a lane is garbage.
typedef uint64_t kk_philox_lanes __attribute__((ext_vector_type(8), aligned(8)));
typedef uint32_t kk_philox_words __attribute__((ext_vector_type(16), aligned(4)));
typedef int32_t kk_philox_ints __attribute__((ext_vector_type(16), aligned(4)));
typedef float kk_philox_floats __attribute__((ext_vector_type(16), aligned(4)));

// Elements that share eight blocks; groups that are computed side by side.
enum { KK_KEEP_GROUP = 64, KK_MOST_KEEP_GROUPS = 4 };

/// Ten rounds on the counters c[g] of `count` groups under the key (k0, k1). Works on the lower halves of 64-bit lanes, so
/// that the products of one round are operands of the next as they are. A round waits for the one before: groups fill the
/// time of each other.
KK_INLINE void kk_philox_rounds(kk_philox_lanes (*c)[4], int count, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    _Pragma("unroll") for (int g = 0; g < count; g++) {
      kk_philox_lanes p0 = (c[g][0] & 0xffffffffu) * 0xD2511F53u, p1 = (c[g][2] & 0xffffffffu) * 0xCD9E8D57u;
      c[g][0] = (p1 >> 32) ^ c[g][1] ^ k0;
      c[g][2] = (p0 >> 32) ^ c[g][3] ^ k1;
      c[g][1] = p1;
      c[g][3] = p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/// The 16-bit numbers of `keep` for `count` groups: those of elements 32 p + 16 h + lane are the lower (h = 0) or upper half
/// of words[g][p][lane].
KK_INLINE void kk_keep_words(const kk_keep *keep, uint64_t group, int count, kk_philox_words (*words)[2]) {
  const kk_random *random = &keep->random;
  kk_philox_lanes c[KK_MOST_KEEP_GROUPS][4];
  _Pragma("unroll") for (int g = 0; g < count; g++) {
    const kk_philox_lanes b = 8 * (group + (uint64_t)g) + (kk_philox_lanes){0, 1, 2, 3, 4, 5, 6, 7};
    c[g][0] = b, c[g][1] = b >> 32, c[g][2] = random->stream[0], c[g][3] = random->stream[1];
  }
  kk_philox_rounds(c, count, random->key[0], random->key[1]);
  _Pragma("unroll") for (int g = 0; g < count; g++) _Pragma("unroll") for (int p = 0; p < 2; p++) {
    const kk_philox_lanes both = (c[g][2 * p] & 0xffffffffu) | c[g][2 * p + 1] << 32;
    memcpy(&words[g][p], &both, sizeof both);
  }
}

/// `value` for the elements of `count` groups that are kept, else 0.
KK_INLINE void kk_keep_groups(const kk_keep *keep, uint64_t group, int count, float *out) {
  kk_philox_words words[KK_MOST_KEEP_GROUPS][2];
  kk_keep_words(keep, group, count, words);
  const kk_philox_floats value = keep->value;
  const kk_philox_ints bound = (int32_t)keep->bound;
  _Pragma("unroll") for (int g = 0; g < count; g++) _Pragma("unroll") for (int p = 0; p < 2; p++, out += 32) {
    kk_philox_floats low = (kk_philox_ints)(words[g][p] & 0xffffu) < bound ? value : 0.0f;
    kk_philox_floats high = (kk_philox_ints)(words[g][p] >> 16) < bound ? value : 0.0f;
    memcpy(out, &low, sizeof low);
    memcpy(out + 16, &high, sizeof high);
  }
}
