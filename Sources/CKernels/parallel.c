#include <stdatomic.h>
#include <stdio.h>

#include "common.h"

// libgomp's entry points, declared here because clang's own OpenMP runtime is another library.
extern void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int);

enum { KK_MAX_THREADS = 256 };
enum role { OUTSIDE, EVALUATION, INSIDE_REGION };

static _Atomic int requested_threads;
static _Thread_local enum role role;
static _Thread_local int applied_threads;

_Noreturn void kk_fail(const char *kernel, const char *message) {
  fprintf(stderr, "kalsae kernels: %s: %s\n", kernel, message);
  abort();
}

int kk_threads(void) {
  int threads = atomic_load_explicit(&requested_threads, memory_order_relaxed);
  if (threads == 0) {
    threads = (int)kk_min(omp_get_max_threads(), KK_MAX_THREADS);
    atomic_store_explicit(&requested_threads, threads, memory_order_relaxed);
  }
  return threads;
}

// OpenMP's own thread count, which oneDNN reads, belongs to the calling thread.
static void apply_threads(void) {
  int threads = kk_threads();
  if (applied_threads == threads) return;
  omp_set_num_threads(threads);
  applied_threads = threads;
}

void kk_set_threads(int threads) {
  int clamped = (int)kk_max(1, kk_min(threads, KK_MAX_THREADS));
  atomic_store_explicit(&requested_threads, clamped, memory_order_relaxed);
  if (role == EVALUATION) apply_threads();
}

void kk_enter_evaluation_thread(void) {
  role = EVALUATION;
  apply_threads();
}

bool kk_is_evaluation_thread(void) { return role == EVALUATION; }

struct launch {
  long n, grain, blocks, workers;
  kk_body body;
  void *context;
};

static void run_worker(void *data) {
  const struct launch *l = data;
  enum role before = role;
  role = INSIDE_REGION;
  // The pool may be smaller than asked for; the ranges never depend on that.
  for (long w = omp_get_thread_num(); w < l->workers; w += omp_get_num_threads()) {
    long begin = l->blocks * w / l->workers * l->grain;
    long end = kk_min(l->n, l->blocks * (w + 1) / l->workers * l->grain);
    l->body(begin, end, (int)w, l->context);
  }
  role = before;
}

void kk_parallel_for(long n, long grain, kk_body body, void *context) {
  if (n <= 0) return;
  if (role == INSIDE_REGION) {
    body(0, n, 0, context);
    return;
  }
  if (role != EVALUATION)
    kk_fail("kk_parallel_for", "called on a thread that has not called kk_enter_evaluation_thread");
  apply_threads();
  if (grain < 1) grain = 1;
  long blocks = kk_ceil_div(n, grain);
  long workers = kk_min(kk_threads(), blocks);
  if (workers == 1) {
    role = INSIDE_REGION;
    body(0, n, 0, context);
    role = EVALUATION;
    return;
  }
  struct launch launch = {n, grain, blocks, workers, body, context};
  GOMP_parallel(run_worker, &launch, (unsigned)workers, 0);
}

struct queue {
  _Atomic long next;
  long n, step;
  kk_body body;
  void *context;
};

static void take_units(long begin, long end, int worker, void *context) {
  (void)begin, (void)end;
  struct queue *q = context;
  for (;;) {
    long unit = atomic_fetch_add_explicit(&q->next, q->step, memory_order_relaxed);
    if (unit >= q->n) return;
    q->body(unit, kk_min(q->n, unit + q->step), worker, q->context);
  }
}

void kk_parallel_units(long n, kk_body body, void *context) {
  // Ranges enough to even out, of units enough to look ahead.
  long step = kk_max(1, kk_min(8, n / (kk_threads() * 6)));
  struct queue queue = {0, n, step, body, context};
  kk_parallel_for(kk_min(kk_ceil_div(n, step), kk_threads()), 1, take_units, &queue);
}
