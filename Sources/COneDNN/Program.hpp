// A fixed sequence of primitives over external buffers and temporaries in the caller's scratch.
#pragma once

#include <initializer_list>
#include <utility>

#include "Support.hpp"

namespace conednn {

class Program {
 public:
  /// An index into the program's memories.
  using Slot = int;
  struct Argument {
    int name;  // DNNL_ARG_...
    Slot slot;
  };

  /// A buffer that each run names, bound by `bind`.
  Slot external(const Desc &desc);
  /// A buffer inside scratch that lives for the whole run.
  Slot temporary(const Desc &desc);

  /// Appends a primitive; its scratchpad comes from scratch, one region that all steps take in turn.
  template <class PrimitiveDesc>
  void append(const PrimitiveDesc &pd, const dnnl::primitive &primitive, std::initializer_list<Argument> arguments) {
    append(primitive, pd.scratchpad_desc(), arguments);
  }
  /// Copies `from` to `to`, changing type and layout; with `posts`, for example adding to what `to` holds.
  void appendReorder(Slot from, Slot to, const dnnl::post_ops &posts = {});

  /// Call after the last `append`: fixes offsets and thread count.
  void finish();

  size_t scratchBytes() const { return scratchBytes_; }
  void bind(Slot slot, const void *pointer) { set(memories_[slot], pointer); }
  /// Runs the steps. Throws if a bound pointer is missing or the thread count changed.
  void run(void *scratch);

 private:
  struct Step {
    dnnl::primitive primitive;
    std::vector<dnnl_exec_arg_t> arguments;
  };
  struct Memory {
    dnnl::memory memory;
    const void *pointer = nullptr;
    size_t offset = 0;  // in scratch
    bool isExternal = false;
  };

  void append(const dnnl::primitive &primitive, const Desc &scratchpad, std::initializer_list<Argument> arguments);
  Slot add(const Desc &desc, bool isExternal);
  static void set(Memory &memory, const void *pointer);

  std::vector<Memory> memories_;
  std::vector<Slot> scratchpads_;
  std::vector<Step> steps_;
  size_t scratchBytes_ = 0;
  void *scratch_ = nullptr;
  int threads_ = 0;
};

/// One reorder of a whole buffer, outside any program; for packing.
void reorder(const Desc &from, const void *source, const Desc &to, void *target);

}  // namespace conednn
