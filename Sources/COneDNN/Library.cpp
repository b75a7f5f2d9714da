#include <algorithm>
#include <cstring>

#include "Support.hpp"

// Declared here because clang's toolchain brings no omp.h; the library's OpenMP runtime defines them.
extern "C" void omp_set_num_threads(int);
extern "C" int omp_get_max_threads(void);

namespace conednn {

const dnnl::engine &engine() {
  static const dnnl::engine shared(dnnl::engine::kind::cpu, 0);
  return shared;
}

const dnnl::stream &stream() {
  static const dnnl::stream shared(engine());
  return shared;
}

std::string format(const char *pattern, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, pattern);
  vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

void writeMessage(const char *text, char *message, size_t capacity) noexcept {
  if (message != nullptr && capacity > 0) snprintf(message, capacity, "%s", text);
}

Dims denseStrides(const Dims &dims) {
  Dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

dnnl::primitive_attr attributes(const dnnl::post_ops &posts) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_post_ops(posts);
  return attributes;
}

Elementwise elementwise(conednn_activation activation) {
  switch (activation) {
    case CONEDNN_IDENTITY: break;
    case CONEDNN_RELU: return {dnnl::algorithm::eltwise_relu, 0};
    case CONEDNN_SWISH: return {dnnl::algorithm::eltwise_swish, 1};
    case CONEDNN_GELU_ERF: return {dnnl::algorithm::eltwise_gelu_erf, 0};
    case CONEDNN_GELU_TANH: return {dnnl::algorithm::eltwise_gelu_tanh, 0};
  }
  throw Failure(format("unknown activation %d", int(activation)));
}

dnnl::post_ops postOps(bool accumulate, conednn_activation activation) {
  dnnl::post_ops posts;
  if (accumulate) posts.append_sum();
  if (activation == CONEDNN_IDENTITY) return posts;
  Elementwise f = elementwise(activation);
#if DNNL_VERSION_MAJOR >= 3
  posts.append_eltwise(f.algorithm, f.alpha, 0);
#else
  posts.append_eltwise(1, f.algorithm, f.alpha, 0);
#endif
  return posts;
}

bool isReference(const std::string &implementation) {
  return implementation.empty() || implementation.find("ref") != std::string::npos;
}

// FNV-1a over what determines the meaning of a buffer's bytes.
uint64_t layoutHash(const Desc &desc) {
  uint64_t hash = 1469598103934665603u;
  auto add = [&](int64_t value) {
    for (int byte = 0; byte < 8; byte++) hash = (hash ^ (uint64_t(value) >> (8 * byte) & 255)) * 1099511628211u;
  };
  auto addAll = [&](const Dims &values) {
    for (int64_t value : values) add(value);
  };
#if DNNL_VERSION_MAJOR >= 3
  add(int64_t(desc.get_data_type()));
  add(int64_t(desc.get_format_kind()));
  addAll(desc.get_dims());
  addAll(desc.get_padded_dims());
  add(int64_t(desc.get_size()));
  if (desc.get_format_kind() == dnnl::memory::format_kind::blocked) {
    addAll(desc.get_strides());
    addAll(desc.get_inner_blks());
    addAll(desc.get_inner_idxs());
  }
#else
  const dnnl_memory_desc_t &d = desc.data;
  add(d.data_type);
  add(d.format_kind);
  addAll(Dims(d.dims, d.dims + d.ndims));
  addAll(Dims(d.padded_dims, d.padded_dims + d.ndims));
  add(int64_t(desc.get_size()));
  if (d.format_kind == dnnl_blocked) {
    const dnnl_blocking_desc_t &b = d.format_desc.blocking;
    addAll(Dims(b.strides, b.strides + d.ndims));
    addAll(Dims(b.inner_blks, b.inner_blks + b.inner_nblks));
    addAll(Dims(b.inner_idxs, b.inner_idxs + b.inner_nblks));
  } else if (d.format_kind == dnnl_format_kind_wino) {
    const dnnl_wino_desc_t &w = d.format_desc.wino_desc;
    addAll({int64_t(w.wino_format), w.r, w.alpha, w.ic, w.oc, w.ic_block, w.oc_block, w.ic2_block, w.oc2_block});
  }
#endif
  return hash;
}

}  // namespace conednn

const char *conednn_version(void) {
  static const std::string text = [] {
    const dnnl_version_t *v = dnnl_version();
    return conednn::format("%d.%d.%d", v->major, v->minor, v->patch);
  }();
  return text.c_str();
}

const char *conednn_isa(void) {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41: return "sse41";
    case dnnl::cpu_isa::avx: return "avx";
    case dnnl::cpu_isa::avx2: return "avx2";
    case dnnl::cpu_isa::avx2_vnni: return "avx2_vnni";
    case dnnl::cpu_isa::avx512_core: return "avx512_core";
    case dnnl::cpu_isa::avx512_core_vnni: return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16: return "avx512_core_bf16";
    case dnnl::cpu_isa::avx512_core_amx: return "avx512_core_amx";
#if DNNL_VERSION_MAJOR >= 3
    case dnnl::cpu_isa::avx512_core_fp16: return "avx512_core_fp16";
    case dnnl::cpu_isa::avx512_core_amx_fp16: return "avx512_core_amx_fp16";
#endif
    default: return conednn_bf16_fast() ? "newer than avx512_core_bf16" : "generic";
  }
}

bool conednn_bf16_fast(void) {
  // An instruction set's number has the bits of each one that it includes; 0 stands for "not x86".
  auto isa = unsigned(dnnl::get_effective_cpu_isa()), bf16 = unsigned(dnnl::cpu_isa::avx512_core_bf16);
  return (isa & bf16) == bf16;
}

void conednn_set_threads(int count) { omp_set_num_threads(std::max(count, 1)); }
int conednn_threads(void) { return omp_get_max_threads(); }

size_t conednn_dtype_size(conednn_dtype type) { return type == CONEDNN_BF16 ? 2 : 4; }
