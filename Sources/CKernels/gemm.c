// Blocks of the matrix product, after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
// a worker keeps a block of b, packed, in its caches, and meets it with one panel of a after the other.
#include "epilogue.h"
#include "gemm_tiles.h"

// A panel of a fills half of the first-level cache; its tiles stream b from the second and third. Measured in float32 on
// two cores with 491 GFLOPS: (4096, 768) x (768, 3072) 427 with 256 steps of a, 450 with 512 and 768; (4096, 3072) x
// (3072, 768) 437 with chunks of 1,024 steps, 412 with all in one; blocks of 192 columns instead of 384 cost 5 %.
enum {
  A_STEPS = 512,
  CHUNK_STEPS = 1024,
  BLOCK_BYTES = 8 << 20,
  MOST_PANELS = 32,
  LEAST_PANELS = 4,
  GROUP = 4,  // panels of a packed together where their numbers lie side by side: a cache line serves several
};

struct job {
  const kk_gemm *gemm;
  const char *a, *b;
  const float *bias;
  char *c, *scratch;
  int64_t worker_floats;
  int64_t row_workers, column_workers, block_panels, group;
  int64_t steps, chunk;  // of k, and those that a block of b has
};

// One worker's memory.
struct memory {
  float *a, *b;   // a panel, a block of panels
  float *strip;   // a panel's rows of c before the epilogue
};

KK_INLINE int64_t row_panels(const kk_gemm *g) { return kk_ceil_div(g->m, KK_TILE_ROWS); }
KK_INLINE int64_t column_panels(const kk_gemm *g) { return kk_ceil_div(g->n, KK_TILE_COLUMNS); }

// Workers along m and n: the split with the least work for the busiest one, packing (about three panels) included.
static void split(struct job *j) {
  int64_t rows = row_panels(j->gemm), columns = column_panels(j->gemm), threads = kk_threads(), least = INT64_MAX;
  for (int64_t across = 1; across <= threads; across++) {
    if (threads % across != 0) continue;
    int64_t work = (kk_ceil_div(rows, threads / across) + 2) * (kk_ceil_div(columns, across) + 1);
    if (work > least) continue;
    least = work;
    j->row_workers = threads / across;
    j->column_workers = across;
  }
  // Equal blocks for each worker.
  int64_t most = BLOCK_BYTES / (j->chunk * KK_TILE_COLUMNS * KK_STEP_BYTES);
  most = kk_max(LEAST_PANELS, kk_min(MOST_PANELS, most));
  int64_t share = kk_ceil_div(columns, j->column_workers);
  j->block_panels = kk_ceil_div(share, kk_ceil_div(share, most));
}

static int64_t divide(const struct job *j, float *scratch, struct memory *m) {
  int64_t used = 0;
#define TAKE(FIELD, FLOATS) m->FIELD = scratch ? scratch + used : NULL, used += ((FLOATS) + 15) / 16 * 16
  TAKE(a, kk_min(A_STEPS, j->chunk) * KK_TILE_ROWS * j->group + 2);
  TAKE(b, j->gemm->packed ? 0 : j->chunk * j->block_panels * KK_TILE_COLUMNS);
  TAKE(strip, KK_TILE_ROWS * j->group * j->block_panels * KK_TILE_COLUMNS);
#undef TAKE
  return used;
}

static struct job plan(const kk_gemm *g) {
  struct job j = {.gemm = g, .steps = kk_steps(g->type, g->k)};
  // A float32 result may wait in c for the rest of its sum.
  j.chunk = g->output == KK_F32 ? kk_ceil_div(j.steps, kk_ceil_div(j.steps, CHUNK_STEPS)) : j.steps;
  j.group = g->a_column == 1 ? 1 : GROUP;
  struct memory m;
  split(&j);
  j.worker_floats = divide(&j, NULL, &m);
  return j;
}

int64_t kk_gemm_scratch(const kk_gemm *gemm) {
  return kk_threads() * plan(gemm).worker_floats * (int64_t)sizeof(float);
}

