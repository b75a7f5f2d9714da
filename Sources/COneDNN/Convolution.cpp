#include "Compat.hpp"
#include "ConvolutionShape.hpp"
#include "Program.hpp"

using namespace conednn;

struct conednn_conv {
  conednn_conv_desc desc;
  conednn_conv_info info{};
  std::string implementation;
  Program program;
  Program::Slot data = -1, weights = -1, bias = -1, output = -1;  // src|diff_src, ..., dst|diff_dst
  Desc packed;
  Dims weightDims;

  explicit conednn_conv(const conednn_conv_desc &description);
  void run(const void *data, const void *weights, const void *bias, const void *output, void *scratch);

 private:
  /// How the library sees the activations: as the caller's NHWC, or in the layout it prefers, with reorders.
  enum Layout { nhwc, preferred };

  using Hint = dnnl::convolution_forward::primitive_desc;
  ConvShape shape(
      dnnl::algorithm algorithm, Layout layout, conednn_dtype dataSide, conednn_dtype weightSide,
      conednn_dtype outputSide) const;
  bool build(dnnl::algorithm algorithm, Layout layout, bool allowReference);
  bool buildForward(const ConvShape &shape, Layout layout, bool allowReference);
  bool buildBackwardData(const ConvShape &shape, const Hint &hint, bool allowReference);
  bool buildBackwardWeights(const ConvShape &shape, const Hint &hint, bool allowReference);
  template <class PrimitiveDesc>
  bool accept(const PrimitiveDesc &pd, bool allowReference);
  Program::Slot stagedInput(Program::Slot user, const Desc &userDesc, const Desc &wanted);

  // The element type of either map: what is written has type `output`, what is read `type`.
  conednn_dtype dataMapType() const { return desc.kind == CONEDNN_CONV_BACKWARD_DATA ? desc.output : desc.type; }
  conednn_dtype outputMapType() const { return desc.kind == CONEDNN_CONV_FORWARD ? desc.output : desc.type; }
  Desc userData() const { return Desc({desc.n, desc.c, desc.h, desc.w}, dataType(dataMapType()), Tag::nhwc); }
  Desc userOutput() const {
    return Desc({desc.n, desc.k, info.out_h, info.out_w}, dataType(outputMapType()), Tag::nhwc);
  }
};

conednn_conv::conednn_conv(const conednn_conv_desc &description) : desc(description) {
  validate(desc);
  info.out_h = outputHeight(desc);
  info.out_w = outputWidth(desc);
  weightDims = {desc.k, desc.c / desc.groups, desc.kh, desc.kw};
  if (desc.groups > 1) weightDims = {desc.groups, desc.k / desc.groups, desc.c / desc.groups, desc.kh, desc.kw};

  auto direct = dnnl::algorithm::convolution_direct;
  bool wantsWinograd = desc.algorithm == CONEDNN_WINOGRAD
                    || (desc.algorithm == CONEDNN_AUTO && conednn_conv_rule(&desc) == CONEDNN_WINOGRAD);
  if (wantsWinograd && build(dnnl::algorithm::convolution_winograd, preferred, false)) {
    info.algorithm = CONEDNN_WINOGRAD;
  } else if (desc.algorithm == CONEDNN_WINOGRAD) {
    throw Failure(describe(desc) + ": the library has no Winograd kernel for this");
  } else if (
      build(direct, nhwc, false) || build(direct, preferred, false)
      || (desc.allow_reference && build(direct, nhwc, true))) {
    info.algorithm = CONEDNN_DIRECT;
  } else {
    throw Failure(describe(desc) + ": oneDNN has only its slow reference code for this");
  }
  program.finish();
  info.scratch_bytes = program.scratchBytes();
  info.packed_bytes = packed.get_size();
  info.packed_layout = layoutHash(packed);
  info.implementation = implementation.c_str();
}

/// The library's view of the description with these element types; no bias.
ConvShape conednn_conv::shape(
    dnnl::algorithm algorithm, Layout layout, conednn_dtype dataSide, conednn_dtype weightSide,
    conednn_dtype outputSide) const {
  Tag tag = layout == nhwc ? Tag::nhwc : Tag::any;
  ConvShape shape;
  shape.algorithm = algorithm;
  shape.src = Desc({desc.n, desc.c, desc.h, desc.w}, dataType(dataSide), tag);
  shape.dst = Desc({desc.n, desc.k, info.out_h, info.out_w}, dataType(outputSide), tag);
  shape.weights = Desc(weightDims, dataType(weightSide), Tag::any);
  shape.strides = {desc.stride_h, desc.stride_w};
  shape.dilations = {desc.dilation_h - 1, desc.dilation_w - 1};
  shape.padBefore = {desc.pad_top, desc.pad_left};
  shape.padAfter = {desc.pad_bottom, desc.pad_right};
  return shape;
}

