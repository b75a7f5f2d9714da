// Drives the instruction loops: collapses the iteration space, cuts it into blocks, and decides for each
// operand whether its register can be the memory itself, is loaded once for all blocks, or is converted block
// by block.
#include "elementwise.h"

#include "elementwise_plan.h"

// The registers and streams of a block stay within half of a 32 KB cache.
enum { KK_BLOCK = 1024, KK_DIRECT_BLOCK = 8192, KK_BLOCK_BYTES = 1 << 14 };

int kk_opcode_arity(kk_opcode op) {
  if (op <= KK_OP_SQUARE) return 1;
  return op >= KK_OP_SELECT ? 3 : 2;
}

static bool reads(const kk_instruction *in, int reg) {
  int arity = kk_opcode_arity(in->op);
  return in->a == reg || (arity > 1 && in->b == reg) || (arity > 2 && in->c == reg);
}

static bool is_written(const struct kk_plan *p, int reg) {
  for (long j = 0; j < p->code_count; j++)
    if (p->code[j].dst == reg) return true;
  return false;
}

// An instruction may write straight into the output's memory if it is the only writer of that register and no
// later instruction reads an input that lives in the same memory.
static bool can_write_directly(const struct kk_plan *p, int index) {
  const struct kk_view *out = &p->outputs[index];
  if (!out->dense || out->type != p->native) return false;
  for (int k = 0; k < index; k++)
    if (p->outputs[k].reg == out->reg) return false;
  for (int k = 0; k < p->input_count; k++)
    if (p->inputs[k].reg == out->reg) return false;
  long writer = -1;
  for (long j = 0; j < p->code_count; j++) {
    if (p->code[j].dst != out->reg) continue;
    if (writer >= 0) return false;
    writer = j;
  }
  if (writer < 0) return false;
  for (int k = 0; k < p->input_count; k++) {
    if (p->inputs[k].access != KK_DIRECT || p->inputs[k].data != out->data) continue;
    for (long j = writer + 1; j < p->code_count; j++)
      if (reads(&p->code[j], p->inputs[k].reg)) return false;
  }
  return true;
}

// Blocks are whole rows of the innermost axis, or an even part of one row, so that a block of a broadcast row
// always holds the same values.
static void choose_blocks(struct kk_plan *p) {
  int64_t limit = KK_DIRECT_BLOCK;
  if (p->slots > 0) {
    const int64_t live = (p->slots + p->input_count + p->output_count) * (int64_t)p->size;
    limit = kk_max(128, kk_min(p->integer ? KK_BLOCK / 2 : KK_BLOCK, KK_BLOCK_BYTES / live / 64 * 64));
  }
  p->row = p->shape[p->rank - 1];
  if (p->row <= limit) {
    p->blocks_per_row = 1;
    p->rows_per_block = limit / p->row;
    p->block = p->rows_per_block * p->row;
  } else {
    p->blocks_per_row = kk_ceil_div(p->row, limit);
    p->rows_per_block = 1;
    // A multiple of 64 keeps every block of a dense row aligned to the vector length and to the groups of KK_KEEP.
    p->block = (kk_ceil_div(p->row, p->blocks_per_row) + 63) / 64 * 64;
    p->blocks_per_row = kk_ceil_div(p->row, p->block);
  }
}

static void plan_access(struct kk_plan *p) {
  memset(p->slot, -1, sizeof p->slot);
  int streams = 0;
  for (int k = 0; k < p->input_count; k++) {
    struct kk_view *v = &p->inputs[k];
    bool written = is_written(p, v->reg);
    v->dense = v->type != KK_IOTA && kk_is_dense(p, v->strides);
    v->access = KK_PER_BLOCK;
    if (v->dense && v->type == p->native && !written) v->access = KK_DIRECT;
    if (!written && kk_is_zero(v->strides, p->rank)) v->access = KK_INVARIANT;
    if (v->access != KK_DIRECT) p->slot[v->reg] = (int8_t)p->slots++;
    streams += v->dense && v->type != KK_KEEP;
  }
  // In a longer program the memory prefetcher has forgotten a stream by the time that its next block comes.
  p->ahead = streams > 2 && p->code_count > 2;
  for (int k = 0; k < p->output_count; k++) {
    struct kk_view *v = &p->outputs[k];
    v->dense = kk_is_dense(p, v->strides);
    v->access = can_write_directly(p, k) ? KK_DIRECT : KK_PER_BLOCK;
  }
  for (long j = 0; j < p->code_count; j++) {
    int reg = p->code[j].dst;
    bool direct = p->slot[reg] >= 0;
    for (int k = 0; k < p->output_count; k++)
      direct |= p->outputs[k].access == KK_DIRECT && p->outputs[k].reg == reg;
    if (!direct) p->slot[reg] = (int8_t)p->slots++;
  }
  choose_blocks(p);
  // A broadcast row (or an iota along it) repeats in every block of whole rows.
  for (int k = 0; k < p->input_count; k++) {
    struct kk_view *v = &p->inputs[k];
    if (v->access == KK_PER_BLOCK && p->blocks_per_row == 1 && !is_written(p, v->reg) &&
        kk_is_zero(v->strides, p->rank - 1))
      v->access = KK_INVARIANT;
  }
}

