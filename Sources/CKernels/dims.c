#include "dims.h"

int64_t kk_element_count(int rank, const int64_t *shape) {
  int64_t count = 1;
  for (int d = 0; d < rank; d++) count *= shape[d];
  return count;
}

static void move_axis(int64_t *shape, int operands, kk_strides *strides, int from, int to) {
  shape[to] = shape[from];
  for (int o = 0; o < operands; o++) strides[o][to] = strides[o][from];
}

static void swap_axes(int64_t *shape, int operands, kk_strides *strides, int i, int j) {
  int64_t size = shape[i];
  shape[i] = shape[j];
  shape[j] = size;
  for (int o = 0; o < operands; o++) {
    int64_t stride = strides[o][i];
    strides[o][i] = strides[o][j];
    strides[o][j] = stride;
  }
}

int kk_collapse(int rank, int64_t *shape, int operands, kk_strides *strides, int key) {
  int kept = 0;
  for (int d = 0; d < rank; d++)
    if (shape[d] != 1) move_axis(shape, operands, strides, d, kept++);
  for (int i = 1; i < kept; i++)
    for (int j = i; j > 0 && llabs(strides[key][j - 1]) < llabs(strides[key][j]); j--)
      swap_axes(shape, operands, strides, j - 1, j);
  int out = 0;
  for (int d = 1; d < kept; d++) {
    bool joined = true;
    for (int o = 0; o < operands; o++) joined &= strides[o][out] == strides[o][d] * shape[d];
    if (joined) {
      int64_t size = shape[out] * shape[d];
      move_axis(shape, operands, strides, d, out);
      shape[out] = size;
    } else {
      move_axis(shape, operands, strides, d, ++out);
    }
  }
  if (kept == 0) {
    shape[0] = 1;
    for (int o = 0; o < operands; o++) strides[o][0] = 0;
  }
  return out + 1;
}
