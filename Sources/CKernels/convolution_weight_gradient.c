// dw[k, c, r, s] = sum of dy[n, y, x, k] x[n, y + r, x + s, c], by vdpbf16ps, which adds two products at a time: those of
// two images at one place, so that a tap of the kernel is an offset into the same pairs and border places are left out.
//
// A worker has a range of channels c. For 64 channels k and a chunk of places it writes both operands as pairs, and keeps the
// sums of 6 x 64 or 12 x 32 of a tap's numbers in registers while it goes over the chunk.
#include "ckernels/convolution.h"

#include "common.h"
#include "transpose.h"

enum { BLOCK = 64, WIDEST = 12, CHUNK = 1024, UNIT = 2, GRAIN = 4 };

struct job {
  const kk_convolution *g;
  const uint16_t *x, *dy;
  float *dw;
  char *scratch;
  int64_t rows, pairs;  // of dy in a chunk: all rows, or one pair's
};

/// Some rows of some pairs of images.
struct chunk {
  int64_t first, pairs;  // the first pair, and how many
  int64_t y0, y1;        // rows of dy
  int64_t x0, x1;        // rows of x that they see
};

/// Where a tap finds its operands: distances in numbers of bf16.
struct span {
  int64_t pairs, rows, count;
  int64_t x_pair, x_row, x_step, dy_pair, dy_row;
};

static int64_t taps(const kk_convolution *g) { return g->kh * g->kw; }

static int64_t pairs_of(const kk_convolution *g) { return (g->n + 1) / 2; }

static void choose_chunk(struct job *j) {
  const kk_convolution *g = j->g;
  j->rows = kk_min(g->out_h, kk_max(1, CHUNK / g->out_w));
  j->pairs = j->rows < g->out_h ? 1 : kk_min(pairs_of(g), kk_max(1, CHUNK / (g->out_h * g->out_w)));
}

static int64_t input_rows(const kk_convolution *g, int64_t rows) {
  return kk_min(g->h, (rows - 1) * g->stride_h + (g->kh - 1) * g->dilation_h + 1);
}

/// Bytes of a worker: pairs of dy, pairs of x, sums.
static void sizes(const struct job *j, int64_t bytes[3]) {
  const kk_convolution *g = j->g;
  bytes[0] = j->pairs * j->rows * g->out_w * BLOCK * 4;
  bytes[1] = (j->pairs * input_rows(g, j->rows) * g->w * WIDEST * 4 + 63) / 64 * 64;
  bytes[2] = (g->c + WIDEST) * taps(g) * BLOCK * 4;
}

int64_t kk_convolution_scratch(const kk_convolution *convolution) {
  struct job j = {.g = convolution};
  choose_chunk(&j);
  int64_t bytes[3];
  sizes(&j, bytes);
  return kk_threads() * (bytes[0] + bytes[1] + bytes[2]) + 64;
}

/// How many channels the next panel has when `rest` are left, so that few sums of a panel are for nothing and none is so
/// small that the additions wait for each other.
static int64_t panel_width(int64_t rest, int64_t vectors) {
  if (vectors > 2) return rest <= 4 || rest == 8 ? 4 : 6;
  return rest <= 4 ? 4 : rest <= 8 || rest == 16 ? 8 : 12;
}

#if defined(__x86_64__) && !defined(KK_BASELINE)
#include <immintrin.h>

#define TARGET __attribute__((target("arch=x86-64-v4,avx512bf16"), min_vector_width(512)))

/// to[place][channel][2] of `places` places of two images, `count` channels from the first on; NULL counts as zeros.
TARGET static void pair_gradients(
    uint16_t *to, const uint16_t *a, const uint16_t *b, int64_t places, int64_t pitch, int64_t count) {
  const int64_t vectors = kk_ceil_div(count, 16);
  for (int64_t p = 0; p < places; p++, a += pitch, b += b ? pitch : 0)
    for (int64_t v = 0; v < vectors; v++, to += 32) {
      const __mmask16 mask = (__mmask16)(0xffff >> kk_max(0, 16 * (v + 1) - count));
      const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, a + 16 * v));
      const __m512i high =
          b ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, b + 16 * v)) : _mm512_setzero_si512();
      _mm512_store_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

/// The same for a panel of `width` channels, `count` of which there are.
TARGET static void pair_inputs(
    uint16_t *to, const uint16_t *a, const uint16_t *b, int64_t places, int64_t pitch, int64_t width,
    int64_t count) {
  for (int64_t p = 0; p < places; p++, a += pitch, b += b ? pitch : 0, to += 2 * width)
    for (int64_t c = 0; c < width; c += 8) {
      const __mmask8 mask = (__mmask8)(0xff >> kk_min(8, kk_max(0, c + 8 - count)));
      const __m128i low = _mm_maskz_loadu_epi16(mask, a + c);
      const __m128i high = b ? _mm_maskz_loadu_epi16(mask, b + c) : _mm_setzero_si128();
      const __m128i last = _mm_unpackhi_epi16(low, high);
      _mm_storeu_si128((__m128i *)(to + 2 * c), _mm_unpacklo_epi16(low, high));
      if (width - c >= 8) _mm_storeu_si128((__m128i *)(to + 2 * c + 8), last);
      else if (width - c == 6) _mm_storel_epi64((__m128i *)(to + 2 * c + 8), last);
    }
}

