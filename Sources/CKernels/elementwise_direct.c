// Programs of one or two instructions whose operands are dense, straight from memory to memory.
#include "ckernels/probe.h"
#include "elementwise_plan.h"

static const struct kk_view *input_of(const struct kk_plan *p, int reg) {
  for (int k = 0; k < p->input_count; k++)
    if (p->inputs[k].reg == reg) return &p->inputs[k];
  return NULL;
}

static bool is_dense_bf16(const struct kk_plan *p, const struct kk_view *v) {
  return v && v->type == KK_BF16 && kk_is_dense(p, v->strides);
}

static bool is_scalar(const struct kk_plan *p, const struct kk_view *v) {
  return v && v->type == KK_F32 && kk_is_zero(v->strides, p->rank);
}

// Whether the program is one instruction that kk_run_bf16 has, which needs no registers.
static bool is_bf16(const struct kk_plan *p) {
  if (p->integer || p->code_count != 1 || p->output_count != 1) return false;
  const kk_instruction *in = p->code;
  const int arity = kk_opcode_arity(in->op);
  return kk_runs_bf16(in->op) && p->outputs[0].reg == in->dst && is_dense_bf16(p, &p->outputs[0]) &&
         is_dense_bf16(p, input_of(p, in->a)) && (arity < 2 || is_dense_bf16(p, input_of(p, in->b))) &&
         (arity < 3 || is_scalar(p, input_of(p, in->c)));
}

static void run_bf16(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct kk_plan *p = context;
  const kk_instruction *in = p->code;
  const uint16_t *a = (const uint16_t *)input_of(p, in->a)->data, *b = a;
  if (kk_opcode_arity(in->op) > 1) b = (const uint16_t *)input_of(p, in->b)->data;
  const float c = kk_opcode_arity(in->op) > 2 ? *(const float *)input_of(p, in->c)->data : 0;
  kk_run_bf16(in->op, (uint16_t *)p->outputs[0].data + begin, a + begin, b + begin, c, end - begin);
}

// Whether the program is a dropout of dense operands, perhaps with an addition behind it, which needs no registers either.
static bool is_dropout(const struct kk_plan *p, kk_dropout *d) {
  if (!kk_has_wide_registers() || p->integer || p->output_count != 1 || p->code_count < 1 || p->code_count > 2)
    return false;
  const kk_instruction *drop = &p->code[0], *add = &p->code[1];
  const struct kk_view *x = input_of(p, drop->a), *keep = input_of(p, drop->b), *residual = NULL;
  const struct kk_view *y = &p->outputs[0];
  if (drop->op != KK_OP_KEEP || !x || !keep || keep->type != KK_KEEP) return false;
  if (p->code_count == 2) {
    const int32_t other = add->a == drop->dst ? add->b : add->a;
    residual = input_of(p, other);
    if (add->op != KK_OP_ADD || (add->a != drop->dst && add->b != drop->dst) || !residual) return false;
    if (other == drop->dst || residual->type != KK_F32 || !kk_is_dense(p, residual->strides)) return false;
  }
  const kk_dtype type = residual ? KK_F32 : x->type;
  if ((x->type != KK_F32 && x->type != KK_BF16) || y->type != type || y->reg != p->code[p->code_count - 1].dst)
    return false;
  *d = (kk_dropout){
      (const kk_keep *)(const void *)keep->data, x->data, x->type, residual ? (const float *)residual->data : NULL,
      y->data};
  return kk_is_dense(p, x->strides) && kk_is_dense(p, keep->strides) && kk_is_dense(p, y->strides);
}

static void run_dropout(long begin, long end, int worker, void *context) {
  (void)worker;
  kk_run_dropout_wide(context, begin, end);
}

bool kk_run_directly(struct kk_plan *p) {
  kk_dropout dropout;
  if (is_bf16(p)) kk_parallel_for(p->total, KK_SPAN, run_bf16, p);
  else if (is_dropout(p, &dropout)) kk_parallel_for(p->total, KK_SPAN, run_dropout, &dropout);
  else return false;
  return true;
}
