#include "random.h"

#include "ckernels/probe.h"
#include "mathf.h"

enum { BLOCKS = 128, GRAIN = 1 << 13 };

KK_INLINE void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
    c[1] = (uint32_t)p1;
    c[3] = (uint32_t)p0;
    c[0] = n0;
    c[2] = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

void kk_philox(const kk_random *random, uint64_t b, uint32_t words[4]) {
  words[0] = (uint32_t)b;
  words[1] = (uint32_t)(b >> 32);
  words[2] = random->stream[0];
  words[3] = random->stream[1];
  philox(words, random->key[0], random->key[1]);
}

// Word k of the blocks first ..< first + BLOCKS, each in an array of its own: one block per vector lane.
KK_CLONES static void generate(const kk_random *random, uint64_t first, uint32_t words[4][BLOCKS]) {
  const uint32_t s0 = random->stream[0], s1 = random->stream[1], k0 = random->key[0], k1 = random->key[1];
  KK_INDEPENDENT for (long b = 0; b < BLOCKS; b++) {
    uint32_t c[4] = {(uint32_t)(first + (uint64_t)b), (uint32_t)((first + (uint64_t)b) >> 32), s0, s1};
    philox(c, k0, k1);
    for (int k = 0; k < 4; k++) words[k][b] = c[k];
  }
}

KK_INLINE float unit(uint32_t w) { return (float)(int32_t)(w >> 8) * 0x1p-24f; }

KK_CLONES static void uniform(float *out, const uint32_t words[4][BLOCKS], float low, float range) {
  for (long b = 0; b < BLOCKS; b++)
    for (int k = 0; k < 4; k++) out[4 * b + k] = low + range * unit(words[k][b]);
}

KK_CLONES static void normal(float *out, uint32_t words[4][BLOCKS], float mean, float deviation) {
  float z[4][BLOCKS];
  for (int pair = 0; pair < 4; pair += 2) {
    KK_INDEPENDENT for (long b = 0; b < BLOCKS; b++) {
      float u = (float)((int32_t)(words[pair][b] >> 8) + 1) * 0x1p-24f;
      float r = deviation * __builtin_elementwise_sqrt(-2.0f * kk_logf(u));
      float t = 6.283185307f * unit(words[pair + 1][b]);
      z[pair][b] = mean + r * kk_cosf(t);
      z[pair + 1][b] = mean + r * kk_sinf(t);
    }
  }
  for (long b = 0; b < BLOCKS; b++)
    for (int k = 0; k < 4; k++) out[4 * b + k] = z[k][b];
}

enum distribution { UNIFORM, NORMAL };

struct job {
  const kk_random *random;
  enum distribution distribution;
  int64_t n;
  char *out;
  kk_dtype type;
  float a, b;
};

static void run_blocks(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct job *j = context;
  uint32_t words[4][BLOCKS];
  float values[4 * BLOCKS];
  for (long block = begin; block < end; block++) {
    generate(j->random, (uint64_t)block * BLOCKS, words);
    if (j->distribution == UNIFORM) uniform(values, words, j->a, j->b - j->a);
    else normal(values, words, j->a, j->b);
    int64_t start = block * 4 * BLOCKS;
    kk_store_f32((void *)kk_at(j->out, j->type, start), j->type, 1, values, kk_min(4 * BLOCKS, j->n - start));
  }
}

static void run(
    const kk_random *random, enum distribution distribution, int64_t n, void *out, kk_dtype type, float a,
    float b) {
  struct job j = {random, distribution, n, out, type, a, b};
  kk_parallel_for(kk_ceil_div(n, 4 * BLOCKS), GRAIN / (4 * BLOCKS), run_blocks, &j);
}

void kk_random_uniform(const kk_random *random, int64_t n, void *out, kk_dtype type, float low, float high) {
  kk_require_f32_or_bf16("kk_random_uniform", type);
  run(random, UNIFORM, n, out, type, low, high);
}

void kk_random_normal(
    const kk_random *random, int64_t n, void *out, kk_dtype type, float mean, float deviation) {
  kk_require_f32_or_bf16("kk_random_normal", type);
  run(random, NORMAL, n, out, type, mean, deviation);
}

KK_CLONES void kk_keep_f32(const kk_keep *keep, uint64_t start, long n, float *out) {
  uint64_t group = start / KK_KEEP_GROUP;
  const long before = (long)(start % KK_KEEP_GROUP);
  if (before > 0 && n > 0) {
    float part[KK_KEEP_GROUP];
    const long count = kk_min(n, KK_KEEP_GROUP - before);
    kk_keep_groups(keep, group++, 1, part);
    memcpy(out, part + before, (size_t)count * sizeof *out);
    out += count;
    n -= count;
  }
  // With 16 registers of 32 bytes a group fills all of them.
  const long all = KK_MOST_KEEP_GROUPS * KK_KEEP_GROUP;
  if (kk_has_wide_registers())
    for (; n >= all; n -= all, out += all, group += KK_MOST_KEEP_GROUPS)
      kk_keep_groups(keep, group, KK_MOST_KEEP_GROUPS, out);
  for (; n >= KK_KEEP_GROUP; n -= KK_KEEP_GROUP, out += KK_KEEP_GROUP) kk_keep_groups(keep, group++, 1, out);
  if (n > 0) {
    float part[KK_KEEP_GROUP];
    kk_keep_groups(keep, group, 1, part);
    memcpy(out, part, (size_t)n * sizeof *out);
  }
}

struct truths {
  const kk_keep *keep;
  int64_t n;
  char *out;
  kk_dtype type;
};

static void run_truths(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct truths *j = context;
  float values[4 * BLOCKS];
  for (long block = begin; block < end; block++) {
    int64_t start = block * 4 * BLOCKS, n = kk_min(4 * BLOCKS, j->n - start);
    kk_keep_f32(j->keep, (uint64_t)start, n, values);
    kk_store_f32((void *)kk_at(j->out, j->type, start), j->type, 1, values, n);
  }
}

void kk_random_bernoulli(const kk_keep *keep, int64_t n, void *out, kk_dtype type) {
  if (type != KK_BOOL) kk_require_f32_or_bf16("kk_random_bernoulli", type);
  struct truths j = {keep, n, out, type};
  kk_parallel_for(kk_ceil_div(n, 4 * BLOCKS), GRAIN / (4 * BLOCKS), run_truths, &j);
}
