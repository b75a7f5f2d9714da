// Private: the instruction loops that elementwise.c drives.
#pragma once
#include "ckernels/elementwise.h"
#include "common.h"

void kk_run_f32(const kk_instruction *code, long count, float *const *registers, long n);
void kk_run_i64(const kk_instruction *code, long count, int64_t *const *registers, long n);

// An activation, its gradient, a sum or a gate in bf16: d may be a or b, c is the same for all.
bool kk_runs_bf16(kk_opcode op);
void kk_run_bf16(kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, float c, long n);
// elementwise_bf16_wide.c: the first of n, where kk_has_wide_registers; returns how many.
long kk_run_bf16_wide(kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, float c, long n);

// y = dropout(x) of f32 or bf16, or in f32 dropout(x) + residual; y may be x or the residual.
typedef struct {
  const kk_keep *keep;
  const void *x;
  kk_dtype type;
  const float *residual;  // or NULL
  void *y;
} kk_dropout;

// elementwise_dropout_wide.c: elements begin ..< end, begin being a multiple of 64; where kk_has_wide_registers.
void kk_run_dropout_wide(const kk_dropout *dropout, int64_t begin, int64_t end);

void kk_load_iota_f32(float *dst, int64_t base, int64_t stride, long n);
void kk_load_iota_i64(int64_t *dst, int64_t base, int64_t stride, long n);
