// Large buffers and memory statistics.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// `bytes` of zeroed, untouched memory. From 2 MiB on it is aligned to 2 MiB and asks for huge pages (first
/// touch of 64 MiB: 4 ms instead of 22); smaller blocks are aligned to a page. NULL if there is no memory.
/// bytes > 0.
void *kk_arena_allocate(size_t bytes);

/// Returns memory of kk_arena_allocate; `bytes` as given there. NULL is ignored.
void kk_arena_free(void *memory, size_t bytes);

/// Largest resident size of this process so far, in bytes.
size_t kk_peak_rss(void);

/// Resident size of this process now, in bytes; 0 where it cannot be read.
size_t kk_current_rss(void);

#ifdef __cplusplus
}
#endif
