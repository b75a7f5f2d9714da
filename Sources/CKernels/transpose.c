// Transposes in registers: 8 x 8 blocks by three rounds of interleaving.
#include "transpose.h"

typedef float f32x8 __attribute__((vector_size(32), aligned(4)));
typedef uint16_t u16x8 __attribute__((vector_size(16), aligned(2)));

#define LOW(A, B) __builtin_shufflevector(A, B, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(A, B) __builtin_shufflevector(A, B, 4, 12, 5, 13, 6, 14, 7, 15)

// Interleaving rows k and k + 4 three times moves bit 2 of the row number to bit 0 of the column, and so on.
#define BLOCK(V, T)                                                                                          \
  KK_INLINE void block_##V(T *dst, int64_t dst_pitch, const T *src, int64_t src_pitch) {                     \
    V r[8], s[8];                                                                                            \
    for (int k = 0; k < 8; k++) memcpy(&r[k], src + k * src_pitch, sizeof(V));                               \
    for (int k = 0; k < 4; k++) s[2 * k] = LOW(r[k], r[k + 4]), s[2 * k + 1] = HIGH(r[k], r[k + 4]);         \
    for (int k = 0; k < 4; k++) r[2 * k] = LOW(s[k], s[k + 4]), r[2 * k + 1] = HIGH(s[k], s[k + 4]);         \
    for (int k = 0; k < 4; k++) s[2 * k] = LOW(r[k], r[k + 4]), s[2 * k + 1] = HIGH(r[k], r[k + 4]);         \
    for (int k = 0; k < 8; k++) memcpy(dst + k * dst_pitch, &s[k], sizeof(V));                               \
  }
BLOCK(f32x8, float)
BLOCK(u16x8, uint16_t)

#define SCALAR(T, I0, I1, J0, J1)                                                                            \
  for (long i = I0; i < I1; i++)                                                                             \
    for (long j = J0; j < J1; j++) ((T *)dst)[i * dst_pitch + j] = ((const T *)src)[j * src_pitch + i];

#define BLOCKED(V, T)                                                                                        \
  {                                                                                                          \
    long whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;                                         \
    for (long i = 0; i < whole_rows; i += 8)                                                                 \
      for (long j = 0; j < whole_columns; j += 8)                                                            \
        block_##V((T *)dst + i * dst_pitch + j, dst_pitch, (const T *)src + j * src_pitch + i, src_pitch);   \
    SCALAR(T, 0, whole_rows, whole_columns, columns)                                                         \
    SCALAR(T, whole_rows, rows, 0, columns)                                                                  \
    return;                                                                                                  \
  }

KK_CLONES void kk_transpose_tile(
    void *dst, int64_t dst_pitch, const void *src, int64_t src_pitch, long rows, long columns, size_t size) {
  switch (size) {
    case 1: SCALAR(uint8_t, 0, rows, 0, columns) return;
    case 2: BLOCKED(u16x8, uint16_t)
    case 4: BLOCKED(f32x8, float)
    case 8: SCALAR(uint64_t, 0, rows, 0, columns) return;
    default: kk_fail("kk_transpose_tile", "elements must have 1, 2, 4 or 8 bytes");
  }
}
