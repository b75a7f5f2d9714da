// kk_reduce: the kept and the reduced axes are collapsed apart. If the innermost reduced axis is the tighter
// one, rows are folded to scalars; otherwise strips of the innermost kept axis accumulate row upon row.
#include "reduce.h"

#include "dims.h"

enum { STRIP = 512, FOLD = 4096, FLUSH = 256, UNITS = 64, SPLIT_ELEMENTS = 1 << 14, GRAIN = 1 << 15 };
enum { SHORT = 16 };  // so few rows need neither splitting nor sums in double

union value {
  double f;
  int64_t i;
};

struct reduction {
  kk_reduction op;
  bool integer;
  char *dst;
  const char *src;
  kk_dtype dst_type, src_type;
  double scale;
  int kept_rank, rank;                      // kept axes without the strip's own; reduced axes
  int64_t kept[KK_MAX_DIMS], shape[KK_MAX_DIMS];
  kk_strides kept_strides[2], strides[2];   // views dst, src; of the reduced axes both are src
  int64_t outer;                            // kept positions outside a strip
  int64_t width, width_dst, width_src;      // the strip axis; 1 for row folds
  bool columns;
  int64_t strips, splits, steps;            // steps: rows of the reduced space, cut into `splits`
  int64_t row, row_pieces;                  // row folds: the innermost axis, cut into pieces
  union value *partials;                    // (outer, splits, width) when splits > 1
};

static union value identity(const struct reduction *r) {
  return r->integer ? (union value){.i = kk_identity_i64(r->op)} : (union value){.f = kk_identity_f64(r->op)};
}

static void combine(const struct reduction *r, union value *a, union value b) {
  if (r->integer) a->i = kk_combine_i64(r->op, a->i, b.i);
  else a->f = kk_combine_f64(r->op, a->f, b.f);
}

static void store(const struct reduction *r, int64_t offset, union value v) {
  void *dst = (void *)kk_at(r->dst, r->dst_type, offset);
  if (r->integer && kk_is_integer(r->dst_type)) {
    kk_store_i64(dst, r->dst_type, 1, &v.i, 1);
  } else {
    float f = (float)((r->integer ? (double)v.i : v.f) * (kk_is_integer(r->dst_type) ? 1.0 : r->scale));
    kk_store_f32(dst, r->dst_type, 1, &f, 1);
  }
}

// A strip of results. Only for one wider than a single one is a call for each too much.
static void store_strip(const struct reduction *r, int64_t offset, const union value *values, long n) {
  if (r->integer || kk_is_integer(r->dst_type)) {
    for (long j = 0; j < n; j++) store(r, offset + j * r->width_dst, values[j]);
    return;
  }
  float strip[STRIP];
  for (long j = 0; j < n; j++) strip[j] = (float)(values[j].f * r->scale);
  kk_store_f32((void *)kk_at(r->dst, r->dst_type, offset), r->dst_type, r->width_dst, strip, n);
}

static void fold_run(const struct reduction *r, union value *acc, const char *src, long n, int64_t stride) {
  _Alignas(64) char buffer[FOLD * sizeof(float)];
  const long limit = r->integer ? FOLD / 2 : FOLD;
  for (long i = 0; i < n; i += limit) {
    long m = kk_min(limit, n - i);
    const void *piece = kk_at(src, r->src_type, i * stride);
    if (r->integer) {
      kk_load_i64((int64_t *)buffer, piece, r->src_type, m, stride);
      combine(r, acc, (union value){.i = kk_fold_i64(r->op, (const int64_t *)buffer, m)});
      continue;
    }
    const float *x = piece;
    if (r->src_type != KK_F32 || stride != 1) {
      kk_load_f32((float *)buffer, piece, r->src_type, m, stride);
      x = (const float *)buffer;
    }
    combine(r, acc, (union value){.f = kk_fold_f32(r->op, x, m)});
  }
}

// Row folds: steps are pieces of the innermost reduced axis.
static void fold_rows(
    const struct reduction *r, union value *acc, const char *src, int64_t begin, int64_t end) {
  const int last = r->rank - 1;
  struct kk_walk at = kk_walk_to(last, r->shape, r->strides, begin / r->row_pieces);
  *acc = identity(r);
  for (int64_t step = begin; step < end; step++) {
    int64_t piece = step % r->row_pieces, first = piece * SPLIT_ELEMENTS;
    long n = r->row_pieces == 1 ? r->row : kk_min(SPLIT_ELEMENTS, r->row - first);
    int64_t stride = r->strides[1][last];
    fold_run(r, acc, kk_at(src, r->src_type, at.offsets[1] + first * stride), n, stride);
    if (piece + 1 == r->row_pieces) kk_walk_on(&at, last, r->shape, r->strides);
  }
}

static void flush(const struct reduction *r, union value *totals, float *acc, long copies, long width) {
  const float start = (float)kk_identity_f64(r->op);
  for (long k = 0; k < copies; k++) kk_combine_floats(r->op, &totals->f, acc + k * width, width);
  for (long j = 0; j < copies * width; j++) acc[j] = start;
}