/// sums (M, 16 V), M rows `pitch` apart, (+)= the products over a span.
#define TILE(M, V)                                                                                           \
  TARGET static void tile_##M##_##V(                                                                         \
      float *sums, int64_t pitch, bool adds, const uint16_t *x, const uint16_t *dy, const struct span *s) {  \
    __m512 sum[M][V];                                                                                        \
    _Pragma("unroll") for (int m = 0; m < M; m++)                                                            \
        _Pragma("unroll") for (int v = 0; v < V; v++)                                                        \
            sum[m][v] = adds ? _mm512_load_ps(sums + m * pitch + 16 * v) : _mm512_setzero_ps();              \
    for (int64_t pair = 0; pair < s->pairs; pair++)                                                          \
      for (int64_t row = 0; row < s->rows; row++) {                                                          \
        const uint16_t *from = x + pair * s->x_pair + row * s->x_row;                                        \
        const uint16_t *by = dy + pair * s->dy_pair + row * s->dy_row;                                       \
        for (int64_t i = 0; i < s->count; i++, from += s->x_step, by += 32 * V) {                            \
          __m512bh d[V];                                                                                     \
          _Pragma("unroll") for (int v = 0; v < V; v++) d[v] = (__m512bh)_mm512_load_si512(by + 32 * v);     \
          _Pragma("unroll") for (int m = 0; m < M; m++) {                                                    \
            int pair_of_x;                                                                                   \
            memcpy(&pair_of_x, from + 2 * m, 4);                                                             \
            const __m512bh factor = (__m512bh)_mm512_set1_epi32(pair_of_x);                                  \
            _Pragma("unroll") for (int v = 0; v < V; v++)                                                    \
                sum[m][v] = _mm512_dpbf16_ps(sum[m][v], d[v], factor);                                       \
          }                                                                                                  \
        }                                                                                                    \
      }                                                                                                      \
    _Pragma("unroll") for (int m = 0; m < M; m++)                                                            \
        _Pragma("unroll") for (int v = 0; v < V; v++)                                                        \
            _mm512_store_ps(sums + m * pitch + 16 * v, sum[m][v]);                                           \
  }
TILE(4, 1) TILE(8, 1) TILE(12, 1) TILE(4, 2) TILE(8, 2) TILE(12, 2) TILE(4, 3) TILE(6, 3) TILE(4, 4) TILE(6, 4)

typedef void (*tile)(float *, int64_t, bool, const uint16_t *, const uint16_t *, const struct span *);
static const tile tiles[4][WIDEST + 1] = {
    {[4] = tile_4_1, [8] = tile_8_1, [12] = tile_12_1}, {[4] = tile_4_2, [8] = tile_8_2, [12] = tile_12_2},
    {[4] = tile_4_3, [6] = tile_6_3}, {[4] = tile_4_4, [6] = tile_6_4}};

/// The first place o of a row or column at or after `low` for which o stride + offset >= 0.
static int64_t first_place(int64_t low, int64_t stride, int64_t offset) {
  return offset >= 0 ? low : kk_max(low, kk_ceil_div(-offset, stride));
}

/// The place behind the last one before `high` for which o stride + offset < size.
static int64_t last_place(int64_t high, int64_t stride, int64_t offset, int64_t size) {
  return offset >= size ? 0 : kk_min(high, (size - 1 - offset) / stride + 1);
}

/// All taps of a panel over a chunk.
static void add_panel(
    const struct job *j, const struct chunk *k, float *sums, bool adds, const uint16_t *x, const uint16_t *dy,
    int64_t width, int64_t vectors) {
  const kk_convolution *g = j->g;
  const tile tile = tiles[vectors - 1][width];
  struct span s = {.pairs = k->pairs};
  s.x_row = g->stride_h * g->w * width * 2;
  s.x_pair = (k->x1 - k->x0) * g->w * width * 2;
  s.x_step = g->stride_w * width * 2;
  s.dy_row = g->out_w * vectors * 32;
  s.dy_pair = (k->y1 - k->y0) * s.dy_row;
  for (int64_t tap = 0; tap < taps(g); tap++) {
    const int64_t down = tap / g->kw * g->dilation_h - g->pad_top;
    const int64_t right = tap % g->kw * g->dilation_w - g->pad_left;
    const int64_t top = first_place(k->y0, g->stride_h, down), left = first_place(0, g->stride_w, right);
    s.rows = kk_max(0, last_place(k->y1, g->stride_h, down, g->h) - top);
    s.count = kk_max(0, last_place(g->out_w, g->stride_w, right, g->w) - left);
    const int64_t row = top * g->stride_h + down - k->x0, column = left * g->stride_w + right;
    const bool sees = s.rows > 0 && s.count > 0;
    tile(
        sums + tap * vectors * 16, taps(g) * vectors * 16, adds,
        sees ? x + (row * g->w + column) * width * 2 : x,
        sees ? dy + (top - k->y0) * s.dy_row + left * vectors * 32 : dy, &s);
  }
}

