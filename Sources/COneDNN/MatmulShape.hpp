// A matrix product's description in canonical form: few batch axes, no meaningless strides.
#pragma once

#include "Support.hpp"

namespace conednn {

/// One axis of the batch, with its stride in each operand; 0 broadcasts.
struct BatchAxis {
  int64_t size, a, b, c;
};

/// One matrix of `rows` x `columns` with positive strides; one of them is 1, or else it must be copied.
struct Matrix {
  int64_t rows, columns, row, column;
  /// Whether kernels read it in place: row-major or column-major without overlap.
  bool isReadable() const { return (column == 1 && row >= columns) || (row == 1 && column >= rows); }
  bool isTransposed() const { return column != 1; }
};

struct MatmulShape {
  Matrix a, b, c;
  std::vector<BatchAxis> batch;  // outermost first; empty, if one product remains

  /// Validates, drops batch axes of size 1, merges those that step as one, and makes rows of those that broadcast
  /// B and continue A's and C's rows. Throws `Failure` with the rule that the description breaks.
  explicit MatmulShape(const conednn_matmul_desc &desc);

  int64_t m() const { return c.rows; }
  int64_t n() const { return c.columns; }
  int64_t k() const { return a.columns; }
};

/// One line for messages: types and shapes.
std::string describe(const conednn_matmul_desc &desc);

/// Strides that a matrix with one row or one column has no use for become those of a dense matrix.
Matrix canonical(Matrix matrix);

/// Whether the library's classical GEMM is faster than its default, batch-reduce kernels (see Rules.cpp).
bool prefersGemm(const MatmulShape &shape, conednn_dtype type);

}  // namespace conednn
