#include "gemm_tiles.h"

#if defined(__x86_64__) && !defined(KK_BASELINE)
#include <immintrin.h>

#define KK_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define KK_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

bool kk_gemm_is_available(kk_dtype type) {
  bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return wide && (type == KK_F32 || (type == KK_BF16 && __builtin_cpu_supports("avx512bf16")));
}

// MARK: Tiles

// y = x a b + y: the compiler sees a constant number of rows and keeps the sums in registers.
#define TILE(NAME, TARGET, BROADCAST, MULTIPLY_ADD)                                                          \
  static inline __attribute__((always_inline)) TARGET void NAME(                                             \
      const int rows, int64_t steps, const float *restrict a, const float *restrict b, float *restrict c,    \
      int64_t c_row, bool add) {                                                                             \
    __m512 sums[KK_TILE_ROWS][2];                                                                            \
    for (int i = 0; i < rows; i++) sums[i][0] = sums[i][1] = _mm512_setzero_ps();                            \
    for (int64_t p = 0; p < steps; p++) {                                                                    \
      __m512 b0 = _mm512_load_ps(b + p * KK_TILE_COLUMNS), b1 = _mm512_load_ps(b + p * KK_TILE_COLUMNS + 16); \
      _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {                                    \
        __m512 x = BROADCAST(a[p * KK_TILE_ROWS + i]);                                                       \
        sums[i][0] = MULTIPLY_ADD(x, b0, sums[i][0]);                                                        \
        sums[i][1] = MULTIPLY_ADD(x, b1, sums[i][1]);                                                        \
      }                                                                                                      \
    }                                                                                                        \
    for (int i = 0; i < rows; i++) {                                                                         \
      float *y = c + i * c_row;                                                                              \
      for (int half = 0; half < 2; half++) {                                                                 \
        __m512 sum = sums[i][half];                                                                          \
        if (add) sum = _mm512_add_ps(sum, _mm512_loadu_ps(y + 16 * half));                                   \
        _mm512_storeu_ps(y + 16 * half, sum);                                                                \
      }                                                                                                      \
    }                                                                                                        \
  }
#define DOT(X, B, SUM) _mm512_dpbf16_ps(SUM, (__m512bh)(X), (__m512bh)(B))
TILE(tile_f32, KK_AVX512, _mm512_set1_ps, _mm512_fmadd_ps)
TILE(tile_bf16, KK_AVX512_BF16, _mm512_set1_ps, DOT)

#define ARGUMENTS steps, a, b, c, c_row, add
#define ROWS(N)                                                                                              \
  case N: tile(N, ARGUMENTS); break;
#define EACH_COUNT                                                                                           \
  ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12) ROWS(13)  \
  ROWS(14)
#define PARAMETERS                                                                                           \
  int64_t rows, int64_t steps, const float *a, const float *b, float *c, int64_t c_row, bool add

#define tile tile_f32
static KK_AVX512 void run_f32(PARAMETERS) {
  switch (rows) { EACH_COUNT }
}
#undef tile
#define tile tile_bf16
static KK_AVX512_BF16 void run_bf16(PARAMETERS) {
  switch (rows) { EACH_COUNT }
}
#undef tile

void kk_gemm_tile(
    kk_dtype type, int64_t rows, int64_t steps, const float *a, const float *b, float *c, int64_t c_row, bool add) {
  if (type == KK_F32) run_f32(rows, ARGUMENTS);
  else run_bf16(rows, ARGUMENTS);
}

// MARK: Panels

