import CKernels
import COneDNN
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

// Products whose right operand is arranged once for all calls.

extension PackedMatMul: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let a = inputs[0], count = inputs.count
    guard let handle = handle(a.layout, a.dtype), handle.packing == packing else {
      fatalError("CPUBackend: no kernel for \(self) on \(inputs.map(\.spec))")
    }
    let bias: Int? = product.hasBias ? 2 : nil, residual: Int? = product.hasResidual ? count - 1 : nil
    let bytes = outputs[0].spec.byteCount
    if let rows = rowProduct(a, outputs[0], panel: handle.panel) {
      return Kernel("rows") { p in
        if let residual, p[residual] != p[count] { p[count].copyMemory(from: p[residual], byteCount: bytes) }
        var rows = rows
        kk_row_product_run(
          &rows, p[0], p[1], bias.map { UnsafePointer(p[$0].assumingMemoryBound(to: Float.self)) }, p[count],
          nil)
      }
    }
    return Kernel(handle.implementation, scratchBytes: handle.scratchBytes) { p in
      if let residual, p[residual] != p[count] { p[count].copyMemory(from: p[residual], byteCount: bytes) }
      handle.run(
        a: p[0], b: p[1], bias: bias.map { p[$0] }, c: p[count],
        scratch: handle.scratchBytes > 0 ? p[count + 1] : nil)
    }
  }

  /// The kernel for at most four rows, which panels of weights are read by at the memory's speed.
  private func rowProduct(_ a: Operand, _ y: Operand, panel: Int64) -> kk_row_product? {
    guard panel > 0, a.shape[0] <= Int(KK_MOST_PRODUCT_ROWS), a.layout.isDense, kk_has_pair_products()
    else { return nil }
    var rows = kk_row_product()
    (rows.m, rows.n, rows.k, rows.b_row) = (Int64(a.shape[0]), Int64(columns), Int64(a.shape[1]), panel)
    (rows.form, rows.type, rows.output) = (KK_B_PANELS, a.dtype.kernelType, y.dtype.kernelType)
    (rows.accumulate, rows.activation) = (product.hasResidual, product.activation.kernelActivation)
    return rows
  }

  /// Whether the product can read its left operand so: another kernel may want the weights arranged in another way.
  func reads(_ layout: Layout, _ type: DType) -> Bool {
    layout.isMatrixView && handle(layout, type)?.packing == packing
  }

  private func handle(_ a: Layout, _ type: DType) -> MatMulHandle? {
    MatMulHandle(
      packed: product, rows: a.shape[0], k: a.shape[1], columns: columns,
      aStrides: (a.strides[0], a.strides[1]), type: type, output: product.result ?? type)
  }
}

extension PackedWeights: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let (k, columns) = (view.shape[0], view.shape[1])
    guard let handle = packingHandle(k, columns, dtype), handle.packing == packing,
      let source = inputs[0].dtype.oneDNN
    else { fatalError("CPUBackend: nothing packs \(inputs[0].spec) as \(packing)") }
    let offset = view.offset * inputs[0].dtype.byteCount, view = view
    return Kernel("oneDNN reorder") { p in
      handle.pack(p[0] + offset, source, row: view.strides[0], column: view.strides[1], to: p[1])
    }
  }
}

/// The arrangement for a product in bfloat16, which otherwise rearranges pairs of numbers in every call: on two cores
/// that is up to 10 % of (4096, 768) x (768, 3072), and a half of a single row's time. In float32 oneDNN turns a
/// transposed matrix in every call: 5 to 12 % of some hundred to thousand rows.
func packingOfWeights(_ product: FusedMatMul, _ inputs: [Spec], _ weights: Layout) -> Packing? {
  let (a, b) = (inputs[0], inputs[1])
  guard a.dtype == .bfloat16 || (a.dtype == .float32 && a.shape[0] >= 64 && weights.isTransposedMatrix),
    a.shape.count > 0, b.shape.count > 0,
    let handle = MatMulHandle(
      packed: product, rows: a.shape[0], k: a.shape[1], columns: b.shape[1], aStrides: (a.shape[1], 1),
      type: a.dtype, output: product.result ?? a.dtype),
    let common = packingHandle(a.shape[1], b.shape[1], a.dtype), handle.packing == common.packing
  else { return nil }
  return common.packing
}

extension Layout {
  /// Whether a column's elements lie together, and a row's do not.
  fileprivate var isTransposedMatrix: Bool { strides[0] == 1 && strides[1] != 1 }
}

/// A product of some rows; as a rule all numbers of rows want the same arrangement.
private func packingHandle(_ k: Int, _ columns: Int, _ type: DType) -> MatMulHandle? {
  let plain = FusedMatMul(result: nil, hasBias: false, activation: nil, hasResidual: false)
  return MatMulHandle(
    packed: plain, rows: 64, k: k, columns: columns, aStrides: (k, 1), type: type, output: type)
}

extension MatMulHandle {
  fileprivate convenience init?(
    packed op: FusedMatMul, rows: Int, k: Int, columns: Int, aStrides: (Int, Int), type: DType, output: DType
  ) {
    guard let type = type.oneDNN, let output = output.oneDNN else { return nil }
    var d = conednn_matmul_desc()
    (d.m, d.k, d.n) = (Int64(rows), Int64(k), Int64(columns))
    (d.a_row, d.a_column) = (Int64(aStrides.0), Int64(aStrides.1))
    d.c_row = d.n
    (d.type, d.output) = (type, output)
    (d.bias, d.accumulate, d.activation) = (op.hasBias, op.hasResidual, op.activation.oneDNN)
    d.packed = true
    self.init(d)
  }
}
