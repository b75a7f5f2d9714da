#include "MatmulShape.hpp"
#include "conednn.h"

conednn_algorithm conednn_conv_rule(const conednn_conv_desc *desc) {
  const conednn_conv_desc &d = *desc;
  bool fits = d.type == CONEDNN_F32 && d.kh == 3 && d.kw == 3 && d.stride_h == 1 && d.stride_w == 1
           && d.dilation_h == 1 && d.dilation_w == 1 && d.groups == 1;
  if (!fits || d.c < 32 || d.k < 32) return CONEDNN_DIRECT;
  return d.h >= 8 && d.w >= 8 ? CONEDNN_WINOGRAD : CONEDNN_DIRECT;
}

namespace conednn {

bool prefersGemm(const MatmulShape &shape, conednn_dtype type) {
  if (shape.m() == 1) return true;
  return type == CONEDNN_F32 && !shape.b.isTransposed() && shape.k() * shape.n() >= 1 << 20;
}

}  // namespace conednn
