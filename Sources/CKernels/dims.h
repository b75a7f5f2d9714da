// Private: iteration spaces. Axes of size 1 vanish, axes that every operand walks as one become one.
#pragma once
#include "common.h"

typedef int64_t kk_strides[KK_MAX_DIMS];

/// Simplifies `shape` and the strides of `operands` views in place, axes ordered by falling |stride| of view
/// `key` (stable). Returns the new rank, at least 1. No axis may be 0.
int kk_collapse(int rank, int64_t *shape, int operands, kk_strides *strides, int key);

/// Product of the first `rank` sizes.
int64_t kk_element_count(int rank, const int64_t *shape);

/// Element offset of row-major position `index` in a view.
KK_INLINE int64_t kk_offset(int rank, const int64_t *shape, const int64_t *strides, int64_t index) {
  int64_t offset = 0;
  for (int d = rank - 1; d >= 0; d--) {
    offset += index % shape[d] * strides[d];
    index /= shape[d];
  }
  return offset;
}

/// A position in the first `rank` axes of a space and its offsets in two views.
struct kk_walk {
  int64_t position[KK_MAX_DIMS], offsets[2];
};

KK_INLINE struct kk_walk kk_walk_to(
    int rank, const int64_t *shape, const kk_strides *strides, int64_t index) {
  struct kk_walk w = {{0}, {0}};
  for (int d = rank - 1; d >= 0; d--) {
    w.position[d] = index % shape[d];
    index /= shape[d];
    for (int v = 0; v < 2; v++) w.offsets[v] += w.position[d] * strides[v][d];
  }
  return w;
}

KK_INLINE void kk_walk_on(struct kk_walk *w, int rank, const int64_t *shape, const kk_strides *strides) {
  for (int d = rank - 1; d >= 0; d--) {
    for (int v = 0; v < 2; v++) w->offsets[v] += strides[v][d];
    if (++w->position[d] < shape[d]) return;
    for (int v = 0; v < 2; v++) w->offsets[v] -= shape[d] * strides[v][d];
    w->position[d] = 0;
  }
}
