#include "ckernels/optimizer.h"

#include "common.h"

// Lists of few tensors and sums of few pieces lie on the stack.
enum { PIECE = 1 << 14, FEW = 4, FEW_PIECES = 512 };

// Tensors are cut into pieces of PIECE elements; piece k of the whole list belongs to the tensor whose range
// [first[i], first[i + 1]) holds k.
struct list {
  int32_t count;
  const int64_t *sizes;
  int64_t *first, few[FEW + 1];
};

typedef void (*piece_body)(const void *context, int32_t tensor, int64_t begin, long n, int64_t piece);

struct launch {
  const struct list *list;
  piece_body body;
  const void *context;
};

static void open_list(struct list *l, int32_t count, const int64_t *sizes) {
  l->count = count;
  l->sizes = sizes;
  l->first = count <= FEW ? l->few : malloc(((size_t)count + 1) * sizeof *l->first);
  if (!l->first) kk_fail("optimizer", "out of memory");
  l->first[0] = 0;
  for (int32_t i = 0; i < count; i++) l->first[i + 1] = l->first[i] + kk_ceil_div(sizes[i], PIECE);
}

static void close_list(struct list *l) {
  if (l->first != l->few) free(l->first);
}

static int32_t tensor_of(const struct list *l, int64_t piece) {
  int32_t low = 0, high = l->count;
  while (high - low > 1) {
    int32_t middle = low + (high - low) / 2;
    if (l->first[middle] <= piece) low = middle;
    else high = middle;
  }
  return low;
}

static void run_pieces(long begin, long end, int worker, void *context) {
  (void)worker;
  const struct launch *launch = context;
  const struct list *l = launch->list;
  int32_t tensor = begin < end ? tensor_of(l, begin) : 0;
  for (long k = begin; k < end; k++) {
    while (k >= l->first[tensor + 1]) tensor++;
    int64_t start = (k - l->first[tensor]) * PIECE;
    launch->body(launch->context, tensor, start, kk_min(PIECE, l->sizes[tensor] - start), k);
  }
}

static void for_each_piece(const struct list *l, piece_body body, const void *context) {
  struct launch launch = {l, body, context};
  kk_parallel_for(l->first[l->count], 1, run_pieces, &launch);
}

static bool is_skipped(const uint8_t *finite) { return finite && !*finite; }
static float scalar(const float *p, float absent) { return p ? *p : absent; }

KK_CLONES static double squares_loop(const float *x, long n) {
  KK_REASSOCIATE
  // Rows of 256 in f32, their sums in f64.
  double total = 0;
  for (long i = 0; i < n; i += 256) {
    float sum = 0;
    for (long j = i; j < kk_min(n, i + 256); j++) sum += x[j] * x[j];
    total += sum;
  }
  return total;
}

struct squares {
  const float *const *x;
  double *sums;
};

static void squares_piece(const void *context, int32_t tensor, int64_t begin, long n, int64_t piece) {
  const struct squares *s = context;
  s->sums[piece] = squares_loop(s->x[tensor] + begin, n);
}

void kk_sum_of_squares(
    int32_t count, const float *const *x, const int64_t *sizes, double scale, float *result) {
  struct list list;
  open_list(&list, count, sizes);
  int64_t pieces = list.first[count];
  double few[FEW_PIECES];
  struct squares s = {x, pieces <= FEW_PIECES ? few : malloc((size_t)pieces * sizeof(double))};
  if (!s.sums) kk_fail("kk_sum_of_squares", "out of memory");
  for_each_piece(&list, squares_piece, &s);
  double total = 0;
  for (int64_t k = 0; k < pieces; k++) total += s.sums[k];
  *result = (float)(scale * total);
  if (s.sums != few) free(s.sums);
  close_list(&list);
}

KK_CLONES static void ema_loop(float *average, const float *x, long n, float decay) {
  KK_CONTRACT
  const float gain = 1 - decay;
  KK_INDEPENDENT for (long i = 0; i < n; i++) average[i] += gain * (x[i] - average[i]);
}

struct adam {
  float *const *p, *const *m, *const *v;
  const float *const *g;
  float *const *averages;  // or NULL
  float beta1, beta2, epsilon, gradient_scale, coupled_decay, keep, step, root, average_decay;
};

