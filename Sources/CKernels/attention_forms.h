// Private: operands of attention in the forms that its products read (attention_loops.h), and results; a template.
// UNIT_NUMBERS is 2 where a unit is a pair of bf16; ROUND(Y, X) rounds 16 numbers at X to bf16 at Y. TARGET is for functions
// that are inlined, FUNCTION for those that are not.
#include "attention_loops.h"

typedef uint16_t halves __attribute__((ext_vector_type(16), aligned(2)));
typedef uint16_t row_halves __attribute__((ext_vector_type(32), aligned(2)));
typedef kk_lane_bits words;

#define WORDS(P) (*(words *)(P))

// Numbers at ... of a row of n in f32, or of bf16 in the lower halves; from n on 0. (Vectors go by address: they are
// wider than what the callers' targets return in a register. A part has an address of its own: what memcpy is given does
// not stay in a register.)
KK_INLINE TARGET void load_floats(words *y, const char *row, long at, long n) {
  if (at + 16 <= n) {
    *y = WORDS(row + 4 * at);
  } else {
    words part = (words)0;
    memcpy(&part, row + 4 * at, (size_t)(n - at) * 4);
    *y = part;
  }
}

KK_INLINE TARGET void load_halves(words *y, const char *row, long at, long n) {
  if (at + 16 <= n) {
    *y = __builtin_convertvector(*(const halves *)(row + 2 * at), words);
  } else {
    halves part = (halves)0;
    memcpy(&part, row + 2 * at, (size_t)(n - at) * 2);
    *y = __builtin_convertvector(part, words);
  }
}

FUNCTION kk_unit_rows form_rows(
    const void *x, kk_dtype type, int64_t x_row, long count, long n, float *buffer) {
  if (type == KK_F32 || (UNIT_NUMBERS == 2 && n % 2 == 0)) return (kk_unit_rows){x, x_row};
  const int64_t row = kk_whole_lanes(n) * 4;
  for (long i = 0; i < count; i++) {
    char *y = (char *)buffer + i * row;
    const char *from = (const char *)x + i * x_row;
    if (UNIT_NUMBERS == 2) {
      memcpy(y, from, (size_t)n * 2);
      memset(y + n * 2, 0, 2);
    } else {
      for (long j = 0; j < n; j += 16) {
        words low;
        load_halves(&low, from, j, n);
        WORDS(y + 4 * j) = low << 16;
      }
    }
  }
  return (kk_unit_rows){buffer, row};
}

