// The primitive descriptors, whose constructors differ between oneDNN 2 (operation descriptors) and 3.
// A descriptor that the library cannot fulfil comes back empty (false), not as an exception.
#pragma once

#include "Support.hpp"

namespace conednn {

struct ConvShape {
  dnnl::algorithm algorithm;
  Desc src, weights, bias, dst;  // bias may be the empty descriptor
  Dims strides, dilations, padBefore, padAfter;
};

inline dnnl::convolution_forward::primitive_desc forward(
    const ConvShape &s, const dnnl::primitive_attr &attributes) {
  using Forward = dnnl::convolution_forward;
  auto prop = dnnl::prop_kind::forward_training;
#if DNNL_VERSION_MAJOR >= 3
  return Forward::primitive_desc(
      engine(), prop, s.algorithm, s.src, s.weights, s.bias, s.dst, s.strides, s.dilations, s.padBefore, s.padAfter,
      attributes, true);
#else
  return Forward::primitive_desc(
      Forward::desc(
          prop, s.algorithm, s.src, s.weights, s.bias, s.dst, s.strides, s.dilations, s.padBefore, s.padAfter),
      attributes, engine(), true);
#endif
}

inline dnnl::convolution_backward_data::primitive_desc backwardData(
    const ConvShape &s, const dnnl::convolution_forward::primitive_desc &hint,
    const dnnl::primitive_attr &attributes) {
  using Backward = dnnl::convolution_backward_data;
#if DNNL_VERSION_MAJOR >= 3
  return Backward::primitive_desc(
      engine(), s.algorithm, s.src, s.weights, s.dst, s.strides, s.dilations, s.padBefore, s.padAfter, hint,
      attributes, true);
#else
  return Backward::primitive_desc(
      Backward::desc(s.algorithm, s.src, s.weights, s.dst, s.strides, s.dilations, s.padBefore, s.padAfter),
      attributes, engine(), hint, true);
#endif
}

inline dnnl::convolution_backward_weights::primitive_desc backwardWeights(
    const ConvShape &s, const dnnl::convolution_forward::primitive_desc &hint,
    const dnnl::primitive_attr &attributes) {
  using Backward = dnnl::convolution_backward_weights;
#if DNNL_VERSION_MAJOR >= 3
  return Backward::primitive_desc(
      engine(), s.algorithm, s.src, s.weights, s.bias, s.dst, s.strides, s.dilations, s.padBefore, s.padAfter, hint,
      attributes, true);
#else
  return Backward::primitive_desc(
      Backward::desc(
          s.algorithm, s.src, s.weights, s.bias, s.dst, s.strides, s.dilations, s.padBefore, s.padAfter),
      attributes, engine(), hint, true);
#endif
}

/// By the implementation whose name contains `preferred`, if there is one; else by the library's first choice.
inline dnnl::matmul::primitive_desc product(
    const Desc &a, const Desc &b, const Desc &bias, const Desc &c, const dnnl::primitive_attr &attributes,
    const char *preferred) {
#if DNNL_VERSION_MAJOR >= 3
  auto make = [&] { return dnnl::matmul::primitive_desc(engine(), a, b, bias, c, attributes, true); };
#else
  // The library does not copy it before `next_impl` reads it again.
  const dnnl::matmul::desc desc(a, b, bias, c);
  auto make = [&] { return dnnl::matmul::primitive_desc(desc, attributes, engine(), true); };
#endif
  auto found = make();
  if (!found || preferred == nullptr) return found;
  do {
    if (std::string(found.impl_info_str()).find(preferred) != std::string::npos) return found;
  } while (found.next_impl());
  return make();
}

/// Elementwise function over a whole buffer, in place.
inline dnnl::eltwise_forward::primitive_desc elementwise(
    const Desc &data, Elementwise f, const dnnl::primitive_attr &attributes) {
  auto prop = dnnl::prop_kind::forward_inference;
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::eltwise_forward::primitive_desc(engine(), prop, f.algorithm, data, data, f.alpha, 0, attributes, true);
#else
  return dnnl::eltwise_forward::primitive_desc({prop, f.algorithm, data, f.alpha, 0}, attributes, engine(), true);
#endif
}

}  // namespace conednn