// Column strips: steps are positions of the reduced space.
static void accumulate_rows(
    const struct reduction *r, union value *totals, const char *src, long width, int64_t begin, int64_t end) {
  _Alignas(64) char acc[STRIP * 8], buffer[STRIP * 8];
  const int last = r->rank - 1;
  const int64_t pitch = r->strides[1][last];
  const bool direct = (r->src_type == KK_F32 || r->src_type == KK_BF16) && r->width_src == 1;
  // Narrow dense rows are taken several at a time as one wide row.
  const long copies = direct && pitch == width && width <= STRIP / 4 ? STRIP / 2 / width : 1;
  for (long j = 0; j < width; j++) totals[j] = identity(r);
  for (long j = 0; j < STRIP; j++) {
    if (r->integer) ((int64_t *)acc)[j] = kk_identity_i64(r->op);
    else ((float *)acc)[j] = (float)kk_identity_f64(r->op);
  }
  struct kk_walk at = kk_walk_to(r->rank, r->shape, r->strides, begin);
  long pending = 0;
  for (int64_t step = begin; step < end;) {
    const char *x = kk_at(src, r->src_type, at.offsets[1]);
    long rows = kk_min(end - step, kk_min(FLUSH * copies, r->shape[last] - at.position[last]));
    if (!direct) {
      rows = 1;
      if (r->integer) {
        kk_load_i64((int64_t *)buffer, x, r->src_type, width, r->width_src);
        kk_accumulate_i64(r->op, (int64_t *)acc, (const int64_t *)buffer, width);
      } else {
        kk_load_f32((float *)buffer, x, r->src_type, width, r->width_src);
        kk_accumulate_f32(r->op, (float *)acc, buffer, KK_F32, 1, 0, width);
      }
    } else {
      long wide = rows / copies, rest = rows % copies;
      if (wide) kk_accumulate_f32(r->op, (float *)acc, x, r->src_type, wide, pitch * copies, width * copies);
      if (rest && copies > 1)
        kk_accumulate_f32(
            r->op, (float *)acc, kk_at(x, r->src_type, wide * copies * pitch), r->src_type, rest, pitch,
            width);
    }
    // Moves `rows` steps along the innermost axis.
    step += rows;
    at.position[last] += rows - 1;
    at.offsets[0] += (rows - 1) * pitch;
    at.offsets[1] += (rows - 1) * pitch;
    kk_walk_on(&at, r->rank, r->shape, r->strides);
    pending += kk_ceil_div(rows, copies);
    if (!r->integer && (pending >= FLUSH || step >= end)) {
      flush(r, totals, (float *)acc, copies, width);
      pending = 0;
    }
  }
  if (r->integer) memcpy(totals, acc, (size_t)width * sizeof *totals);
}

// One unit is a kept position (or strip of them) and one part of the reduced space.
static void run_units(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct reduction *r = context;
  for (long u = begin; u < end; u++) {
    int64_t split = u % r->splits, strip = u / r->splits % r->strips, outer = u / r->splits / r->strips;
    int64_t first = r->steps * split / r->splits, stop = r->steps * (split + 1) / r->splits;
    int64_t column = strip * STRIP;
    long width = kk_min(STRIP, r->width - column);
    struct kk_walk at = kk_walk_to(r->kept_rank, r->kept, r->kept_strides, outer);
    const char *src = kk_at(r->src, r->src_type, at.offsets[1] + column * r->width_src);
    union value totals[STRIP];
    if (r->columns) accumulate_rows(r, totals, src, width, first, stop);
    else fold_rows(r, totals, src, first, stop);
    if (r->splits > 1) {
      memcpy(r->partials + (outer * r->splits + split) * r->width + column, totals,
          (size_t)width * sizeof *totals);
    } else {
      store_strip(r, at.offsets[0] + column * r->width_dst, totals, width);
    }
  }
}

// Column strips of a few rows each, as in the gradient of an enlarged picture: places are counted on, not worked out.
static void run_short_units(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct reduction *r = context;
  float acc[STRIP];
  int64_t places[SHORT];
  struct kk_walk row = kk_walk_to(r->rank, r->shape, r->strides, 0);
  for (int64_t step = 0; step < r->steps; step++) {
    places[step] = row.offsets[1];
    kk_walk_on(&row, r->rank, r->shape, r->strides);
  }
  struct kk_walk at = kk_walk_to(r->kept_rank, r->kept, r->kept_strides, begin / r->strips);
  int64_t strip = begin % r->strips;
  for (long u = begin; u < end; u++) {
    const int64_t column = strip * STRIP;
    const long width = kk_min(STRIP, r->width - column);
    for (long j = 0; j < width; j++) acc[j] = (float)kk_identity_f64(r->op);
    const void *src = kk_at(r->src, r->src_type, at.offsets[1] + column);
    kk_accumulate_places_f32(r->op, acc, src, r->src_type, r->steps, places, width);
    if (r->scale != 1)
      for (long j = 0; j < width; j++) acc[j] *= (float)r->scale;
    void *dst = (void *)kk_at(r->dst, r->dst_type, at.offsets[0] + column * r->width_dst);
    kk_store_f32(dst, r->dst_type, r->width_dst, acc, width);
    if (++strip == r->strips) {
      strip = 0;
      kk_walk_on(&at, r->kept_rank, r->kept, r->kept_strides);
    }
  }
}

