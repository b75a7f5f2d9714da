// What every file here shares: the engine, failures, and types of the C header in terms of the library's.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <oneapi/dnnl/dnnl.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "conednn.h"

namespace conednn {

using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;
using Tag = dnnl::memory::format_tag;

/// A request that cannot be fulfilled; `what()` is the line that the caller reads.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

/// The one CPU engine and in-order stream of the process.
const dnnl::engine &engine();
const dnnl::stream &stream();

inline dnnl::memory::data_type dataType(conednn_dtype type) {
  return type == CONEDNN_BF16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

inline const char *name(conednn_dtype type) { return type == CONEDNN_BF16 ? "bf16" : "f32"; }

/// Dense row-major strides.
Dims denseStrides(const Dims &dims);

/// A number that is equal for descriptors of equal layout.
uint64_t layoutHash(const Desc &desc);

/// Attributes of every primitive: the caller owns the scratchpad.
dnnl::primitive_attr attributes(const dnnl::post_ops &posts = {});

/// An activation in the library's terms; not for IDENTITY.
struct Elementwise {
  dnnl::algorithm algorithm;
  float alpha;
};
Elementwise elementwise(conednn_activation activation);

/// Result = activation(computed + old, if `accumulate`).
dnnl::post_ops postOps(bool accumulate, conednn_activation activation);

bool isReference(const std::string &implementation);

void writeMessage(const char *text, char *message, size_t capacity) noexcept;

/// Runs `body`; an exception becomes the message and `failed`.
template <class Result, class Body>
Result guarded(Result failed, char *message, size_t capacity, Body body) noexcept {
  try {
    return body();
  } catch (const dnnl::error &error) {
    const char *what = error.what() ? error.what() : "oneDNN failed";
    char text[256];
    snprintf(text, sizeof text, "oneDNN: %s (status %d)", what, int(error.status));
    writeMessage(text, message, capacity);
  } catch (const std::exception &error) {
    writeMessage(error.what(), message, capacity);
  } catch (...) {
    writeMessage("oneDNN: unknown failure", message, capacity);
  }
  return failed;
}

}  // namespace conednn