// `steps` steps from `step` on of the panels first ..< first + count.
static void pack_panels(
    const kk_gemm *g, const char *b, int64_t step, int64_t steps, int64_t first, int64_t count, float *out) {
  struct kk_lines lines = {g->type, g->b_type, g->b_column, g->b_row};
  int64_t numbers = g->type == KK_BF16 ? 2 : 1, k = kk_min(steps * numbers, g->k - step * numbers);
  for (int64_t i = 0; i < count; i++) {
    int64_t column = (first + i) * KK_TILE_COLUMNS;
    kk_pack_panel(
        &lines, kk_at(b, g->b_type, column * g->b_column + step * numbers * g->b_row),
        kk_min(KK_TILE_COLUMNS, g->n - column), k, KK_TILE_COLUMNS, out + i * steps * KK_TILE_COLUMNS);
  }
}

static void store_strip(
    const struct job *j, const struct memory *m, int64_t row, int64_t rows, int64_t column, int64_t columns,
    int64_t pitch, bool adds, bool is_last) {
  enum { CHUNK = 256 };
  const kk_gemm *g = j->gemm;
  float old[CHUNK];
  for (int64_t i = 0; i < rows; i++)
    for (int64_t first = 0; first < columns; first += CHUNK) {
      int64_t count = kk_min(CHUNK, columns - first);
      float *y = m->strip + i * pitch + first;
      void *c = (void *)kk_at(j->c, g->output, (row + i) * g->c_row + column + first);
      if (adds) kk_load_f32(old, c, g->output, count, 1);
      kk_finish_row(
          y, count, g->bias && is_last ? j->bias + column + first : NULL, adds ? old : NULL,
          is_last ? g->activation : KK_IDENTITY);
      kk_store_f32(c, g->output, 1, y, count);
    }
}

// A block of b: `steps` steps of k from `step` on, of the panels first ..< first + count.
struct block {
  const float *b;
  int64_t pitch;  // from panel to panel
  int64_t step, steps, first, count;
};

// A block of b with the row panels begin ..< end of a.
static void multiply_block(
    const struct job *j, const struct memory *m, const struct block *b, int64_t begin, int64_t end) {
  const kk_gemm *g = j->gemm;
  const struct kk_lines lines = {g->type, g->a_type, g->a_row, g->a_column};
  const int64_t column = b->first * KK_TILE_COLUMNS, width = b->count * KK_TILE_COLUMNS;
  const int64_t columns = kk_min(width, g->n - column), last_step = b->step + b->steps;
  const bool is_last = last_step == j->steps, adds = b->step > 0 || g->accumulate;
  // Float32 results without an epilogue go straight where they belong.
  const bool direct = g->output == KK_F32 && columns == width &&
                      !(is_last && (g->bias || g->activation != KK_IDENTITY));
  const int64_t pitch = direct ? g->c_row : width;
  const int64_t part = kk_ceil_div(b->steps, kk_ceil_div(b->steps, A_STEPS));
  const int64_t numbers = g->type == KK_BF16 ? 2 : 1;
  for (int64_t panel = begin; panel < end; panel += j->group) {
    const int64_t row = panel * KK_TILE_ROWS;
    const int64_t rows = kk_min(kk_min(j->group, end - panel) * KK_TILE_ROWS, g->m - row);
    float *c = direct ? (float *)j->c + row * g->c_row + column : m->strip;
    for (int64_t p = b->step; p < last_step; p += part) {
      const int64_t steps = kk_min(part, last_step - p), k = kk_min(steps * numbers, g->k - p * numbers);
      for (int64_t r = 0; r < rows; r += KK_TILE_ROWS)
        kk_pack_panel(
            &lines, kk_at(j->a, g->a_type, (row + r) * g->a_row + p * numbers * g->a_column),
            kk_min(KK_TILE_ROWS, rows - r), k, KK_TILE_ROWS, m->a + r * steps);
      for (int64_t r = 0; r < rows; r += KK_TILE_ROWS)
        for (int64_t i = 0; i < b->count; i++)
          kk_gemm_tile(
              g->type, kk_min(KK_TILE_ROWS, rows - r), steps, m->a + r * steps,
              b->b + i * b->pitch + (p - b->step) * KK_TILE_COLUMNS, c + r * pitch + i * KK_TILE_COLUMNS, pitch,
              p > b->step || (direct && adds));
    }
    if (!direct) store_strip(j, m, row, rows, column, columns, pitch, adds, is_last);
  }
}

