// Private: an elementwise program with its iteration space collapsed.
#pragma once
#include "dims.h"
#include "elementwise.h"

enum { KK_SPAN = 1 << 15 };  // elements that are worth a launch: about 4 us of the shortest program

enum kk_access {
  KK_DIRECT,     // the register points into memory
  KK_INVARIANT,  // the same values for every block: loaded once by each worker
  KK_PER_BLOCK,  // loaded or stored through a register of its own
};

struct kk_view {
  char *data;
  kk_dtype type;
  int32_t reg;
  enum kk_access access;
  bool dense;  // row-major over the collapsed space
  const int64_t *strides;
};

struct kk_plan {
  bool integer;
  kk_dtype native;
  size_t size;  // bytes of a register's element
  int rank, input_count, output_count, slots;
  int64_t shape[KK_MAX_DIMS];
  kk_strides strides[KK_MAX_OPERANDS];
  struct kk_view inputs[KK_MAX_OPERANDS], outputs[KK_MAX_OPERANDS];
  int8_t slot[KK_MAX_REGISTERS];  // own memory of a register; -1 for none
  const kk_instruction *code;
  long code_count;
  int64_t total, block, blocks_per_row, rows_per_block, row;
  bool ahead;  // ask for the next block's memory in time
};

KK_INLINE bool kk_is_dense(const struct kk_plan *p, const int64_t *strides) {
  int64_t expected = 1;
  for (int d = p->rank - 1; d >= 0; d--) {
    if (strides[d] != expected) return false;
    expected *= p->shape[d];
  }
  return true;
}

KK_INLINE bool kk_is_zero(const int64_t *strides, int axes) {
  for (int d = 0; d < axes; d++)
    if (strides[d] != 0) return false;
  return true;
}

// elementwise_direct.c: runs programs that need no registers; false if this is none.
bool kk_run_directly(struct kk_plan *p);
