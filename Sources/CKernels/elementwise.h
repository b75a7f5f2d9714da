// Private: the instruction loops that elementwise.c drives.
#pragma once
#include "ckernels/elementwise.h"
#include "common.h"

void kk_run_f32(const kk_instruction *code, long count, float *const *registers, long n);
void kk_run_i64(const kk_instruction *code, long count, int64_t *const *registers, long n);

// An activation or its gradient in bf16: d may be a or b.
bool kk_runs_bf16(kk_opcode op);
void kk_run_bf16(kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, long n);
// elementwise_bf16_wide.c: the first of n, where kk_has_wide_registers; returns how many.
long kk_run_bf16_wide(kk_opcode op, uint16_t *d, const uint16_t *a, const uint16_t *b, long n);

void kk_load_iota_f32(float *dst, int64_t base, int64_t stride, long n);
void kk_load_iota_i64(int64_t *dst, int64_t base, int64_t stride, long n);
