// Fused elementwise chains: a small register program run over blocks of the iteration space.
#pragma once
#include "random.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { KK_MAX_REGISTERS = 32, KK_MAX_OPERANDS = 24 };

/// One instruction's operation on its registers a, b, c. Truth is 1 and 0; any non-zero value counts as true.
/// [i] marks what kk_elementwise_i64 also has.
typedef enum : int32_t {
  KK_OP_COPY,       // a [i]
  KK_OP_NEG,        // -a [i]
  KK_OP_ABS,        // |a| [i]
  KK_OP_SIGN,       // -1, 0, 1; NaN stays [i]
  KK_OP_EXP,
  KK_OP_EXPM1,
  KK_OP_LOG,
  KK_OP_LOG1P,
  KK_OP_SQRT,
  KK_OP_RSQRT,
  KK_OP_RECIPROCAL,
  KK_OP_SIN,
  KK_OP_COS,
  KK_OP_TANH,
  KK_OP_ERF,
  KK_OP_SIGMOID,
  KK_OP_SILU,       // a sigmoid(a)
  KK_OP_GELU_ERF,   // a Phi(a)
  KK_OP_GELU_TANH,  // a (1 + tanh(sqrt(2/pi) (a + 0.044715 a^3))) / 2
  KK_OP_RELU,       // max(a, 0); NaN stays [i]
  KK_OP_FLOOR,
  KK_OP_CEIL,
  KK_OP_ROUND,      // half to even
  KK_OP_NOT,        // a == 0 [i]
  KK_OP_ISFINITE,
  KK_OP_SQUARE,     // a a [i]
  KK_OP_ADD,        // [i]
  KK_OP_SUB,        // [i]
  KK_OP_MUL,        // [i]
  KK_OP_DIV,        // i64: truncates; by zero gives 0 [i]
  KK_OP_MAX,        // NaN if either is [i]
  KK_OP_MIN,        // NaN if either is [i]
  KK_OP_POW,        // [i]: negative exponents give 0, except for bases 1 and -1
  KK_OP_REM,        // remainder of the truncated quotient, as C's fmod; i64: by zero gives 0 [i]
  KK_OP_MOD,        // remainder of the floored quotient, sign of b; i64: by zero gives 0 [i]
  KK_OP_EQ,         // comparisons are false with NaN, NE true [i]
  KK_OP_NE,         // [i]
  KK_OP_LT,         // [i]
  KK_OP_LE,         // [i]
  KK_OP_GT,         // [i]
  KK_OP_GE,         // [i]
  KK_OP_AND,        // logical [i]
  KK_OP_OR,         // logical [i]
  KK_OP_XOR,        // logical [i]
  KK_OP_SILU_GRAD,      // b d silu(a)/da
  KK_OP_GELU_ERF_GRAD,  // b d gelu_erf(a)/da
  KK_OP_GELU_TANH_GRAD, // b d gelu_tanh(a)/da
  KK_OP_KEEP,       // b == 0 ? 0 : a b
  KK_OP_SELECT,     // a ? b : c [i]
  KK_OP_GATE,       // b > 0 ? a c : 0
  KK_OP_FMA,        // a b + c, rounded once where the machine has FMA [i]
} kk_opcode;

/// Number of source registers of an operation: 1, 2 or 3.
int kk_opcode_arity(kk_opcode op);

/// dst = op(a, b, c); registers beyond the operation's arity are ignored. dst may be one of the sources.
typedef struct {
  kk_opcode op;
  int32_t dst, a, b, c;
} kk_instruction;

/// A view of memory and the register that it is loaded into or stored from. Strides are in elements, one for
/// each axis of the iteration space, any sign; 0 broadcasts (inputs only). `data` is the element at the origin.
typedef struct {
  void *data;
  kk_dtype type;
  int32_t reg;
  int64_t strides[KK_MAX_DIMS];
} kk_operand;

/// An operand from `rank` strides, which are copied.
static inline kk_operand kk_operand_make(
    void *data, kk_dtype type, int32_t reg, int32_t rank, const int64_t *strides) {
  kk_operand o = {data, type, reg, {0}};
  for (int32_t d = 0; d < rank; d++) o.strides[d] = strides[d];
  return o;
}

/// Inputs are loaded into their registers (distinct ones), the instructions run in order, outputs are stored
/// from their registers. An output may alias an input exactly (same data, type and strides); no other
/// overlap.
typedef struct {
  int32_t rank;
  int32_t input_count, output_count, instruction_count;
  int64_t shape[KK_MAX_DIMS];
  const kk_operand *inputs, *outputs;
  const kk_instruction *instructions;
} kk_elementwise;

/// Runs with f32 registers. Stores to integers truncate and saturate, NaN gives 0; integers above 2^24 round.
void kk_elementwise_f32(const kk_elementwise *program);

/// Runs with int64 registers, arithmetic modulo 2^64; stores to narrower integers wrap. Aborts on an
/// operation without [i] above.
void kk_elementwise_i64(const kk_elementwise *program);

#ifdef __cplusplus
}
#endif
