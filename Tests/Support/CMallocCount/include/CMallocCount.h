#ifndef C_MALLOC_COUNT_H
#define C_MALLOC_COUNT_H

/// How often this thread has asked for memory so far: malloc, calloc, realloc and their aligned kin, by whoever on
/// this thread, C++ and Swift included; -1 where calls cannot be counted (outside glibc, under a sanitizer).
long malloc_count(void);

#endif