bool conednn_conv::build(dnnl::algorithm algorithm, Layout layout, bool allowReference) {
  program = Program();
  bool isGradient = desc.kind == CONEDNN_CONV_BACKWARD_WEIGHTS;
  ConvShape actual = shape(algorithm, layout, dataMapType(), isGradient ? desc.output : desc.type, outputMapType());
  if (desc.bias != CONEDNN_NO_BIAS)
    actual.bias = Desc({desc.k}, dataType(desc.bias == CONEDNN_BIAS_F32 ? CONEDNN_F32 : desc.type), Tag::x);
  if (desc.kind == CONEDNN_CONV_FORWARD) return buildForward(actual, layout, allowReference);

  // A gradient's creation asks for the forward primitive as a hint.
  auto hint = forward(shape(algorithm, layout, desc.type, desc.type, desc.type), attributes());
  if (!hint) return false;
  return isGradient ? buildBackwardWeights(actual, hint, allowReference)
                    : buildBackwardData(actual, hint, allowReference);
}

template <class PrimitiveDesc>
bool conednn_conv::accept(const PrimitiveDesc &pd, bool allowReference) {
  if (!pd) return false;
  implementation = pd.impl_info_str();
  return allowReference || !isReference(implementation);
}

/// The slot that a primitive reads for `user`: the same, or a reordered copy in scratch.
Program::Slot conednn_conv::stagedInput(Program::Slot user, const Desc &userDesc, const Desc &wanted) {
  if (wanted == userDesc) return user;
  Program::Slot copy = program.temporary(wanted);
  program.appendReorder(user, copy);
  return copy;
}

bool conednn_conv::buildForward(const ConvShape &shape, Layout layout, bool allowReference) {
  // In a preferred layout the old dst is added by the reorder back to NHWC, so the activation comes after it.
  bool addsInside = desc.accumulate && layout == nhwc;
  bool activatesInside = desc.activation != CONEDNN_IDENTITY && desc.accumulate == addsInside;
  auto make = [&] {
    return forward(shape, attributes(postOps(addsInside, activatesInside ? desc.activation : CONEDNN_IDENTITY)));
  };
  auto pd = make();
  if (!accept(pd, allowReference) && activatesInside && layout == preferred) {
    activatesInside = false;
    pd = make();
  }
  if (!accept(pd, allowReference)) return false;

  packed = pd.weights_desc();
  data = program.external(userData());
  output = program.external(userOutput());
  weights = program.external(packed);
  Program::Slot source = stagedInput(data, userData(), pd.src_desc());
  Program::Slot target = pd.dst_desc() == userOutput() ? output : program.temporary(pd.dst_desc());
  if (target == output && desc.accumulate && !addsInside) return false;
  if (desc.bias != CONEDNN_NO_BIAS) {
    bias = program.external(pd.bias_desc());
    program.append(
        pd, dnnl::convolution_forward(pd),
        {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, target}});
  } else {
    program.append(
        pd, dnnl::convolution_forward(pd),
        {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, target}});
  }
  if (target != output) program.appendReorder(target, output, postOps(desc.accumulate, CONEDNN_IDENTITY));
  if (desc.activation != CONEDNN_IDENTITY && !activatesInside) {
    auto activation = conednn::elementwise(userOutput(), conednn::elementwise(desc.activation), attributes());
    if (!activation) return false;
    program.append(
        activation, dnnl::eltwise_forward(activation), {{DNNL_ARG_SRC, output}, {DNNL_ARG_DST, output}});
  }
  return true;
}

bool conednn_conv::buildBackwardData(
    const ConvShape &shape, const Hint &hint, bool allowReference) {
  auto pd = backwardData(shape, hint, attributes());
  if (!accept(pd, allowReference)) return false;

  packed = pd.weights_desc();
  data = program.external(userData());
  output = program.external(userOutput());
  weights = program.external(packed);
  Program::Slot source = stagedInput(output, userOutput(), pd.diff_dst_desc());
  Program::Slot target = pd.diff_src_desc() == userData() ? data : program.temporary(pd.diff_src_desc());
  program.append(
      pd, dnnl::convolution_backward_data(pd),
      {{DNNL_ARG_DIFF_DST, source}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DIFF_SRC, target}});
  if (target != data) program.appendReorder(target, data);
  return true;
}

