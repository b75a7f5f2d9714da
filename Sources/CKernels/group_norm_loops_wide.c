// The loops of group normalisation over bfloat16 in registers of 64 bytes: a few pixels by 32 channels at a time, whose
// coefficients and sums stay in registers.
#include "group_norm_loops.h"

#if defined(__x86_64__) && !defined(KK_BASELINE)
#define TARGET __attribute__((target("arch=x86-64-v4"), min_vector_width(512)))
#define REGISTERS 8
#include "coarse_lanes.h"
#define NUMBER numbers
#define EXP2(T) coarse_exp2_of_numbers((T) > (numbers)126.0f ? (numbers)126.0f : (T))
#define RECIPROCAL(X) reciprocal_of_numbers(X)
#include "coarse.h"

// So many numbers lie in the first-level cache while one channel after the other is done.
enum { CHANNELS = 2 * KK_LANES, PIXELS = REGISTERS / 2, CHUNK = 4096 };
#define UPPER 0xffff0000u
#define EACH_REGISTER _Pragma("unroll") for (int i = 0; i < REGISTERS; i++)

// Of 32 channels the even ones, which lie in the lower halves of 32 bits, and the odd ones.
typedef struct {
  kk_lanes part[2];
} channels_of;
typedef kk_lane_bits words;

