#include "Compat.hpp"
#include "MatmulShape.hpp"
#include "Program.hpp"

using namespace conednn;

namespace {

enum Operand { A, B, C };

int64_t stride(const BatchAxis &axis, Operand operand) {
  return operand == A ? axis.a : operand == B ? axis.b : axis.c;
}

/// (batch..., rows, columns), with size 1 where the operand broadcasts.
Dims batchedDims(const std::vector<BatchAxis> &batch, Operand operand, const Matrix &matrix) {
  Dims dims;
  for (const BatchAxis &axis : batch) dims.push_back(stride(axis, operand) == 0 ? 1 : axis.size);
  dims.insert(dims.end(), {matrix.rows, matrix.columns});
  return dims;
}

Desc batchedDesc(const std::vector<BatchAxis> &batch, Operand operand, const Matrix &matrix, conednn_dtype type) {
  Dims strides;
  int64_t whole = matrix.rows * matrix.row + matrix.columns * matrix.column;
  for (const BatchAxis &axis : batch) strides.push_back(stride(axis, operand) == 0 ? whole : stride(axis, operand));
  strides.insert(strides.end(), {matrix.row, matrix.column});
  return Desc(batchedDims(batch, operand, matrix), dataType(type), strides);
}

/// conednn_matmul_info.packed_panel of a layout.
int64_t panelOf(const Desc &packed, const Dims &dims) {
  if (dims.size() != 2 || packed != Desc(dims, dataType(CONEDNN_BF16), Tag::BA16a64b2a)) return 0;
  return int64_t(packed.get_size()) / 2 / ((dims[1] + 63) / 64);
}

}  // namespace

struct conednn_matmul {
  conednn_matmul_desc desc;
  MatmulShape shape;
  conednn_matmul_info info{};
  std::string implementation;
  Desc packed;
  Dims packedDims;

  explicit conednn_matmul(const conednn_matmul_desc &description);
  void run(const void *a, const void *b, const void *bias, void *c, void *scratch);

 private:
  Program program;
  Program::Slot slots[3] = {-1, -1, -1}, bias = -1;
  std::vector<BatchAxis> looped;  // outer batch axes that no kernel takes, outermost first

  bool build(size_t loops, bool allowReference);
  Program::Slot read(Operand operand, const std::vector<BatchAxis> &batch, const Matrix &matrix, Desc &desc);
  void runLoop(size_t axis, const char *a, const char *b, char *c, void *scratch);
};

conednn_matmul::conednn_matmul(const conednn_matmul_desc &description) : desc(description), shape(description) {
  bool built = false;
  for (size_t loops = 0; loops <= shape.batch.size() && !built; loops++) built = build(loops, false);
  if (!built && desc.allow_reference) built = build(0, true);
  if (!built) throw Failure(describe(desc) + ": oneDNN has only its slow reference code for this");
  program.finish();
  info.scratch_bytes = program.scratchBytes();
  info.packed_bytes = desc.packed ? packed.get_size() : 0;
  info.packed_layout = desc.packed ? layoutHash(packed) : 0;
  info.packed_panel = desc.packed ? panelOf(packed, packedDims) : 0;
  info.implementation = implementation.c_str();
}

/// The slot that the product reads: the caller's operand, or a dense copy in scratch; `desc` describes it.
Program::Slot conednn_matmul::read(
    Operand operand, const std::vector<BatchAxis> &batch, const Matrix &matrix, Desc &result) {
  result = batchedDesc(batch, operand, matrix, desc.type);
  slots[operand] = program.external(result);
  if (matrix.isReadable()) return slots[operand];
  Dims dims = batchedDims(batch, operand, matrix);
  result = Desc(dims, dataType(desc.type), denseStrides(dims));
  Program::Slot copy = program.temporary(result);
  program.appendReorder(slots[operand], copy);
  return copy;
}

