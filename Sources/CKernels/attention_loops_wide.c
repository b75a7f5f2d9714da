// The products of attention in f32 for processors of level x86-64-v4.
#include "attention_loops.h"

#if defined(__x86_64__) && !defined(KK_BASELINE)
#define WIDE
// A level alone prefers registers of 32 bytes.
#define TARGET __attribute__((target("arch=x86-64-v4"), min_vector_width(512)))
#define FUNCTION TARGET static
#define MULTIPLY(SUM, X, Y) (SUM) += (X) * (Y)
#include "attention_tiles.h"

bool kk_has_wide_registers(void) { return __builtin_cpu_supports("x86-64-v4"); }
void kk_multiply_wide(const kk_product *product) { multiply_wide(product); }
#else
bool kk_has_wide_registers(void) { return false; }
void kk_multiply_wide(const kk_product *product) { (void)product; }
#endif