/// The same place of two images; NULL where there is no second one.
struct images {
  const uint16_t *a, *b;
};

static struct images images_of(const uint16_t *base, int64_t pair, int64_t n, int64_t size, int64_t offset) {
  const uint16_t *a = base + 2 * pair * size + offset;
  return (struct images){a, 2 * pair + 1 < n ? a + size : NULL};
}

/// The numbers [first, end) x [from, from + BLOCK) of channels c and k.
static void add_chunk(
    const struct job *j, const struct chunk *k, int64_t first, int64_t end, int64_t from, bool adds,
    char *const memory[3]) {
  const kk_convolution *g = j->g;
  const int64_t count = kk_min(BLOCK, g->k - from), vectors = kk_ceil_div(count, 16);
  const int64_t dy_places = (k->y1 - k->y0) * g->out_w, x_places = (k->x1 - k->x0) * g->w;
  uint16_t *dy = (uint16_t *)memory[0], *x = (uint16_t *)memory[1];
  float *sums = (float *)memory[2];
  for (int64_t p = 0; p < k->pairs; p++) {
    const int64_t row = g->out_w * g->k;
    const struct images i = images_of(j->dy, k->first + p, g->n, g->out_h * row, k->y0 * row + from);
    pair_gradients(dy + p * dy_places * vectors * 32, i.a, i.b, dy_places, g->k, count);
  }
  for (int64_t c = first, width; c < end; c += width, sums += width * taps(g) * vectors * 16) {
    width = panel_width(end - c, vectors);
    for (int64_t p = 0; p < k->pairs; p++) {
      const int64_t row = g->w * g->c;
      const struct images i = images_of(j->x, k->first + p, g->n, g->h * row, k->x0 * row + c);
      pair_inputs(x + p * x_places * width * 2, i.a, i.b, x_places, g->c, width, kk_min(width, end - c));
    }
    add_panel(j, k, sums, adds, x, dy, width, vectors);
  }
}

static void add_channels(long begin, long stop, int worker, void *context) {
  const struct job *j = context;
  const kk_convolution *g = j->g;
  const int64_t first = begin * UNIT, end = kk_min(stop * UNIT, g->c);
  int64_t bytes[3];
  sizes(j, bytes);
  char *memory = j->scratch + worker * (bytes[0] + bytes[1] + bytes[2]);
  char *const parts[3] = {memory, memory + bytes[0], memory + bytes[0] + bytes[1]};
  for (int64_t from = 0; from < g->k; from += BLOCK) {
    bool adds = false;
    for (int64_t pair = 0; pair < pairs_of(g); pair += j->pairs)
      for (int64_t y = 0; y < g->out_h; y += j->rows, adds = true) {
        struct chunk k = {pair, kk_min(j->pairs, pairs_of(g) - pair), y, kk_min(y + j->rows, g->out_h), 0, 0};
        k.x0 = kk_max(0, y * g->stride_h - g->pad_top);
        const int64_t below = (k.y1 - 1) * g->stride_h + (g->kh - 1) * g->dilation_h - g->pad_top + 1;
        k.x1 = kk_max(k.x0, kk_min(g->h, below));
        add_chunk(j, &k, first, end, from, adds, parts);
      }
    const int64_t count = kk_min(BLOCK, g->k - from), vectors = kk_ceil_div(count, 16), pitch = 16 * vectors;
    const float *sums = (const float *)parts[2];
    for (int64_t c = first, width; c < end; c += width, sums += width * taps(g) * pitch) {
      width = panel_width(end - c, vectors);
      kk_transpose_tile(
          j->dw + (from * g->c + c) * taps(g), g->c * taps(g), sums, pitch, count,
          kk_min(width, end - c) * taps(g), sizeof(float));
    }
  }
}

void kk_convolution_weight_gradient(
    const kk_convolution *convolution, const void *x, const void *dy, float *dw, void *scratch) {
  struct job j = {.g = convolution, .x = x, .dy = dy, .dw = dw};
  j.scratch = (char *)(((uintptr_t)scratch + 63) / 64 * 64);
  choose_chunk(&j);
  kk_parallel_for(kk_ceil_div(convolution->c, UNIT), GRAIN, add_channels, &j);
}
#else
void kk_convolution_weight_gradient(
    const kk_convolution *convolution, const void *x, const void *dy, float *dw, void *scratch) {
  (void)convolution, (void)x, (void)dy, (void)dw, (void)scratch;
  kk_fail("kk_convolution_weight_gradient", "this processor multiplies no pairs");
}
#endif