static void work(long first, long last, int thread, void *context) {
  (void)thread;
  const struct job *j = context;
  const kk_gemm *g = j->gemm;
  for (long worker = first; worker < last; worker++) {
    struct memory m;
    divide(j, (float *)j->scratch + worker * j->worker_floats, &m);
    int64_t across = worker % j->column_workers, down = worker / j->column_workers;
    int64_t rows = row_panels(g), columns = column_panels(g);
    int64_t begin = rows * down / j->row_workers, end = rows * (down + 1) / j->row_workers;
    int64_t column_end = columns * (across + 1) / j->column_workers;
    for (int64_t i = columns * across / j->column_workers; i < column_end && begin < end; i += j->block_panels)
      for (int64_t step = 0; step < j->steps; step += j->chunk) {
        struct block b = {.step = step, .steps = kk_min(j->chunk, j->steps - step), .first = i};
        b.count = kk_min(j->block_panels, column_end - i);
        if (g->packed) {
          b.pitch = j->steps * KK_TILE_COLUMNS;
          b.b = (const float *)j->b + i * b.pitch + step * KK_TILE_COLUMNS;
        } else {
          b.pitch = b.steps * KK_TILE_COLUMNS;
          b.b = m.b;
          pack_panels(g, j->b, step, b.steps, i, b.count, m.b);
        }
        multiply_block(j, &m, &b, begin, end);
      }
  }
}

static void check(const char *name, const kk_gemm *g) {
  kk_require_f32_or_bf16(name, g->type);
  kk_require_f32_or_bf16(name, g->output);
  if (g->m < 1 || g->n < 1 || g->k < 1) kk_fail(name, "every extent must be positive");
  if (g->a_type != g->type && g->a_type != KK_F32) kk_fail(name, "a must be f32 or what is multiplied");
  if (g->b_type != g->type && g->b_type != KK_F32) kk_fail(name, "b must be f32 or what is multiplied");
  if (g->a_row != 1 && g->a_column != 1) kk_fail(name, "one stride of a must be 1");
  if (g->b_row != 1 && g->b_column != 1) kk_fail(name, "one stride of b must be 1");
  if (!kk_gemm_is_available(g->type)) kk_fail(name, "this processor has not the instructions");
}

void kk_gemm_run(
    const kk_gemm *gemm, const void *a, const void *b, const float *bias, void *c, void *scratch) {
  check("kk_gemm_run", gemm);
  struct job j = plan(gemm);
  j.a = a, j.b = b, j.bias = bias, j.c = c, j.scratch = scratch;
  kk_parallel_for(j.row_workers * j.column_workers, 1, work, &j);
}

int64_t kk_gemm_packed_bytes(const kk_gemm *g) {
  return column_panels(g) * kk_steps(g->type, g->k) * KK_TILE_COLUMNS * KK_STEP_BYTES;
}

struct packing {
  const kk_gemm *gemm;
  const char *b;
  float *packed;
};

static void pack_some(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct packing *p = context;
  int64_t steps = kk_steps(p->gemm->type, p->gemm->k);
  pack_panels(p->gemm, p->b, 0, steps, begin, end - begin, p->packed + begin * steps * KK_TILE_COLUMNS);
}

void kk_gemm_pack(const kk_gemm *gemm, const void *b, void *packed) {
  check("kk_gemm_pack", gemm);
  struct packing p = {gemm, b, packed};
  kk_parallel_for(column_panels(gemm), 1, pack_some, &p);
}