bool conednn_matmul::build(size_t loops, bool allowReference) {
  program = Program();
  looped.assign(shape.batch.begin(), shape.batch.begin() + loops);
  std::vector<BatchAxis> batch(shape.batch.begin() + loops, shape.batch.end());

  Desc aDesc, bDesc, biasDesc, cDesc = batchedDesc(batch, C, shape.c, desc.output);
  Program::Slot a = read(A, batch, shape.a, aDesc), b = -1;
  if (desc.packed) {
    packedDims = batchedDims(batch, B, shape.b);
    bDesc = Desc(packedDims, dataType(desc.type), Tag::any);
  } else {
    b = read(B, batch, shape.b, bDesc);
  }
  if (desc.bias) {
    Dims dims(batch.size() + 2, 1);
    dims.back() = shape.n();
    biasDesc = Desc(dims, dataType(CONEDNN_F32), denseStrides(dims));
  }

  bool takesGemm = !desc.packed && batch.empty() && prefersGemm(shape, desc.type);
  auto pd = product(
      aDesc, bDesc, biasDesc, cDesc, attributes(postOps(desc.accumulate, desc.activation)),
      takesGemm ? "gemm:jit" : nullptr);
  if (!pd) return false;
  implementation = pd.impl_info_str();
  if (isReference(implementation) && !allowReference) return false;

  if (desc.packed) {
    packed = pd.weights_desc();
    b = slots[B] = program.external(packed);
  }
  slots[C] = program.external(cDesc);
  dnnl::matmul primitive(pd);
  if (desc.bias) {
    bias = program.external(biasDesc);
    program.append(
        pd, primitive,
        {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, slots[C]}});
  } else {
    program.append(pd, primitive, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, slots[C]}});
  }
  return true;
}

void conednn_matmul::run(const void *a, const void *b, const void *biasPointer, void *c, void *scratch) {
  if ((biasPointer != nullptr) != desc.bias)
    throw Failure(describe(desc) + (desc.bias ? ": bias is NULL" : ": bias given, but none described"));
  if (a == nullptr || b == nullptr || c == nullptr) throw Failure(describe(desc) + ": an operand is NULL");
  if (desc.bias) program.bind(bias, biasPointer);
  runLoop(0, static_cast<const char *>(a), static_cast<const char *>(b), static_cast<char *>(c), scratch);
}

void conednn_matmul::runLoop(size_t depth, const char *a, const char *b, char *c, void *scratch) {
  if (depth == looped.size()) {
    program.bind(slots[A], a);
    program.bind(slots[B], b);
    program.bind(slots[C], c);
    return program.run(scratch);
  }
  const BatchAxis &axis = looped[depth];
  auto in = int64_t(conednn_dtype_size(desc.type)), out = int64_t(conednn_dtype_size(desc.output));
  for (int64_t i = 0; i < axis.size; i++)
    runLoop(depth + 1, a + i * axis.a * in, b + i * axis.b * in, c + i * axis.c * out, scratch);
}

// MARK: C interface

conednn_matmul *conednn_matmul_create(const conednn_matmul_desc *desc, char *message, size_t capacity) {
  return guarded<conednn_matmul *>(nullptr, message, capacity, [&] { return new conednn_matmul(*desc); });
}

void conednn_matmul_destroy(conednn_matmul *matmul) { delete matmul; }

conednn_matmul_info conednn_matmul_get_info(const conednn_matmul *matmul) { return matmul->info; }

int conednn_matmul_pack(
    conednn_matmul *matmul, const void *b, conednn_dtype source, int64_t row, int64_t column, void *packed,
    char *message, size_t capacity) {
  return guarded(1, message, capacity, [&] {
    if (!matmul->desc.packed) throw Failure(describe(matmul->desc) + ": this handle reads B as it is");
    Matrix matrix = canonical({matmul->shape.k(), matmul->shape.n(), row, column});
    Dims strides(matmul->packedDims.size(), matrix.rows * matrix.row + matrix.columns * matrix.column);
    strides[strides.size() - 2] = matrix.row;
    strides[strides.size() - 1] = matrix.column;
    reorder(Desc(matmul->packedDims, dataType(source), strides), b, matmul->packed, packed);
    return 0;
  });
}

int conednn_matmul_run(
    conednn_matmul *matmul, const void *a, const void *b, const void *bias, void *c, void *scratch, char *message,
    size_t capacity) {
  return guarded(1, message, capacity, [&] {
    matmul->run(a, b, bias, c, scratch);
    return 0;
  });
}
