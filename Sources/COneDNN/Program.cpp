#include "Program.hpp"

namespace conednn {

static size_t aligned(size_t bytes) { return (bytes + 63) & ~size_t(63); }

Program::Slot Program::add(const Desc &desc, bool isExternal) {
  Memory memory;
  memory.memory = dnnl::memory(desc, engine(), DNNL_MEMORY_NONE);
  memory.isExternal = isExternal;
  memories_.push_back(memory);
  return Slot(memories_.size()) - 1;
}

Program::Slot Program::external(const Desc &desc) { return add(desc, true); }
Program::Slot Program::temporary(const Desc &desc) { return add(desc, false); }

void Program::append(
    const dnnl::primitive &primitive, const Desc &scratchpad, std::initializer_list<Argument> arguments) {
  Step step{primitive, {}};
  for (const Argument &argument : arguments)
    step.arguments.push_back({argument.name, memories_[argument.slot].memory.get()});
  if (scratchpad.get_size() > 0) {
    scratchpads_.push_back(add(scratchpad, false));
    step.arguments.push_back({DNNL_ARG_SCRATCHPAD, memories_[scratchpads_.back()].memory.get()});
  }
  steps_.push_back(std::move(step));
}

void Program::appendReorder(Slot from, Slot to, const dnnl::post_ops &posts) {
  dnnl::reorder::primitive_desc pd(
      engine(), memories_[from].memory.get_desc(), engine(), memories_[to].memory.get_desc(), attributes(posts));
  append(pd, dnnl::reorder(pd), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void Program::finish() {
  // Scratchpads of different steps share the bytes after the temporaries.
  size_t end = 0, largest = 0;
  std::vector<bool> isScratchpad(memories_.size(), false);
  for (Slot slot : scratchpads_) isScratchpad[slot] = true;
  for (size_t i = 0; i < memories_.size(); i++) {
    if (memories_[i].isExternal || isScratchpad[i]) continue;
    memories_[i].offset = end;
    end += aligned(memories_[i].memory.get_desc().get_size());
  }
  for (Slot slot : scratchpads_) {
    memories_[slot].offset = end;
    largest = std::max(largest, aligned(memories_[slot].memory.get_desc().get_size()));
  }
  scratchBytes_ = end + largest;
  threads_ = conednn_threads();
}

// Setting a handle makes the library clear the padding of padded layouts, so an unchanged one is left alone.
void Program::set(Memory &memory, const void *pointer) {
  if (memory.pointer == pointer) return;
  memory.memory.set_data_handle(const_cast<void *>(pointer));
  memory.pointer = pointer;
}

void Program::run(void *scratch) {
  if (conednn_threads() != threads_)
    throw Failure(format(
        "this handle was created for %d threads and cannot run with %d: create it again after changing the count",
        threads_, conednn_threads()));
  if (scratchBytes_ > 0 && scratch == nullptr)
    throw Failure(format("scratch is NULL, this handle needs %zu bytes", scratchBytes_));
  if (scratch != scratch_) {
    for (Memory &memory : memories_)
      if (!memory.isExternal) set(memory, static_cast<char *>(scratch) + memory.offset);
    scratch_ = scratch;
  }
  for (const Memory &memory : memories_)
    if (memory.pointer == nullptr) throw Failure("an operand is NULL");
  for (const Step &step : steps_)
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(
            step.primitive.get(), stream().get(), int(step.arguments.size()), step.arguments.data()),
        "could not execute a primitive");
}

void reorder(const Desc &from, const void *source, const Desc &to, void *target) {
  if (source == nullptr || target == nullptr) throw Failure("an operand is NULL");
  dnnl::memory input(from, engine(), const_cast<void *>(source)), output(to, engine(), target);
  dnnl::reorder(input, output).execute(stream(), input, output);
}

}  // namespace conednn
