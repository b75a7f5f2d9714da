#include "MatmulShape.hpp"

#include <algorithm>

namespace conednn {

std::string describe(const conednn_matmul_desc &d) {
  std::string batch;
  for (int i = 0; i < std::clamp<int>(d.batch_rank, 0, CONEDNN_MAX_BATCH_RANK); i++)
    batch += format("%lld, ", (long long)d.batch[i]);
  return format(
      "matmul %s->%s: (%s%lld, %lld) x (%s%lld, %lld), strides (%lld, %lld) x (%lld, %lld) -> (%lld, 1)%s%s%s",
      name(d.type), name(d.output), batch.c_str(), (long long)d.m, (long long)d.k, batch.c_str(), (long long)d.k,
      (long long)d.n, (long long)d.a_row, (long long)d.a_column, (long long)d.b_row, (long long)d.b_column,
      (long long)d.c_row, d.bias ? ", bias" : "", d.accumulate ? ", accumulate" : "", d.packed ? ", packed" : "");
}

Matrix canonical(Matrix x) {
  if (x.columns == 1) x.column = 1;
  if (x.rows == 1) x.row = x.column == 1 ? x.columns : 1;
  return x;
}

MatmulShape::MatmulShape(const conednn_matmul_desc &d)
    : a{d.m, d.k, d.a_row, d.a_column}, b{d.k, d.n, d.b_row, d.b_column}, c{d.m, d.n, d.c_row, 1} {
  auto require = [&](bool holds, const char *rule) {
    if (!holds) throw Failure(describe(d) + ": " + rule);
  };
  require(std::min({d.m, d.k, d.n}) > 0, "every dimension must be positive");
  require(d.batch_rank >= 0 && d.batch_rank <= CONEDNN_MAX_BATCH_RANK, "too many batch axes");
  require(d.output == CONEDNN_F32 || d.type == CONEDNN_BF16, "float32 operands have float32 output");
  if (d.packed) b = {d.k, d.n, d.n, 1};
  auto positive = [](const Matrix &x) { return (x.rows == 1 || x.row > 0) && (x.columns == 1 || x.column > 0); };
  require(positive(a) && positive(b), "strides of A and B must be positive");
  require(d.m == 1 || d.c_row >= d.n, "rows of C overlap");

  for (int i = 0; i < d.batch_rank; i++) {
    BatchAxis axis{d.batch[i], d.a_batch[i], d.packed ? 0 : d.b_batch[i], d.c_batch[i]};
    require(axis.size > 0, "every dimension must be positive");
    if (axis.size == 1) continue;
    require(axis.a >= 0 && axis.b >= 0 && axis.c > 0, "batch strides must be positive, or 0 to broadcast A or B");
    BatchAxis *outer = batch.empty() ? nullptr : &batch.back();
    if (outer && outer->a == axis.a * axis.size && outer->b == axis.b * axis.size && outer->c == axis.c * axis.size)
      *outer = {outer->size * axis.size, axis.a, axis.b, axis.c};
    else
      batch.push_back(axis);
  }
  for (size_t i = batch.size(); i-- > 0;) {
    const BatchAxis axis = batch[i];
    if (axis.b != 0 || axis.a == 0) continue;
    if (c.rows == 1) {
      a.row = axis.a;
      c.row = axis.c;
      require(c.row >= c.columns, "rows of C overlap");
    } else if (axis.a != c.rows * a.row || axis.c != c.rows * c.row) {
      continue;
    }
    a.rows *= axis.size;
    c.rows *= axis.size;
    batch.erase(batch.begin() + i);
  }
  a = canonical(a);
  b = canonical(b);
  c = canonical(c);
}

}  // namespace conednn
