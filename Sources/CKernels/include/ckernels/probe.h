// What this machine can do, measured now on all of kk_threads().
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Best rate of float32 fused multiply-adds in registers, in GFLOPS (2 per multiply-add), over about
/// `seconds`.
double kk_probe_gflops(double seconds);

/// Best rate of the triad a = b + s c on arrays of 64 MiB each, in GB/s: 12 bytes per element.
double kk_probe_bandwidth(double seconds);

/// Instruction sets that the kernels were chosen for: "x86-64-v4", "x86-64-v3", "x86-64" or the
/// architecture's name.
const char *kk_probe_level(void);

/// Whether the processor has 32 registers of 64 bytes (level x86-64-v4), and the kernels that use them were built.
bool kk_has_wide_registers(void);

/// Whether the processor multiplies pairs of bf16 (AVX512_BF16), and the kernels that do so were built.
bool kk_has_pair_products(void);

#ifdef __cplusplus
}
#endif
