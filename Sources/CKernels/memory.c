#define _GNU_SOURCE
#include "ckernels/memory.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static const size_t huge_page = (size_t)2 << 20;

static size_t rounded(size_t bytes) {
  size_t unit = bytes >= huge_page ? huge_page : (size_t)sysconf(_SC_PAGESIZE);
  return (bytes + unit - 1) / unit * unit;
}

static void *map(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

void *kk_arena_allocate(size_t bytes) {
  if (bytes > SIZE_MAX - 2 * huge_page) return NULL;
  size_t size = rounded(bytes);
  if (size < huge_page) return map(size);
  // Map one huge page more than needed and give back what lies outside the aligned range.
  char *base = map(size + huge_page);
  if (!base) return map(size);
  size_t head = (huge_page - (uintptr_t)base % huge_page) % huge_page;
  if (head) munmap(base, head);
  if (head < huge_page) munmap(base + head + size, huge_page - head);
#ifdef MADV_HUGEPAGE
  madvise(base + head, size, MADV_HUGEPAGE);
#endif
  return base + head;
}

void kk_arena_free(void *memory, size_t bytes) {
  if (memory) munmap(memory, rounded(bytes));
}

size_t kk_peak_rss(void) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
  return (size_t)usage.ru_maxrss;
#else
  return (size_t)usage.ru_maxrss * 1024;
#endif
}

size_t kk_current_rss(void) {
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file) return 0;
  unsigned long total = 0, resident = 0;
  int fields = fscanf(file, "%lu %lu", &total, &resident);
  fclose(file);
  return fields == 2 ? resident * (size_t)sysconf(_SC_PAGESIZE) : 0;
}
