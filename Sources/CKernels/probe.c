#define _POSIX_C_SOURCE 200809L
#include "ckernels/probe.h"

#include <time.h>

#include "ckernels/memory.h"
#include "common.h"

enum { ROUNDS = 1 << 14, TRIAD = 1 << 24 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Independent chains, enough to hide the latency of the multiply-add: 128 lanes fill the registers of
// AVX-512, 64 those of narrower machines.
#define CHAINS(LANES)                                                                                        \
  {                                                                                                          \
    float sums[LANES];                                                                                       \
    for (int i = 0; i < LANES; i++) sums[i] = (float)i;                                                      \
    for (long r = 0; r < ROUNDS; r++)                                                                        \
      for (int i = 0; i < LANES; i++) sums[i] = sums[i] * factor + term;                                     \
    for (int i = 0; i < LANES; i++) out += sums[i];                                                          \
  }

KK_CLONES static float multiply_add(bool wide, float factor, float term) {
  KK_CONTRACT
  float out = 0;
  if (wide) CHAINS(128)
  else CHAINS(64)
  return out;
}

struct chains {
  bool wide;
  float results[256];
};

static void run_chains(long begin, long end, int worker, void *context) {
  struct chains *c = context;
  for (long k = begin; k < end; k++) c->results[worker] += multiply_add(c->wide, 0.999f, 1e-3f);
}

double kk_probe_gflops(double seconds) {
  double best = 0;
  struct chains c = {.wide = false};
  const long calls = 8L * kk_threads();
  for (double stop = now() + seconds; now() < stop; c.wide = !c.wide) {
    double start = now();
    kk_parallel_for(calls, 1, run_chains, &c);
    double flops = 2.0 * (c.wide ? 128 : 64) * ROUNDS * (double)calls;
    double rate = flops / (now() - start) * 1e-9;
    best = rate > best ? rate : best;
  }
  // Never true; the results must look used.
  return c.results[0] == -1.0f ? 0 : best;
}

struct triad {
  float *a, *b, *c;
};

KK_CLONES static void triad_loop(float *a, const float *b, const float *c, long n) {
  KK_CONTRACT
  KK_INDEPENDENT for (long i = 0; i < n; i++) a[i] = b[i] + 3.0f * c[i];
}

static void run_triad(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct triad *t = context;
  triad_loop(t->a + begin, t->b + begin, t->c + begin, end - begin);
}

// Pages that nobody wrote share one page of zeros, and reading that is no measure.
static void write_ones(long begin, long end, int worker, void *context) {
  (void)worker;
  for (long i = begin; i < end; i++) ((float *)context)[i] = 1;
}

double kk_probe_bandwidth(double seconds) {
  const size_t bytes = TRIAD * sizeof(float);
  float *memory = kk_arena_allocate(3 * bytes);
  if (!memory) return 0;
  struct triad t = {memory, memory + TRIAD, memory + 2 * TRIAD};
  kk_parallel_for(3L * TRIAD, 1 << 16, write_ones, memory);
  double best = 0;
  for (double stop = now() + seconds; now() < stop;) {
    double start = now();
    kk_parallel_for(TRIAD, 1 << 16, run_triad, &t);
    double rate = 3.0 * (double)bytes / (now() - start) * 1e-9;
    best = rate > best ? rate : best;
  }
  kk_arena_free(memory, 3 * bytes);
  return best;
}

const char *kk_probe_level(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
  return "x86-64";
#elif defined(__aarch64__)
  return "arm64";
#else
  return "unknown";
#endif
}

bool kk_has_wide_registers(void) {
#if defined(__x86_64__) && !defined(KK_BASELINE)
  return __builtin_cpu_supports("x86-64-v4");
#else
  return false;
#endif
}

bool kk_has_pair_products(void) {
#if defined(__x86_64__) && !defined(KK_BASELINE)
  return kk_has_wide_registers() && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}