static void combine_partials(const struct reduction *r) {
  for (int64_t outer = 0; outer < r->outer; outer++) {
    struct kk_walk at = kk_walk_to(r->kept_rank, r->kept, r->kept_strides, outer);
    union value *parts = r->partials + outer * r->splits * r->width;
    for (int64_t split = 1; split < r->splits; split++) {
      union value *part = parts + split * r->width;
      if (r->integer) for (int64_t j = 0; j < r->width; j++) combine(r, &parts[j], part[j]);
      else kk_combine_doubles(r->op, &parts->f, &part->f, r->width);
    }
    for (int64_t column = 0; column < r->width; column += STRIP)
      store_strip(
          r, at.offsets[0] + column * r->width_dst, parts + column, kk_min(STRIP, r->width - column));
  }
}

// Sorts the axes into kept and reduced ones and collapses each kind; returns the number of reduced elements.
static int64_t separate(
    struct reduction *r, int rank, const int64_t *shape, const bool *reduced, const int64_t *src_strides) {
  int64_t dst_stride = 1;
  int64_t dst_strides[KK_MAX_DIMS];
  for (int d = rank - 1; d >= 0; d--) {
    dst_strides[d] = reduced[d] ? 0 : dst_stride;
    if (!reduced[d]) dst_stride *= shape[d];
  }
  for (int d = 0; d < rank; d++) {
    int axis = reduced[d] ? r->rank++ : r->kept_rank++;
    (reduced[d] ? r->shape : r->kept)[axis] = shape[d];
    kk_strides *views = reduced[d] ? r->strides : r->kept_strides;
    views[0][axis] = reduced[d] ? src_strides[d] : dst_strides[d];
    views[1][axis] = src_strides[d];
  }
  return kk_element_count(r->rank, r->shape);
}

void kk_reduce(
    kk_reduction op, int32_t rank, const int64_t *shape, const bool *reduced, void *dst, kk_dtype dst_type,
    const void *src, kk_dtype src_type, const int64_t *src_strides, double scale) {
  if (rank < 0 || rank > KK_MAX_DIMS) kk_fail("kk_reduce", "rank must be 0 to 8");
  struct reduction r = {
      .op = op, .integer = kk_is_integer(src_type), .dst = dst, .src = src, .dst_type = dst_type,
      .src_type = src_type, .scale = scale};
  int64_t count = separate(&r, rank, shape, reduced, src_strides);
  int64_t results = kk_element_count(r.kept_rank, r.kept);
  if (results == 0) return;
  if (count == 0) {
    for (int64_t i = 0; i < results; i++) store(&r, i, identity(&r));
    return;
  }
  r.kept_rank = kk_collapse(r.kept_rank, r.kept, 2, r.kept_strides, 1);
  r.rank = kk_collapse(r.rank, r.shape, 2, r.strides, 1);
  const int last = r.rank - 1, inner = r.kept_rank - 1;
  r.row = r.shape[last];
  bool tighter = llabs(r.kept_strides[1][inner]) < llabs(r.strides[1][last]);
  r.columns = r.kept[inner] > 1 && (r.row == 1 || tighter);
  r.width = 1;
  if (r.columns) {
    r.width = r.kept[inner];
    r.width_dst = r.kept_strides[0][inner];
    r.width_src = r.kept_strides[1][inner];
    r.kept_rank--;
    r.steps = count;
  } else {
    r.row_pieces = kk_ceil_div(r.row, SPLIT_ELEMENTS);
    r.steps = count / r.row * r.row_pieces;
  }
  r.outer = results / r.width;
  r.strips = kk_ceil_div(r.width, STRIP);
  // Few results: the reduced space is shared out too, by a rule that does not know the number of threads.
  int64_t units = r.outer * r.strips;
  int64_t worth = kk_max(1, count * kk_min(r.width, STRIP) / SPLIT_ELEMENTS);
  r.splits = kk_max(1, kk_min(kk_min(kk_ceil_div(UNITS, units), worth), r.steps));
  if (r.columns && r.steps <= SHORT && r.width_src == 1 && (src_type == KK_F32 || src_type == KK_BF16)
      && !kk_is_integer(dst_type)) {
    kk_parallel_for(units, kk_max(1, GRAIN / (count * kk_min(r.width, STRIP))), run_short_units, &r);
    return;
  }
  if (r.splits > 1) {
    r.partials = malloc((size_t)(r.outer * r.splits * r.width) * sizeof *r.partials);
    if (!r.partials) kk_fail("kk_reduce", "out of memory");
  }
  int64_t unit_elements = kk_max(1, count / r.splits * kk_min(r.width, STRIP));
  kk_parallel_for(units * r.splits, kk_max(1, GRAIN / unit_elements), run_units, &r);
  if (r.splits > 1) combine_partials(&r);
  free(r.partials);
}
