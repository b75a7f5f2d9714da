#include "attention_forms.h"

typedef uint16_t halves __attribute__((ext_vector_type(16), aligned(2)));
typedef kk_lane_bits words;

#define WORDS(P) (*(words *)(P))

// Numbers at ... of a row of n in f32, or of bf16 in the lower halves; from n on 0. (Vectors go by address: they are
// wider than what the callers' targets return in a register.)
KK_INLINE void load_floats(words *y, const char *row, long at, long n) {
  *y = (words)0;
  if (at + 16 <= n) *y = WORDS(row + 4 * at);
  else memcpy(y, row + 4 * at, (size_t)(n - at) * 4);
}

KK_INLINE void load_halves(words *y, const char *row, long at, long n) {
  halves x = (halves)0;
  if (at + 16 <= n) x = *(const halves *)(row + 2 * at);
  else memcpy(&x, row + 2 * at, (size_t)(n - at) * 2);
  *y = __builtin_convertvector(x, words);
}

KK_CLONES static void widen_rows(float *y, const char *x, int64_t x_row, long count, long n) {
  for (long i = 0; i < count; i++)
    for (long j = 0; j < n; j += 16) {
      words low;
      load_halves(&low, x + i * x_row, j, n);
      WORDS(y + i * kk_whole_lanes(n) + j) = low << 16;
    }
}

kk_unit_rows kk_form_rows(
    const void *x, kk_dtype type, int64_t x_row, long count, long n, bool pairs, float *buffer) {
  if (type == KK_F32 || (pairs && n % 2 == 0)) return (kk_unit_rows){x, x_row};
  const int64_t row = kk_whole_lanes(n) * 4;
  if (pairs) {
    for (long i = 0; i < count; i++) {
      char *y = (char *)buffer + i * row;
      memcpy(y, (const char *)x + i * x_row, (size_t)n * 2);
      memset(y + n * 2, 0, 2);
    }
  } else {
    widen_rows(buffer, x, x_row, count, n);
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
KK_INLINE void transpose_block(
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

KK_CLONES void kk_form_transposed(float *y, kk_unit_rows x, long count, long units) {
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

KK_INLINE void pair_rows(
    float *y, const char *x, kk_dtype type, int64_t x_row, long count, long n, const bool pairs) {
  const long vectors = kk_ceil_div(n, 16), depth = kk_units(count, pairs);
  for (long panel = 0, at = 0; at < vectors; panel++) {
    const long width = kk_panel_vectors(vectors, panel);
    for (long i = 0; i < depth; i++)
      for (long v = 0; v < width; v++, y += 16) {
        const long j = 16 * (at + v);
        const char *row = x + (pairs ? 2 * i : i) * x_row;
        words upper, lower;
        if (type == KK_F32) {
          load_floats(&lower, row, j, n);
        } else {
          load_halves(&lower, row, j, n);
          if (!pairs) lower <<= 16;
          else if (2 * i + 1 < count) load_halves(&upper, row + x_row, j, n), lower |= upper << 16;
        }
        WORDS(y) = lower;
      }
    at += width;
  }
}

KK_CLONES void kk_form_paired(
    float *y, const void *x, kk_dtype type, int64_t x_row, long count, long n, bool pairs) {
  if (type == KK_F32) pair_rows(y, x, KK_F32, x_row, count, n, false);
  else if (pairs) pair_rows(y, x, KK_BF16, x_row, count, n, true);
  else pair_rows(y, x, KK_BF16, x_row, count, n, false);
}

// To bf16, as kk_to_bf16.
KK_INLINE void round_halves(halves *y, const kk_lanes *x) {
  const words bits = (words)*x;
  const words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  *y = __builtin_convertvector(*x != *x ? (words)0x7fc0u : rounded, halves);
}

KK_CLONES void kk_attention_store_rows(
    void *y, kk_dtype type, int64_t y_row, const float *x, long count, long n, const float *factors,
    long step) {
  for (long i = 0; i < count; i++)
    for (long j = 0; j < n; j += 16) {
      const kk_lanes scaled = KK_LOAD(x + i * kk_whole_lanes(n) + j) * factors[i * step];
      halves rounded;
      const size_t left = (size_t)kk_min(16, n - j);
      if (type == KK_F32) {
        float *to = (float *)y + i * y_row + j;
        if (left == 16) KK_STORE(to, scaled);
        else memcpy(to, &scaled, left * 4);
      } else {
        uint16_t *to = (uint16_t *)y + i * y_row + j;
        round_halves(&rounded, &scaled);
        if (left == 16) *(halves *)to = rounded;
        else memcpy(to, &rounded, left * 2);
      }
    }
}

KK_CLONES void kk_rows_dot(
    float *dots, const void *x, int64_t x_row, const void *y, int64_t y_row, kk_dtype type, long count,
    long n) {
  KK_REASSOCIATE
  for (long i = 0; i < count; i++) {
    float sum = 0;
    if (type == KK_F32) {
      const float *a = (const float *)x + i * x_row, *b = (const float *)y + i * y_row;
      for (long j = 0; j < n; j++) sum += a[j] * b[j];
    } else {
      const uint16_t *a = (const uint16_t *)x + i * x_row, *b = (const uint16_t *)y + i * y_row;
      for (long j = 0; j < n; j++) sum += kk_from_bf16(a[j]) * kk_from_bf16(b[j]);
    }
    dots[i] = sum;
  }
}