static void load_truths(const kk_keep *keep, float *dst, int64_t offset, int64_t stride, long n) {
  if (stride == 1) {
    kk_keep_f32(keep, (uint64_t)offset, n, dst);
    return;
  }
  for (long i = 0; i < n; i++) kk_keep_f32(keep, (uint64_t)(offset + i * stride), 1, dst + i);
}

static void load_run(const struct kk_plan *p, const struct kk_view *v, char *dst, int64_t offset, long n) {
  int64_t stride = v->strides[p->rank - 1];
  if (v->type == KK_KEEP) {
    load_truths((const kk_keep *)(const void *)v->data, (float *)dst, offset, stride, n);
  } else if (v->type == KK_IOTA) {
    if (p->integer) kk_load_iota_i64((int64_t *)dst, offset, stride, n);
    else kk_load_iota_f32((float *)dst, offset, stride, n);
  } else if (p->integer) {
    kk_load_i64((int64_t *)dst, kk_at(v->data, v->type, offset), v->type, n, stride);
  } else {
    kk_load_f32((float *)dst, kk_at(v->data, v->type, offset), v->type, n, stride);
  }
}

static void store_run(const struct kk_plan *p, const struct kk_view *v, const char *src, int64_t offset, long n) {
  int64_t stride = v->strides[p->rank - 1];
  void *dst = (void *)kk_at(v->data, v->type, offset);
  if (p->integer) kk_store_i64(dst, v->type, stride, (const int64_t *)src, n);
  else kk_store_f32(dst, v->type, stride, (const float *)src, n);
}

// Moves elements [start, start + n) of the row-major space, one run of the innermost axis after another.
static void transfer(
    const struct kk_plan *p, const struct kk_view *v, char *reg, int64_t start, long n, bool load) {
  if (v->dense) {
    if (load) load_run(p, v, reg, start, n);
    else store_run(p, v, reg, start, n);
    return;
  }
  int64_t position[KK_MAX_DIMS], index = start, offset = 0;
  for (int d = p->rank - 1; d >= 0; d--) {
    position[d] = index % p->shape[d];
    index /= p->shape[d];
    offset += position[d] * v->strides[d];
  }
  const int last = p->rank - 1;
  const bool loads_rows = load && last > 0 && !p->integer && v->strides[last] == 1 && v->type < KK_IOTA;
  while (n > 0) {
    long run = kk_min(n, p->shape[last] - position[last]);
    if (loads_rows && position[last] == 0 && n >= 2 * run) {
      const long rows = kk_min(n / run, p->shape[last - 1] - position[last - 1]);
      kk_load_pitched_f32((float *)reg, kk_at(v->data, v->type, offset), v->type, rows, v->strides[last - 1], run);
      // All of them but the last, which the code below counts.
      reg += (rows - 1) * run * (long)p->size;
      n -= (rows - 1) * run;
      offset += (rows - 1) * v->strides[last - 1];
      position[last - 1] += rows - 1;
    } else if (load) load_run(p, v, reg, offset, run);
    else store_run(p, v, reg, offset, run);
    reg += run * (long)p->size;
    n -= run;
    offset += run * v->strides[last];
    position[last] += run;
    for (int d = last; d > 0 && position[d] == p->shape[d]; d--) {
      offset += v->strides[d - 1] - position[d] * v->strides[d];
      position[d] = 0;
      position[d - 1]++;
    }
  }
}

static void fetch_block(const struct kk_plan *p, int64_t start, long n) {
  for (int k = 0; k < p->input_count; k++) {
    const struct kk_view *v = &p->inputs[k];
    if (!v->dense || v->type == KK_KEEP) continue;
    const char *at = kk_at(v->data, v->type, start), *end = kk_at(v->data, v->type, start + n);
    for (; at < end; at += 64) __builtin_prefetch(at);
  }
}

static void run_block(const struct kk_plan *p, void **registers, int64_t start, long n) {
  if (p->ahead) fetch_block(p, start + n, kk_min(n, p->total - start - n));
  for (int k = 0; k < p->input_count; k++) {
    const struct kk_view *v = &p->inputs[k];
    if (v->access == KK_DIRECT) registers[v->reg] = v->data + start * (int64_t)p->size;
    if (v->access == KK_PER_BLOCK) transfer(p, v, registers[v->reg], start, n, true);
  }
  for (int k = 0; k < p->output_count; k++) {
    const struct kk_view *v = &p->outputs[k];
    if (v->access == KK_DIRECT) registers[v->reg] = v->data + start * (int64_t)p->size;
  }
  if (p->integer) kk_run_i64(p->code, p->code_count, (int64_t *const *)registers, n);
  else kk_run_f32(p->code, p->code_count, (float *const *)registers, n);
  for (int k = 0; k < p->output_count; k++) {
    const struct kk_view *v = &p->outputs[k];
    if (v->access == KK_PER_BLOCK) transfer(p, v, registers[v->reg], start, n, false);
  }
}