KK_CLONES static void adam_loop(
    const struct adam *s, float *p, const float *gradient, float *m, float *v, long n) {
  KK_CONTRACT
  const float beta1 = s->beta1, beta2 = s->beta2, epsilon = s->epsilon, scale = s->gradient_scale;
  const float decay = s->coupled_decay, keep = s->keep, step = s->step, root = s->root;
  KK_INDEPENDENT for (long i = 0; i < n; i++) {
    float g = scale * gradient[i] + decay * p[i];
    float mi = beta1 * m[i] + (1 - beta1) * g, vi = beta2 * v[i] + (1 - beta2) * g * g;
    m[i] = mi;
    v[i] = vi;
    p[i] = keep * p[i] - step * mi / (__builtin_elementwise_sqrt(vi) * root + epsilon);
  }
}

static void adam_piece(const void *context, int32_t t, int64_t begin, long n, int64_t piece) {
  (void)piece;
  const struct adam *s = context;
  adam_loop(s, s->p[t] + begin, s->g[t] + begin, s->m[t] + begin, s->v[t] + begin, n);
  if (s->averages) ema_loop(s->averages[t] + begin, s->p[t] + begin, n, s->average_decay);
}

void kk_adam_update(
    const kk_adam *a, int32_t count, float *const *parameters, const float *const *gradients, float *const *m,
    float *const *v, const int64_t *sizes) {
  if (is_skipped(a->finite)) return;
  const float decay = scalar(a->weight_decay, 0), rate = *a->learning_rate;
  struct adam s = {
      .p = parameters, .m = m, .v = v, .g = gradients, .averages = a->averages,
      .average_decay = scalar(a->average_decay, 0), .beta1 = *a->beta1, .beta2 = *a->beta2,
      .epsilon = *a->epsilon, .gradient_scale = scalar(a->gradient_scale, 1),
      .coupled_decay = a->decoupled ? 0 : decay, .keep = a->decoupled ? 1 - rate * decay : 1,
      .step = rate / *a->correction1, .root = 1 / sqrtf(*a->correction2)};
  struct list list;
  open_list(&list, count, sizes);
  for_each_piece(&list, adam_piece, &s);
  close_list(&list);
}

struct sgd {
  float *const *p, *const *b;
  const float *const *g;
  float rate, momentum, decay, gradient_scale;
  bool nesterov;
};

KK_CLONES static void sgd_loop(const struct sgd *s, float *p, const float *gradient, float *b, long n) {
  KK_CONTRACT
  const float rate = s->rate, momentum = s->momentum, decay = s->decay, scale = s->gradient_scale;
  if (!b) {
    KK_INDEPENDENT for (long i = 0; i < n; i++) p[i] -= rate * (scale * gradient[i] + decay * p[i]);
  } else if (s->nesterov) {
    KK_INDEPENDENT for (long i = 0; i < n; i++) {
      float g = scale * gradient[i] + decay * p[i], bi = momentum * b[i] + g;
      b[i] = bi;
      p[i] -= rate * (g + momentum * bi);
    }
  } else {
    KK_INDEPENDENT for (long i = 0; i < n; i++) {
      float bi = momentum * b[i] + (scale * gradient[i] + decay * p[i]);
      b[i] = bi;
      p[i] -= rate * bi;
    }
  }
}

static void sgd_piece(const void *context, int32_t t, int64_t begin, long n, int64_t piece) {
  (void)piece;
  const struct sgd *s = context;
  sgd_loop(s, s->p[t] + begin, s->g[t] + begin, s->b ? s->b[t] + begin : NULL, n);
}

void kk_sgd_update(
    const kk_sgd *o, int32_t count, float *const *parameters, const float *const *gradients,
    float *const *buffers, const int64_t *sizes) {
  if (is_skipped(o->finite)) return;
  struct sgd s = {
      .p = parameters, .b = buffers, .g = gradients, .rate = *o->learning_rate,
      .momentum = scalar(o->momentum, 0), .decay = scalar(o->weight_decay, 0),
      .gradient_scale = scalar(o->gradient_scale, 1), .nesterov = o->nesterov};
  struct list list;
  open_list(&list, count, sizes);
  for_each_piece(&list, sgd_piece, &s);
  close_list(&list);
}

struct ema {
  float *const *average;
  const float *const *x;
  float decay;
};

static void ema_piece(const void *context, int32_t t, int64_t begin, long n, int64_t piece) {
  (void)piece;
  const struct ema *s = context;
  ema_loop(s->average[t] + begin, s->x[t] + begin, n, s->decay);
}

void kk_ema_update(
    const float *decay, const uint8_t *finite, int32_t count, float *const *averages, const float *const *x,
    const int64_t *sizes) {
  if (is_skipped(finite)) return;
  struct ema s = {averages, x, *decay};
  struct list list;
  open_list(&list, count, sizes);
  for_each_piece(&list, ema_piece, &s);
  close_list(&list);
}