KK_INLINE TARGET channels_of load_channels(const float *from) {
  const kk_lanes x = KK_LOAD(from), y = KK_LOAD(from + KK_LANES);
  return (channels_of){{
      __builtin_shufflevector(x, y, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
      __builtin_shufflevector(x, y, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31),
  }};
}

KK_INLINE TARGET void add_channels(float *to, const channels_of *x) {
  const kk_lanes lower = __builtin_shufflevector(
      x->part[0], x->part[1], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const kk_lanes upper = __builtin_shufflevector(
      x->part[0], x->part[1], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  KK_STORE(to, KK_LOAD(to) + lower);
  KK_STORE(to + KK_LANES, KK_LOAD(to + KK_LANES) + upper);
}

// Asks for the same of the next chunk too: no processor looks ahead by rows that lie apart.
KK_INLINE TARGET parted_numbers load_pixels(const uint16_t *x, long channels) {
  parted_numbers y;
  _Pragma("unroll") for (int p = 0; p < PIXELS; p++) {
    const words pairs = *(const words *)(x + p * channels);
    __builtin_prefetch(x + p * channels + CHUNK);
    y.parts[2 * p] = (kk_lanes)(pairs << 16);
    y.parts[2 * p + 1] = (kk_lanes)(pairs & UPPER);
  }
  return y;
}

// Rounds as kk_round_bf16.
KK_INLINE TARGET void store_pixels(uint16_t *y, long channels, const parted_numbers *x) {
  _Pragma("unroll") for (int p = 0; p < PIXELS; p++) {
    const words even = (words)x->parts[2 * p] + 0x8000u, odd = (words)x->parts[2 * p + 1] + 0x8000u;
    *(words *)(y + p * channels) = (even >> 16) | (odd & UPPER);
  }
}

// x a + b with coefficients per channel.
KK_INLINE TARGET parted_numbers scaled(const parted_numbers *x, const channels_of *a, const channels_of *b) {
  KK_CONTRACT
  parted_numbers y;
  EACH_REGISTER y.parts[i] = x->parts[i] * a->part[i % 2] + b->part[i % 2];
  return y;
}

static bool is_wide(long channels) { return channels % CHANNELS == 0 && kk_has_wide_registers(); }

// Runs over chunks of pixels, in each over channels c ..., in each over pixels, which lie at `at`.
#define EACH_CHUNK                                                                                           \
  const long chunk = kk_max(PIXELS, CHUNK / channels / PIXELS * PIXELS) * channels, all = pixels * channels;  \
  for (long first = 0; first < all; first += chunk)                                                          \
    for (long c = 0; c < channels; c += CHANNELS)
#define EACH_PIXEL for (long at = first + c; at < kk_min(all, first + chunk); at += PIXELS * channels)

KK_INLINE TARGET void add_sums(
    const uint16_t *x, long pixels, long channels, const float *center, float *sum, float *square) {
  KK_CONTRACT
  EACH_CHUNK {
    const channels_of k = load_channels(center + c);
    channels_of sums = {{(kk_lanes)0.0f, (kk_lanes)0.0f}}, squares = sums;
    EACH_PIXEL {
      parted_numbers d = load_pixels(x + at, channels);
      EACH_REGISTER {
        d.parts[i] -= k.part[i % 2];
        sums.part[i % 2] += d.parts[i];
        squares.part[i % 2] += d.parts[i] * d.parts[i];
      }
    }
    add_channels(sum + c, &sums);
    add_channels(square + c, &squares);
  }
}

TARGET long kk_norm_sums_wide(
    const uint16_t *x, long pixels, long channels, const float *center, float *sum, float *square) {
  if (!is_wide(channels)) return 0;
  const long whole = pixels / PIXELS * PIXELS;
  add_sums(x, whole, channels, center, sum, square);
  return whole;
}

KK_INLINE TARGET void apply(
    const uint16_t *x, uint16_t *y, long pixels, long channels, const float *a, const float *b, const bool silu) {
  EACH_CHUNK {
    const channels_of ka = load_channels(a + c), kb = load_channels(b + c);
    EACH_PIXEL {
      const parted_numbers from = load_pixels(x + at, channels);
      parted_numbers z = scaled(&from, &ka, &kb);
      if (silu) z.all = coarse_silu(z.all);
      store_pixels(y + at, channels, &z);
    }
  }
}

TARGET long kk_norm_apply_wide(
    const uint16_t *x, uint16_t *y, long pixels, long channels, const float *a, const float *b, bool silu) {
  if (!is_wide(channels)) return 0;
  const long whole = pixels / PIXELS * PIXELS;
  if (silu) apply(x, y, whole, channels, a, b, true);
  else apply(x, y, whole, channels, a, b, false);
  return whole;
}

KK_INLINE TARGET void gradient_sums(
    const uint16_t *x, const uint16_t *dy, uint16_t *dz_out, long pixels, long channels,
    const struct kk_norm_slopes *k, float *const sums[3], const bool silu, const bool keeps) {
  KK_CONTRACT
  EACH_CHUNK {
    const channels_of a = load_channels(k->a + c), b = load_channels(k->b + c);
    const channels_of r = load_channels(k->r + c), m = load_channels(k->m + c);
    channels_of s0 = {{(kk_lanes)0.0f, (kk_lanes)0.0f}}, s1 = s0, s2 = s0;
    EACH_PIXEL {
      const parted_numbers from = load_pixels(x + at, channels);
      parted_numbers d = load_pixels(dy + at, channels);
      if (silu) d.all *= coarse_silu_slope(scaled(&from, &a, &b).all);
      if (keeps) store_pixels(dz_out + at, channels, &d);
      EACH_REGISTER {
        const kk_lanes h = from.parts[i] * r.part[i % 2] + m.part[i % 2];
        s0.part[i % 2] += d.parts[i];
        s1.part[i % 2] += d.parts[i] * h;
        s2.part[i % 2] += h;
      }
    }
    add_channels(sums[0] + c, &s0);
    add_channels(sums[1] + c, &s1);
    add_channels(sums[2] + c, &s2);
  }
}

TARGET long kk_norm_gradient_sums_wide(
    const uint16_t *x, const uint16_t *dy, uint16_t *dz_out, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu, float *const sums[3]) {
  if (!is_wide(channels)) return 0;
  const long whole = pixels / PIXELS * PIXELS;
  if (silu && dz_out) gradient_sums(x, dy, dz_out, whole, channels, k, sums, true, true);
  else if (silu) gradient_sums(x, dy, NULL, whole, channels, k, sums, true, false);
  else gradient_sums(x, dy, NULL, whole, channels, k, sums, false, false);
  return whole;
}

KK_INLINE TARGET void gradient_apply(
    const uint16_t *x, const uint16_t *dy, const uint16_t *residual, uint16_t *dx, long pixels, long channels,
    const struct kk_norm_slopes *k, const bool silu, const bool adds) {
  KK_CONTRACT
  EACH_CHUNK {
    const channels_of a = load_channels(k->a + c), b = load_channels(k->b + c);
    const channels_of q = load_channels(k->q + c), s = load_channels(k->s + c);
    EACH_PIXEL {
      const parted_numbers from = load_pixels(x + at, channels);
      parted_numbers d = load_pixels(dy + at, channels);
      if (silu) d.all *= coarse_silu_slope(scaled(&from, &a, &b).all);
      const parted_numbers rest = scaled(&from, &q, &s);
      EACH_REGISTER d.parts[i] = d.parts[i] * a.part[i % 2] + rest.parts[i];
      if (adds) d.all += load_pixels(residual + at, channels).all;
      store_pixels(dx + at, channels, &d);
    }
  }
}

TARGET long kk_norm_gradient_apply_wide(
    const uint16_t *x, const uint16_t *dy, const uint16_t *residual, uint16_t *dx, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu) {
  if (!is_wide(channels)) return 0;
  const long whole = pixels / PIXELS * PIXELS;
  if (silu && residual) gradient_apply(x, dy, residual, dx, whole, channels, k, true, true);
  else if (silu) gradient_apply(x, dy, NULL, dx, whole, channels, k, true, false);
  else if (residual) gradient_apply(x, dy, residual, dx, whole, channels, k, false, true);
  else gradient_apply(x, dy, NULL, dx, whole, channels, k, false, false);
  return whole;
}
#else
long kk_norm_sums_wide(
    const uint16_t *x, long pixels, long channels, const float *center, float *sum, float *square) {
  (void)x, (void)pixels, (void)channels, (void)center, (void)sum, (void)square;
  return 0;
}

long kk_norm_apply_wide(
    const uint16_t *x, uint16_t *y, long pixels, long channels, const float *a, const float *b, bool silu) {
  (void)x, (void)y, (void)pixels, (void)channels, (void)a, (void)b, (void)silu;
  return 0;
}

long kk_norm_gradient_sums_wide(
    const uint16_t *x, const uint16_t *dy, uint16_t *dz_out, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu, float *const sums[3]) {
  (void)x, (void)dy, (void)dz_out, (void)pixels, (void)channels, (void)k, (void)silu, (void)sums;
  return 0;
}

long kk_norm_gradient_apply_wide(
    const uint16_t *x, const uint16_t *dy, const uint16_t *residual, uint16_t *dx, long pixels, long channels,
    const struct kk_norm_slopes *k, bool silu) {
  (void)x, (void)dy, (void)residual, (void)dx, (void)pixels, (void)channels, (void)k, (void)silu;
  return 0;
}
#endif
