#include "ConvolutionShape.hpp"

#include <algorithm>

namespace conednn {

static int64_t outputSize(int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t before, int64_t after) {
  int64_t room = size + before + after - ((kernel - 1) * dilation + 1);
  return room < 0 ? 0 : room / stride + 1;
}

int64_t outputHeight(const conednn_conv_desc &d) {
  return outputSize(d.h, d.kh, d.stride_h, d.dilation_h, d.pad_top, d.pad_bottom);
}

int64_t outputWidth(const conednn_conv_desc &d) {
  return outputSize(d.w, d.kw, d.stride_w, d.dilation_w, d.pad_left, d.pad_right);
}

std::string describe(const conednn_conv_desc &d) {
  const char *kinds[] = {"forward", "backward-data", "backward-weights"};
  return format(
      "convolution %s %s->%s: (%lld, %lld, %lld, %lld) -> %lld channels, kernel %lldx%lld, stride %lldx%lld, "
      "dilation %lldx%lld, padding (%lld, %lld, %lld, %lld), groups %lld%s%s",
      kinds[d.kind], name(d.type), name(d.output), (long long)d.n, (long long)d.h, (long long)d.w, (long long)d.c,
      (long long)d.k, (long long)d.kh, (long long)d.kw, (long long)d.stride_h, (long long)d.stride_w,
      (long long)d.dilation_h, (long long)d.dilation_w, (long long)d.pad_top, (long long)d.pad_left,
      (long long)d.pad_bottom, (long long)d.pad_right, (long long)d.groups, d.bias ? ", bias" : "",
      d.accumulate ? ", accumulate" : "");
}

void validate(const conednn_conv_desc &d) {
  auto require = [&](bool holds, const char *rule) {
    if (!holds) throw Failure(describe(d) + ": " + rule);
  };
  if (d.kind < CONEDNN_CONV_FORWARD || d.kind > CONEDNN_CONV_BACKWARD_WEIGHTS)
    throw Failure(format("convolution: unknown kind %d", int(d.kind)));
  require(std::min({d.n, d.h, d.w, d.c, d.k, d.kh, d.kw}) > 0, "every dimension must be positive");
  require(std::min({d.stride_h, d.stride_w, d.dilation_h, d.dilation_w}) > 0, "stride and dilation start at 1");
  require(std::min({d.pad_top, d.pad_left, d.pad_bottom, d.pad_right}) >= 0, "padding must not be negative");
  require(d.groups > 0 && d.c % d.groups == 0 && d.k % d.groups == 0, "groups must divide both channel counts");
  require(outputHeight(d) > 0 && outputWidth(d) > 0, "the kernel is larger than the padded map");
  require(d.output == CONEDNN_F32 || d.type == CONEDNN_BF16, "float32 operands have float32 output");
  require(
      d.kind == CONEDNN_CONV_FORWARD || (!d.accumulate && d.activation == CONEDNN_IDENTITY),
      "only forward takes post-ops");
  require(d.kind != CONEDNN_CONV_BACKWARD_DATA || d.bias == CONEDNN_NO_BIAS, "backward-data takes no bias");
  require(
      d.activation == CONEDNN_IDENTITY || d.activation == CONEDNN_RELU || d.activation == CONEDNN_SWISH,
      "the activation must be identity, relu or swish");
}

}  // namespace conednn