static void run_blocks(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct kk_plan *p = context;
  _Alignas(64) char memory[KK_MAX_REGISTERS * KK_BLOCK * sizeof(float)];
  void *registers[KK_MAX_REGISTERS];
  const int64_t pitch = (p->block + 15) / 16 * 16 * (int64_t)p->size;
  for (int r = 0; r < KK_MAX_REGISTERS; r++)
    registers[r] = memory + (p->slot[r] > 0 ? p->slot[r] : 0) * pitch;
  for (int k = 0; k < p->input_count; k++) {
    const struct kk_view *v = &p->inputs[k];
    if (v->access == KK_INVARIANT) transfer(p, v, registers[v->reg], 0, kk_min(p->block, p->total), true);
  }
  for (long b = begin; b < end; b++) {
    int64_t row = b / p->blocks_per_row * p->rows_per_block;
    int64_t start = row * p->row + b % p->blocks_per_row * p->block;
    int64_t stop = p->blocks_per_row > 1 ? kk_min(start + p->block, (row + 1) * p->row)
                                         : kk_min(start + p->block, p->total);
    run_block(p, registers, start, stop - start);
  }
}

static void check(const kk_elementwise *e, bool integer) {
  const char *name = "kk_elementwise";
  if (e->rank < 0 || e->rank > KK_MAX_DIMS) kk_fail(name, "rank must be 0 to 8");
  if (e->output_count < 1) kk_fail(name, "a program needs an output");
  if (e->input_count + e->output_count > KK_MAX_OPERANDS) kk_fail(name, "more than 24 operands");
  bool set[KK_MAX_REGISTERS] = {false};
  for (int k = 0; k < e->input_count; k++) {
    uint32_t reg = (uint32_t)e->inputs[k].reg;
    if (reg >= KK_MAX_REGISTERS) kk_fail(name, "an input's register must be 0 to 31");
    if (set[reg]) kk_fail(name, "two inputs share a register");
    if (e->inputs[k].type == KK_KEEP && integer) kk_fail(name, "random truth values are for float registers");
    set[reg] = true;
  }
  for (int j = 0; j < e->instruction_count; j++) {
    const kk_instruction *in = &e->instructions[j];
    if ((uint32_t)in->op > KK_OP_FMA) kk_fail(name, "unknown operation");
    const int32_t sources[3] = {in->a, in->b, in->c};
    for (int s = 0; s < kk_opcode_arity(in->op); s++)
      if ((uint32_t)sources[s] >= KK_MAX_REGISTERS || !set[sources[s]])
        kk_fail(name, "an instruction reads a register that nothing has set");
    if ((uint32_t)in->dst >= KK_MAX_REGISTERS) kk_fail(name, "an instruction's register must be 0 to 31");
    set[in->dst] = true;
  }
  for (int k = 0; k < e->output_count; k++)
    if ((uint32_t)e->outputs[k].reg >= KK_MAX_REGISTERS || !set[e->outputs[k].reg])
      kk_fail(name, "an output's register is never set");
}

static void run(const kk_elementwise *e, bool integer) {
  check(e, integer);
  struct kk_plan p = {.integer = integer, .native = integer ? KK_I64 : KK_F32, .size = integer ? 8 : 4};
  p.total = kk_element_count(e->rank, e->shape);
  if (p.total == 0) return;
  p.input_count = e->input_count;
  p.output_count = e->output_count;
  p.code = e->instructions;
  p.code_count = e->instruction_count;
  memcpy(p.shape, e->shape, sizeof p.shape);
  for (int k = 0; k < e->input_count + e->output_count; k++) {
    const kk_operand *o = k < e->input_count ? &e->inputs[k] : &e->outputs[k - e->input_count];
    struct kk_view *v = k < e->input_count ? &p.inputs[k] : &p.outputs[k - e->input_count];
    memcpy(p.strides[k], o->strides, sizeof o->strides);
    *v = (struct kk_view){.data = o->data, .type = o->type, .reg = o->reg, .strides = p.strides[k]};
  }
  p.rank = kk_collapse(e->rank, p.shape, e->input_count + e->output_count, p.strides, e->input_count);
  if (kk_run_directly(&p)) return;
  plan_access(&p);
  int64_t blocks = p.blocks_per_row > 1 ? p.total / p.row * p.blocks_per_row
                                        : kk_ceil_div(p.total, p.block);
  kk_parallel_for(blocks, kk_max(1, KK_SPAN / p.block), run_blocks, &p);
}

void kk_elementwise_f32(const kk_elementwise *program) { run(program, false); }
void kk_elementwise_i64(const kk_elementwise *program) { run(program, true); }
