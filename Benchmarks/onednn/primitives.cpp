// Times oneDNN called directly, at the shapes of matrix products and convolutions that are read from standard input:
//
//   matmul TYPE OUTPUT m k n plain|transposed plain|packed      (m, k) x (k, n); the first operand, the second
//   convolution forward|data|weights TYPE OUTPUT n h w c k size stride before after
//
// TYPE and OUTPUT are float32 or bfloat16. Weights are packed before, in the format that oneDNN likes best. Convolutions
// are tried with channels-last activations and with oneDNN's own, direct and Winograd; the fastest counts. Operands
// come from memory, not from the cache: copies of them take turns. Prints for each line the median in seconds, the best,
// and the implementation; "none" where oneDNN has only its reference code.

#include <dnnl.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

using namespace dnnl;
using Tag = memory::format_tag;
using Type = memory::data_type;
using Dims = memory::dims;

namespace {

constexpr size_t coldBytes = 96u << 20;
constexpr double secondsEach = 0.4;
constexpr int fewestRuns = 7;

engine cpu(engine::kind::cpu, 0);
stream queue(cpu);

struct Result {
  double median = 1e30, best = 1e30;
  std::string implementation = "none";
};

Type type(const std::string &name) {
  if (name == "float32") return Type::f32;
  if (name == "bfloat16") return Type::bf16;
  std::cerr << "primitives: no element type " << name << "\n";
  std::exit(1);
}

memory filled(const memory::desc &desc) {
  memory result(desc, cpu);
  // Small numbers of both types: neither zeros nor denormals, which take other time.
  auto words = static_cast<uint16_t *>(result.get_data_handle());
  for (size_t i = 0; i < desc.get_size() / 2; i++) words[i] = static_cast<uint16_t>(0x3d00 + i % 113);
  return result;
}

/// Runs a primitive on copies of its operands in turn.
Result timed(const primitive &work, const std::string &name, const std::unordered_map<int, memory::desc> &operands) {
  size_t bytes = 0;
  for (auto &[slot, desc] : operands) bytes += desc.get_size();
  std::vector<std::unordered_map<int, memory>> copies(std::max<size_t>(1, coldBytes / std::max<size_t>(bytes, 1)));
  for (auto &copy : copies)
    for (auto &[slot, desc] : operands) copy.emplace(slot, filled(desc));
  std::vector<double> seconds;
  double total = 0;
  for (int run = -2; run < fewestRuns || total < secondsEach; run++) {
    const auto start = std::chrono::steady_clock::now();
    work.execute(queue, copies[static_cast<size_t>(run + 2) % copies.size()]);
    queue.wait();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (run < 0) continue;
    seconds.push_back(elapsed.count());
    total += elapsed.count();
  }
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front(), name};
}

template <class Description>
bool isFast(const Description &found) {
  return found && std::string(found.impl_info_str()).find("ref") == std::string::npos;
}

Result product(std::istream &line) {
  std::string in, out, first, second;
  memory::dim m, k, n;
  line >> in >> out >> m >> k >> n >> first >> second;
  const memory::desc a({m, k}, type(in), first == "transposed" ? Tag::ba : Tag::ab);
  const memory::desc b({k, n}, type(in), second == "packed" ? Tag::any : Tag::ab);
  const memory::desc c({m, n}, type(out), Tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const matmul::primitive_desc found(cpu, a, b, c, primitive_attr(), true);
#else
  const matmul::primitive_desc found(matmul::desc(a, b, c), cpu, true);
#endif
  if (!isFast(found)) return {};
  return timed(
      matmul(found), found.impl_info_str(),
      {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, found.weights_desc()}, {DNNL_ARG_DST, c}});
}

struct Shape {
  std::string kind, in, out;
  memory::dim n, h, w, c, k, size, stride, before, after;
};

