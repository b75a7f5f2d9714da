// Threads: one libgomp pool, shared with oneDNN.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Handles the indices [begin, end); `worker` is in 0 ..< kk_threads() and unique among concurrent calls.
typedef void (*kk_body)(long begin, long end, int worker, void *context);

/// Splits 0 ..< n into at most kk_threads() contiguous ranges, one call of `body` each; every inner boundary
/// is a multiple of `grain`. Serial if n <= grain, with one thread, and inside another kk_parallel_for.
/// Aborts on a thread that has not called kk_enter_evaluation_thread: libgomp keeps a pool for each calling
/// thread, and two pools on the same cores halve the speed of both.
void kk_parallel_for(long n, long grain, kk_body body, void *context);

/// Calls `body` for short ranges of 0 ..< n, each on the next thread that is free: for work of uneven size whose result does
/// not depend on who does it. `worker` as above.
void kk_parallel_units(long n, kk_body body, void *context);

/// Number of threads of every later launch, own kernels and oneDNN's, clamped to 1 ... 256.
void kk_set_threads(int threads);

/// Number of threads; until kk_set_threads is called, what OpenMP says (OMP_NUM_THREADS or all processors).
int kk_threads(void);

/// Marks the calling thread as one that may launch kernels. Call it once on the process's evaluation thread.
void kk_enter_evaluation_thread(void);

/// Whether the calling thread may launch kernels.
bool kk_is_evaluation_thread(void);

#ifdef __cplusplus
}
#endif
