// Private: products in registers; a template. MULTIPLY(SUM, X, Y) adds the products of units X and Y, of UNIT_NUMBERS numbers
// each, to SUM; TARGET is for functions that are inlined, FUNCTION for those that are not.

// R rows of V vectors of sums.
#define TILE(R, V)                                                                                           \
  KK_INLINE TARGET void tile_##R##x##V(                                                                      \
      const kk_product *p, const char *a, const float *b, int64_t b_row, float *c) {                         \
    KK_CONTRACT                                                                                              \
    const int64_t a_row = p->a_row, a_step = p->a_step, c_row = p->c_row;                                    \
    kk_lanes sum[R][V];                                                                                      \
    _Pragma("unroll") for (int r = 0; r < R; r++)                                                            \
        _Pragma("unroll") for (int v = 0; v < V; v++)                                                        \
            sum[r][v] = p->add ? KK_LOAD(c + r * c_row + 16 * v) : (kk_lanes)0.0f;                           \
    for (long l = p->depth; l > 0; l--, a += a_step, b += b_row) {                                           \
      kk_lanes y[V];                                                                                         \
      _Pragma("unroll") for (int v = 0; v < V; v++) y[v] = KK_LOAD(b + 16 * v);                              \
      _Pragma("unroll") for (int r = 0; r < R; r++) {                                                        \
        const kk_lanes x = (kk_lanes) * (const unit *)(a + r * a_row);                                       \
        _Pragma("unroll") for (int v = 0; v < V; v++) MULTIPLY(sum[r][v], x, y[v]);                          \
      }                                                                                                      \
    }                                                                                                        \
    _Pragma("unroll") for (int r = 0; r < R; r++)                                                            \
        _Pragma("unroll") for (int v = 0; v < V; v++) KK_STORE(c + r * c_row + 16 * v, sum[r][v]);           \
  }

typedef float unit __attribute__((aligned(2)));

#define CASE(R, V)                                                                                           \
  case R: tile_##R##x##V(&tile, a, b, b_row, c); break;
#define UP_TO_6(V) CASE(1, V) CASE(2, V) CASE(3, V) CASE(4, V) CASE(5, V) CASE(6, V)
#define UP_TO_8(V) UP_TO_6(V) CASE(7, V) CASE(8, V)
#define UP_TO_12(V) UP_TO_8(V) CASE(9, V) CASE(10, V) CASE(11, V) CASE(12, V)

// Keys that the last of rows ..< end has to do with.
KK_INLINE TARGET long seen_keys(const kk_product *p, long end) { return kk_max(0, p->seen + end - 1); }

#ifdef WIDE
TILE(1, 4) TILE(2, 4) TILE(3, 4) TILE(4, 4) TILE(5, 4) TILE(6, 4)
TILE(1, 3) TILE(2, 3) TILE(3, 3) TILE(4, 3) TILE(5, 3) TILE(6, 3) TILE(7, 3) TILE(8, 3)
TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2) TILE(7, 2) TILE(8, 2) TILE(9, 2) TILE(10, 2)
TILE(11, 2) TILE(12, 2)
TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1) TILE(7, 1) TILE(8, 1) TILE(9, 1) TILE(10, 1)
TILE(11, 1) TILE(12, 1)

// For 32 registers of 64 bytes: 24 of them hold sums. Panels from the left until n columns are done.
FUNCTION void multiply_wide(const kk_product *p) {
  const float *b = p->b;
  const long vectors = kk_ceil_div(p->n, KK_LANES), stored = p->b_lanes / KK_LANES;
  kk_product tile = *p;
  for (long panel = 0, at = 0; at < vectors; panel++) {
    const long width = kk_panel_vectors(stored, panel), most = kk_min(width, vectors - at);
    const int64_t b_row = 16 * width;
    const long tiles = kk_ceil_div(p->m, kk_tile_rows(most));
    for (long t = 0; t < tiles; t++) {
      const long i = p->m * t / tiles, end = p->m * (t + 1) / tiles;
      const char *a = (const char *)p->a + i * p->a_row;
      float *c = p->c + i * p->c_row + 16 * at;
      long count = most;
      if (p->causal == KK_CAUSAL_COLUMNS) count = kk_min(most, kk_ceil_div(seen_keys(p, end), KK_LANES) - at);
      if (p->causal == KK_CAUSAL_DEPTH)
        tile.depth = kk_min(p->depth, kk_ceil_div(seen_keys(p, end), UNIT_NUMBERS));
      kk_fetch(p->ahead);
      switch (count) {
        case 4: switch (end - i) { UP_TO_6(4) } break;
        case 3: switch (end - i) { UP_TO_8(3) } break;
        case 2: switch (end - i) { UP_TO_12(2) } break;
        case 1: switch (end - i) { UP_TO_12(1) } break;
      }
    }
    b += b_row * p->b_depth;
    at += width;
  }
}
#else
TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1)

// For 16 registers of 32 bytes: 12 of them hold sums. Computes what causal scores could be spared.
FUNCTION void multiply_narrow(const kk_product *p) {
  const float *panel_b = p->b;
  const long vectors = kk_ceil_div(p->n, KK_LANES), stored = p->b_lanes / KK_LANES;
  const long tiles = kk_ceil_div(p->m, 6);
  const kk_product tile = *p;
  for (long panel = 0, first = 0; first < vectors; panel++) {
    const long width = kk_panel_vectors(stored, panel);
    const int64_t b_row = 16 * width;
    for (long at = first; at < kk_min(vectors, first + width); at++) {
      const float *b = panel_b + 16 * (at - first);
      for (long t = 0; t < tiles; t++) {
        const long i = p->m * t / tiles, end = p->m * (t + 1) / tiles;
        const char *a = (const char *)p->a + i * p->a_row;
        float *c = p->c + i * p->c_row + 16 * at;
        kk_fetch(p->ahead);
        switch (end - i) { UP_TO_6(1) }
      }
    }
    panel_b += b_row * p->b_depth;
    first += width;
  }
}
#endif