Result convolution(const Shape &s, algorithm way, Tag layout) {
  const bool isWeights = s.kind == "weights", isData = s.kind == "data";
  const memory::dim oh = (s.h + s.before + s.after - s.size) / s.stride + 1;
  const memory::dim ow = (s.w + s.before + s.after - s.size) / s.stride + 1;
  auto source = [&](const std::string &t) { return memory::desc({s.n, s.c, s.h, s.w}, type(t), layout); };
  auto weights = [&](const std::string &t) { return memory::desc({s.k, s.c, s.size, s.size}, type(t), Tag::any); };
  auto target = [&](const std::string &t) { return memory::desc({s.n, s.k, oh, ow}, type(t), layout); };
  const Dims strides{s.stride, s.stride}, before{s.before, s.before}, after{s.after, s.after};
#if DNNL_VERSION_MAJOR >= 3
  const primitive_attr plain;
  const convolution_forward::primitive_desc forward(
      cpu, prop_kind::forward_training, way, source(s.in), weights(s.in), target(isData || isWeights ? s.in : s.out),
      strides, before, after, plain, true);
#else
  const convolution_forward::primitive_desc forward(
      {prop_kind::forward_training, way, source(s.in), weights(s.in), target(isData || isWeights ? s.in : s.out),
       strides, before, after}, cpu, true);
#endif
  if (!forward) return {};
  if (isData) {
#if DNNL_VERSION_MAJOR >= 3
    const convolution_backward_data::primitive_desc found(
        cpu, way, source(s.out), weights(s.in), target(s.in), strides, before, after, forward, plain, true);
#else
    const convolution_backward_data::primitive_desc found(
        {way, source(s.out), weights(s.in), target(s.in), strides, before, after}, cpu, forward, true);
#endif
    if (!isFast(found)) return {};
    return timed(
        convolution_backward_data(found), found.impl_info_str(),
        {{DNNL_ARG_DIFF_SRC, found.diff_src_desc()},
         {DNNL_ARG_WEIGHTS, found.weights_desc()},
         {DNNL_ARG_DIFF_DST, found.diff_dst_desc()}});
  }
  if (isWeights) {
#if DNNL_VERSION_MAJOR >= 3
    const convolution_backward_weights::primitive_desc found(
        cpu, way, source(s.in), weights(s.out), target(s.in), strides, before, after, forward, plain, true);
#else
    const convolution_backward_weights::primitive_desc found(
        {way, source(s.in), weights(s.out), target(s.in), strides, before, after}, cpu, forward, true);
#endif
    if (!isFast(found)) return {};
    return timed(
        convolution_backward_weights(found), found.impl_info_str(),
        {{DNNL_ARG_SRC, found.src_desc()},
         {DNNL_ARG_DIFF_WEIGHTS, found.diff_weights_desc()},
         {DNNL_ARG_DIFF_DST, found.diff_dst_desc()}});
  }
  if (!isFast(forward)) return {};
  return timed(
      convolution_forward(forward), forward.impl_info_str(),
      {{DNNL_ARG_SRC, forward.src_desc()},
       {DNNL_ARG_WEIGHTS, forward.weights_desc()},
       {DNNL_ARG_DST, forward.dst_desc()}});
}

Result convolution(std::istream &line) {
  Shape s;
  line >> s.kind >> s.in >> s.out >> s.n >> s.h >> s.w >> s.c >> s.k >> s.size >> s.stride >> s.before >> s.after;
  Result fastest;
  for (auto way : {algorithm::convolution_direct, algorithm::convolution_winograd})
    for (auto layout : {Tag::nhwc, Tag::any}) {
      const Result found = convolution(s, way, layout);
      if (found.median < fastest.median) fastest = found;
    }
  return fastest;
}

}  // namespace

int main() {
  const version_t *v = dnnl::version();
  std::cout << "oneDNN " << v->major << "." << v->minor << "." << v->patch << std::endl;
  for (std::string text; std::getline(std::cin, text);) {
    std::istringstream line(text);
    std::string kind;
    line >> kind;
    const Result found = kind == "matmul" ? product(line) : convolution(line);
    if (!line) {
      std::cerr << "primitives: cannot read: " << text << "\n";
      return 1;
    }
    std::cout << found.median << " " << found.best << " " << found.implementation << std::endl;
  }
}