bool conednn_conv::buildBackwardWeights(
    const ConvShape &shape, const Hint &hint, bool allowReference) {
  auto pd = backwardWeights(shape, hint, attributes());
  if (!accept(pd, allowReference)) return false;

  packed = pd.diff_weights_desc();
  data = program.external(userData());
  output = program.external(userOutput());
  weights = program.external(packed);
  Program::Slot source = stagedInput(data, userData(), pd.src_desc());
  Program::Slot gradient = stagedInput(output, userOutput(), pd.diff_dst_desc());
  dnnl::convolution_backward_weights primitive(pd);
  if (desc.bias != CONEDNN_NO_BIAS) {
    bias = program.external(pd.diff_bias_desc());
    program.append(
        pd, primitive,
        {{DNNL_ARG_SRC, source},
         {DNNL_ARG_DIFF_DST, gradient},
         {DNNL_ARG_DIFF_WEIGHTS, weights},
         {DNNL_ARG_DIFF_BIAS, bias}});
  } else {
    program.append(
        pd, primitive,
        {{DNNL_ARG_SRC, source}, {DNNL_ARG_DIFF_DST, gradient}, {DNNL_ARG_DIFF_WEIGHTS, weights}});
  }
  return true;
}

void conednn_conv::run(
    const void *dataPointer, const void *weightPointer, const void *biasPointer, const void *outputPointer,
    void *scratch) {
  if ((biasPointer != nullptr) != (bias >= 0))
    throw Failure(describe(desc) + (bias >= 0 ? ": bias is NULL" : ": bias given, but none described"));
  program.bind(data, dataPointer);
  program.bind(weights, weightPointer);
  if (bias >= 0) program.bind(bias, biasPointer);
  program.bind(output, outputPointer);
  program.run(scratch);
}

// MARK: C interface

conednn_conv *conednn_conv_create(const conednn_conv_desc *desc, char *message, size_t capacity) {
  return guarded<conednn_conv *>(nullptr, message, capacity, [&] { return new conednn_conv(*desc); });
}

void conednn_conv_destroy(conednn_conv *conv) { delete conv; }

conednn_conv_info conednn_conv_get_info(const conednn_conv *conv) { return conv->info; }

int conednn_conv_pack(
    conednn_conv *conv, const void *weights, conednn_dtype source, void *packed, char *message, size_t capacity) {
  return guarded(1, message, capacity, [&] {
    if (conv->desc.kind == CONEDNN_CONV_BACKWARD_WEIGHTS) throw Failure("pack: this handle unpacks a gradient");
    reorder(
        Desc(conv->weightDims, dataType(source), denseStrides(conv->weightDims)), weights, conv->packed, packed);
    return 0;
  });
}

int conednn_conv_unpack(
    conednn_conv *conv, const void *packed, conednn_dtype target, void *weights, char *message, size_t capacity) {
  return guarded(1, message, capacity, [&] {
    if (conv->desc.kind != CONEDNN_CONV_BACKWARD_WEIGHTS) throw Failure("unpack: this handle packs weights");
    reorder(
        conv->packed, packed, Desc(conv->weightDims, dataType(target), denseStrides(conv->weightDims)), weights);
    return 0;
  });
}

static int run(
    conednn_conv *conv, conednn_conv_kind kind, const void *data, const void *weights, const void *bias,
    const void *output, void *scratch, char *message, size_t capacity) {
  return guarded(1, message, capacity, [&] {
    if (conv->desc.kind != kind) throw Failure(describe(conv->desc) + ": run as another kind");
    conv->run(data, weights, bias, output, scratch);
    return 0;
  });
}

int conednn_conv_forward(
    conednn_conv *conv, const void *src, const void *packed, const void *bias, void *dst, void *scratch,
    char *message, size_t capacity) {
  return run(conv, CONEDNN_CONV_FORWARD, src, packed, bias, dst, scratch, message, capacity);
}

int conednn_conv_backward_data(
    conednn_conv *conv, const void *diff_dst, const void *packed, void *diff_src, void *scratch, char *message,
    size_t capacity) {
  return run(
      conv, CONEDNN_CONV_BACKWARD_DATA, diff_src, packed, nullptr, diff_dst, scratch, message, capacity);
}

int conednn_conv_backward_weights(
    conednn_conv *conv, const void *src, const void *diff_dst, void *packed_gradient, void *diff_bias,
    void *scratch, char *message, size_t capacity) {
  return run(
      conv, CONEDNN_CONV_BACKWARD_WEIGHTS, src, packed_gradient, diff_bias, diff_dst, scratch, message, capacity);
}