#define LOW(A, B)                                                                                            \
  __builtin_shufflevector(A, B, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(A, B)                                                                                           \
  __builtin_shufflevector(A, B, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

// Interleaving rows k and k + 8 four times moves bit 3 of the row number to bit 0 of the column, and so on.
#define INTERLEAVE(TO, FROM)                                                                                 \
  _Pragma("unroll") for (int k = 0; k < 8; k++) {                                                            \
    TO[2 * k] = LOW(FROM[k], FROM[k + 8]);                                                                   \
    TO[2 * k + 1] = HIGH(FROM[k], FROM[k + 8]);                                                              \
  }

// Rows 0 ..< count of 16, and their units at ...; y in rows of `pitch`.
KK_INLINE TARGET void transpose_block(
    float *y, int64_t pitch, const char *x, int64_t x_row, long count, long at, long units) {
  words r[16], s[16];
  if (count == 16 && at + 16 <= units) {
    _Pragma("unroll") for (int i = 0; i < 16; i++) r[i] = WORDS(x + i * x_row + 4 * at);
  } else {
    for (int i = 0; i < 16; i++) {
      r[i] = (words)0;
      if (i < count) load_floats(&r[i], x + i * x_row, at, units);
    }
  }
  INTERLEAVE(s, r)
  INTERLEAVE(r, s)
  INTERLEAVE(s, r)
  INTERLEAVE(r, s)
  if (at + 16 <= units) {
    _Pragma("unroll") for (int i = 0; i < 16; i++) WORDS(y + (at + i) * pitch) = r[i];
  } else {
    for (long i = 0; at + i < units; i++) WORDS(y + (at + i) * pitch) = r[i];
  }
}

FUNCTION void transpose_rows(float *y, kk_unit_rows x, long count, long units) {
  const long vectors = kk_ceil_div(count, 16);
  for (long panel = 0, at = 0; at < vectors; panel++) {
    const long width = kk_panel_vectors(vectors, panel);
    for (long v = 0; v < width; v++) {
      const long i = 16 * (at + v);
      for (long j = 0; j < units; j += 16)
        transpose_block(
            y + 16 * v, 16 * width, (const char *)x.rows + i * x.row, x.row, kk_min(16, count - i), j, units);
    }
    y += 16 * width * units;
    at += width;
  }
}

// Rows x and `next` (or none) interleaved, from number j on.
KK_INLINE TARGET void pair_numbers(words *y, const char *x, const char *next, long j, long n) {
  words upper;
  load_halves(y, x, j, n);
  if (next) load_halves(&upper, next, j, n), *y |= upper << 16;
}

// The same, 32 of each.
KK_INLINE TARGET void pair_wide(float *y, const char *x, const char *next) {
  const row_halves a = *(const row_halves *)x, b = *(const row_halves *)next;
  *(row_halves *)y = __builtin_shufflevector(
      a, b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45,
      14, 46, 15, 47);
  *(row_halves *)(y + 16) = __builtin_shufflevector(
      a, b, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60,
      29, 61, 30, 62, 31, 63);
}

// One panel's vectors of one unit of depth, from number j on.
KK_INLINE TARGET void pair_units(
    float *y, const char *x, const char *next, const kk_dtype type, long j, long n, long width) {
  for (long v = 0; v < width; v++, j += 16, y += 16) {
    if (UNIT_NUMBERS == 2 && next && v + 2 <= width && j + 32 <= n) {
      pair_wide(y, x + 2 * j, next + 2 * j);
      v++, j += 16, y += 16;
      continue;
    }
    words unit;
    if (type == KK_F32) load_floats(&unit, x, j, n);
    else if (UNIT_NUMBERS == 2) pair_numbers(&unit, x, next, j, n);
    else load_halves(&unit, x, j, n), unit <<= 16;
    WORDS(y) = unit;
  }
}

KK_INLINE TARGET void pair_typed(
    float *y, const char *x, const kk_dtype type, int64_t x_row, long count, long n) {
  const long vectors = kk_ceil_div(n, 16);
  for (long panel = 0, at = 0; at < vectors; panel++) {
    const long width = kk_panel_vectors(vectors, panel);
    for (long i = 0; i < count; i += UNIT_NUMBERS, y += 16 * width) {
      const char *row = x + i * x_row;
      pair_units(y, row, i + 1 < count ? row + x_row : NULL, type, 16 * at, n, width);
    }
    at += width;
  }
}

FUNCTION void pair_rows(float *y, const void *x, kk_dtype type, int64_t x_row, long count, long n) {
  if (type == KK_F32) pair_typed(y, x, KK_F32, x_row, count, n);
  else pair_typed(y, x, KK_BF16, x_row, count, n);
}

#ifndef ROUND
// As kk_to_bf16.
KK_INLINE TARGET void round_halves(halves *y, const kk_lanes *x) {
  const words bits = (words)*x;
  const words rounded = KK_NEAREST_BF16(bits) >> 16;
  *y = __builtin_convertvector(*x != *x ? (words)0x7fc0u : rounded, halves);
}
#define ROUND(Y, X) round_halves(Y, X)
#endif

// 16 numbers, or the first `count` of them.
KK_INLINE TARGET void store_floats(float *y, const kk_lanes *x, long count) {
  if (count >= 16) {
    KK_STORE(y, *x);
  } else {
    const kk_lanes part = *x;
    memcpy(y, &part, (size_t)count * 4);
  }
}

KK_INLINE TARGET void store_halves(uint16_t *y, const kk_lanes *x, long count) {
  halves rounded;
  ROUND(&rounded, x);
  if (count >= 16) {
    *(halves *)y = rounded;
  } else {
    const halves part = rounded;
    memcpy(y, &part, (size_t)count * 2);
  }
}

FUNCTION void store_rows(
    void *y, kk_dtype type, int64_t y_row, const float *x, long count, long n, const float *factors,
    long step) {
  for (long i = 0; i < count; i++, x += kk_whole_lanes(n)) {
    const float factor = factors[i * step];
    for (long j = 0; j < n; j += 16) {
      const kk_lanes scaled = KK_LOAD(x + j) * factor;
      if (type == KK_F32) store_floats((float *)y + i * y_row + j, &scaled, n - j);
      else store_halves((uint16_t *)y + i * y_row + j, &scaled, n - j);
    }
  }
}

// Numbers j ..< j + 16 of a row, to f32; from n on 0.
KK_INLINE TARGET void load_numbers(kk_lanes *y, const void *x, const kk_dtype type, long j, long n) {
  words bits;
  if (type == KK_F32) load_floats(&bits, x, j, n);
  else load_halves(&bits, x, j, n), bits <<= 16;
  *y = (kk_lanes)bits;
}

KK_INLINE TARGET void dot_typed(
    float *dots, const char *x, int64_t x_row, const char *y, int64_t y_row, const kk_dtype type, long count,
    long n) {
  KK_CONTRACT
  for (long i = 0; i < count; i++, x += x_row, y += y_row) {
    kk_lanes sum = (kk_lanes)0.0f;
    for (long j = 0; j < n; j += 16) {
      kk_lanes a, b;
      load_numbers(&a, x, type, j, n);
      load_numbers(&b, y, type, j, n);
      sum += a * b;
    }
    dots[i] = kk_sum_of(&sum);
  }
}

FUNCTION void dot_rows(
    float *dots, const void *x, int64_t x_row, const void *y, int64_t y_row, kk_dtype type, long count,
    long n) {
  if (type == KK_F32) dot_typed(dots, x, x_row, y, y_row, KK_F32, count, n);
  else dot_typed(dots, x, x_row, y, y_row, KK_BF16, count, n);
}