// Rows i and i + 8 interleaved four times: bit 3 of the row number becomes bit 0 of the column, and so on.
static inline __attribute__((always_inline)) KK_AVX512 void transpose(__m512 r[16]) {
  __m512 s[16];
#define INTERLEAVE(FROM, TO)                                                                                 \
  for (int i = 0; i < 8; i++) {                                                                              \
    TO[2 * i] = __builtin_shufflevector(                                                                     \
        FROM[i], FROM[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);                       \
    TO[2 * i + 1] = __builtin_shufflevector(                                                                 \
        FROM[i], FROM[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);                 \
  }
  INTERLEAVE(r, s) INTERLEAVE(s, r) INTERLEAVE(r, s) INTERLEAVE(s, r)
#undef INTERLEAVE
}

KK_INLINE uint32_t first_bits(int64_t count) { return count >= 32 ? ~0u : count <= 0 ? 0 : (1u << count) - 1; }

static const char *element(const struct kk_lines *l, const char *source, int64_t line, int64_t at) {
  return kk_at(source, l->stored, line * l->line + at * l->along);
}

#define PANELS(SUFFIX, TARGET, TYPE, STORED, ALONG, ACROSS)                                                  \
  /* Sixteen steps of a line that is dense along k, of which `left` numbers are there. */                    \
  static inline __attribute__((always_inline)) TARGET __m512 along_##SUFFIX(const char *s, int64_t left) {   \
    ALONG                                                                                                    \
  }                                                                                                          \
  /* A step of sixteen lines that are dense across, of which `lines` are there. */                           \
  static inline __attribute__((always_inline)) TARGET __m512 across_##SUFFIX(                                \
      const char *s, const char *next, int64_t lines) {                                                      \
    ACROSS                                                                                                   \
  }                                                                                                          \
  static TARGET void pack_##SUFFIX(                                                                          \
      const struct kk_lines *l, const char *source, int64_t lines, int64_t k, int64_t width, float *out) {   \
    const int64_t numbers = TYPE == KK_BF16 ? 2 : 1, steps = kk_steps(TYPE, k);                              \
    for (int64_t first = 0; first < width; first += 16) {                                                    \
      int64_t count = kk_max(0, kk_min(16, lines - first));                                                  \
      if (l->along == 1) {                                                                                   \
        for (int64_t p = 0; p < steps; p += 16) {                                                            \
          __m512 r[16];                                                                                      \
          for (int64_t i = 0; i < 16; i++)                                                                   \
            r[i] = i < count ? along_##SUFFIX(element(l, source, first + i, p * numbers), k - p * numbers)   \
                             : _mm512_setzero_ps();                                                          \
          transpose(r);                                                                                      \
          for (int64_t i = 0; i < kk_min(16, steps - p); i++)                                                \
            _mm512_storeu_ps(out + (p + i) * width + first, r[i]);                                           \
        }                                                                                                    \
      } else {                                                                                               \
        for (int64_t p = 0; p < steps; p++) {                                                                \
          const char *s = element(l, source, first, p * numbers);                                            \
          const char *next = numbers * p + 1 < k ? s + l->along * (int64_t)kk_dtype_size(STORED) : NULL;     \
          /* The panel after this one starts in the same cache line or the next. */                          \
          __builtin_prefetch(s + 64);                                                                        \
          _mm512_storeu_ps(out + p * width + first, across_##SUFFIX(s, next, count));                        \
        }                                                                                                    \
      }                                                                                                      \
    }                                                                                                        \
  }

#define FLOATS(S, COUNT) _mm512_maskz_loadu_ps((__mmask16)first_bits(COUNT), S)
#define HALVES(S, COUNT) _mm256_maskz_loadu_epi16((__mmask16)first_bits(COUNT), S)
#define PAIRED(LOW, HIGH)                                                                                    \
  (__m512)_mm512_or_si512(                                                                                   \
      _mm512_cvtepu16_epi32(LOW), _mm512_slli_epi32(_mm512_cvtepu16_epi32(HIGH), 16))
#define ROUNDED(S, COUNT) (__m256i) _mm512_cvtneps_pbh(FLOATS(S, COUNT))

PANELS(f32, KK_AVX512, KK_F32, KK_F32, return FLOATS(s, left);, (void)next; return FLOATS(s, lines);)
PANELS(
    bf16, KK_AVX512_BF16, KK_BF16, KK_BF16, return (__m512)_mm512_maskz_loadu_epi16(first_bits(left), s);,
    return PAIRED(HALVES(s, lines), next ? HALVES(next, lines) : _mm256_setzero_si256());)
PANELS(
    rounded, KK_AVX512_BF16, KK_BF16, KK_F32,
    return (__m512)_mm512_cvtne2ps_pbh(FLOATS(s + 64, left - 16), FLOATS(s, left));
    , return PAIRED(ROUNDED(s, lines), next ? ROUNDED(next, lines) : _mm256_setzero_si256());)

void kk_pack_panel(
    const struct kk_lines *l, const void *source, int64_t lines, int64_t k, int64_t width, float *out) {
  if (l->type == KK_F32) pack_f32(l, source, lines, k, width, out);
  else if (l->stored == KK_BF16) pack_bf16(l, source, lines, k, width, out);
  else pack_rounded(l, source, lines, k, width, out);
}

#else

bool kk_gemm_is_available(kk_dtype type) { return false; }

void kk_pack_panel(
    const struct kk_lines *l, const void *source, int64_t lines, int64_t k, int64_t width, float *out) {
  kk_fail("kk_pack_panel", "needs AVX-512");
}

void kk_gemm_tile(
    kk_dtype type, int64_t rows, int64_t steps, const float *a, const float *b, float *c, int64_t c_row, bool add) {
  kk_fail("kk_gemm_tile", "needs AVX-512");
}

#endif
