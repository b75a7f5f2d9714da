import CKernels
import COneDNN
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension MatMul: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    FusedMatMul(result: result, hasBias: false, activation: nil, hasResidual: false).lowered(inputs, outputs)
  }
}

extension FusedMatMul: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let a = inputs[0], b = inputs[1], y = outputs[0]
    let count = inputs.count
    if a.shape[-1] == 0 {
      require(!hasBias && !hasResidual && activation == nil, "matmul: an epilogue on an empty sum")
      return Kernel("zeros") { p in fillZeros(p[count], y.spec.byteCount) }
    }
    if let kernel = rowProduct(inputs, y) { return kernel }
    guard let handle = MatMulHandle(self, a, b, y) else {
      return throughFloat32(self, inputs, outputs)
    }
    let bias: Int? = hasBias ? 2 : nil, residual: Int? = hasResidual ? count - 1 : nil
    let bytes = y.spec.byteCount
    return Kernel(handle.implementation, scratchBytes: handle.scratchBytes) { p in
      if let residual, p[residual] != p[count] { p[count].copyMemory(from: p[residual], byteCount: bytes) }
      handle.run(
        a: p[0], b: p[1], bias: bias.map { p[$0] }, c: p[count],
        scratch: handle.scratchBytes > 0 ? p[count + 1] : nil)
    }
  }
}

extension FusedMatMul {
  /// The kernel for at most four rows with a large matrix, nil for other operands.
  ///
  /// It reads the matrix once, at the memory's speed: GPT-2's (1, 768) x (768, 50257) in float32 takes oneDNN's kernels
  /// 5.3 and 6.6 ms on two cores whose memory could do it in 3.6.
  private func rowProduct(_ inputs: [Operand], _ y: Operand) -> Kernel? {
    let a = inputs[0], b = inputs[1], count = inputs.count
    let (n, k) = (y.shape[-1], a.shape[-1])
    guard b.shape.rank == 2, n * k >= 1 << 16, y.shape.count > 0,
      y.shape.count / n <= Int(KK_MOST_PRODUCT_ROWS), a.layout.isDense, a.dtype.oneDNN != nil,
      y.dtype.oneDNN != nil
    else { return nil }
    let strides = b.layout.strides
    let isTransposed = strides[0] == 1 && strides[1] >= k
    guard isTransposed || (strides[1] == 1 && strides[0] >= n && a.dtype == .float32) else { return nil }
    var product = kk_row_product()
    (product.m, product.n, product.k) = (Int64(y.shape.count / n), Int64(n), Int64(k))
    product.form = isTransposed ? KK_B_TRANSPOSED : KK_B_BY_ROWS
    product.b_row = Int64(strides[isTransposed ? 1 : 0])
    (product.type, product.output) = (a.dtype.kernelType, y.dtype.kernelType)
    (product.accumulate, product.activation) = (hasResidual, activation.kernelActivation)
    let scratchBytes = Int(kk_row_product_scratch(&product))
    let bias: Int? = hasBias ? 2 : nil, residual: Int? = hasResidual ? count - 1 : nil
    let bytes = y.spec.byteCount
    return Kernel("rows", scratchBytes: scratchBytes) { [product] p in
      if let residual, p[residual] != p[count] { p[count].copyMemory(from: p[residual], byteCount: bytes) }
      var product = product
      kk_row_product_run(
        &product, p[0], p[1], bias.map { UnsafePointer(p[$0].assumingMemoryBound(to: Float.self)) }, p[count],
        scratchBytes > 0 ? p[count + 1] : nil)
    }
  }
}

/// A product built by oneDNN.
final class MatMulHandle: @unchecked Sendable {
  private let handle: OpaquePointer
  let implementation: String
  let scratchBytes: Int
  /// What `pack` makes, of a description with `packed`.
  let packing: Packing
  /// Numbers from one panel of what `pack` makes to the next, if it is panels that few rows are multiplied with; else 0.
  let panel: Int64

  /// Nil when oneDNN has no fast kernel for these types here.
  convenience init?(_ op: FusedMatMul, _ a: Operand, _ b: Operand, _ y: Operand) {
    guard let type = a.dtype.oneDNN, let output = y.dtype.oneDNN else { return nil }
    var d = conednn_matmul_desc()
    let rank = y.shape.rank
    (d.m, d.k, d.n) = (Int64(y.shape[-2]), Int64(a.shape[-1]), Int64(y.shape[-1]))
    func batchStrides(_ x: Operand) -> [Int] {
      let extra = rank - x.shape.rank
      return (0..<rank - 2).map { axis in
        axis < extra || x.shape.dimensions[axis - extra] == 1 ? 0 : x.layout.strides[axis - extra]
      }
    }
    let batch = Self.joined(
      Array(y.shape.dimensions.dropLast(2)), [batchStrides(a), batchStrides(b), batchStrides(y)])
    require(
      batch.extents.count <= Int(CONEDNN_MAX_BATCH_RANK), "matmul: too many leading axes: \(a) x \(b)")
    d.batch_rank = Int32(batch.extents.count)
    func store(_ values: [Int], _ target: inout (Int64, Int64, Int64, Int64)) {
      withUnsafeMutableBytes(of: &target) { bytes in
        values.int64.withUnsafeBytes { bytes.copyMemory(from: $0) }
      }
    }
    store(batch.extents, &d.batch)
    store(batch.strides[0], &d.a_batch)
    store(batch.strides[1], &d.b_batch)
    store(batch.strides[2], &d.c_batch)
    let (sa, sb) = (a.layout.strides, b.layout.strides)
    (d.a_row, d.a_column) = (Int64(sa[sa.count - 2]), Int64(sa[sa.count - 1]))
    (d.b_row, d.b_column) = (Int64(sb[sb.count - 2]), Int64(sb[sb.count - 1]))
    d.c_row = d.n
    (d.type, d.output) = (type, output)
    d.bias = op.hasBias
    d.accumulate = op.hasResidual
    d.activation = op.activation.oneDNN
    self.init(d)
  }

  /// Nil when oneDNN has no fast kernel for this description.
  init?(_ description: conednn_matmul_desc) {
    var d = description
    guard let handle = conednn_matmul_create(&d, nil, 0) else { return nil }
    self.handle = handle
    let info = conednn_matmul_get_info(handle)
    implementation = "oneDNN " + String(cString: info.implementation)
    scratchBytes = Int(info.scratch_bytes)
    packing = Packing(layout: info.packed_layout, byteCount: Int(info.packed_bytes))
    panel = info.packed_panel
  }

  deinit { conednn_matmul_destroy(handle) }

  func run(
    a: UnsafeRawPointer, b: UnsafeRawPointer, bias: UnsafeRawPointer?, c: UnsafeMutableRawPointer,
    scratch: UnsafeMutableRawPointer?
  ) {
    checked { conednn_matmul_run(handle, a, b, bias, c, scratch, $0, $1) }
  }

  /// Arranges the right operand, with these strides along k and n.
  func pack(
    _ b: UnsafeRawPointer, _ type: conednn_dtype, row: Int, column: Int, to packed: UnsafeMutableRawPointer
  ) {
    checked { conednn_matmul_pack(handle, b, type, Int64(row), Int64(column), packed, $0, $1) }
  }

  /// Leading axes of extent 1 dropped, neighbours joined where all three operands run through with one stride.
  private static func joined(_ extents: [Int], _ strides: [[Int]]) -> (extents: [Int], strides: [[Int]]) {
    var result: [Int] = [], steps = strides.map { _ in [Int]() }
    for axis in extents.indices where extents[axis] != 1 {
      if !result.isEmpty, strides.indices.allSatisfy({ steps[$0].last! == strides[$0][axis] * extents[axis] })
      {
        result[result.count - 1] *= extents[axis]
        for i in strides.indices { steps[i][steps[i].count - 1] = strides[i][axis] }
      } else {
        result.append(extents[axis])
        for i in strides.indices { steps[i].append(strides[i][axis]) }
      }
    }
    return (result, steps)
  }
}

extension DType {
  var oneDNN: conednn_dtype? {
    switch self {
    case .float32: CONEDNN_F32
    case .bfloat16: CONEDNN_BF16
    default: nil
    }
  }
}

extension Optional where Wrapped == Epilogue {
  var kernelActivation: kk_activation {
    switch self {
    case nil: KK_IDENTITY
    case .relu: KK_RELU
    case .silu: KK_SILU
    case .gelu: KK_GELU_ERF
    case .geluTanh: KK_GELU_TANH
    }
  }

  var oneDNN: conednn_activation {
    switch self {
    case nil: CONEDNN_IDENTITY
    case .relu: CONEDNN_RELU
    case .silu: CONEDNN_SWISH
    case .gelu: CONEDNN_GELU_ERF
    case .geluTanh: CONEDNN_GELU_TANH
    }
  }
}

func fillZeros(_ pointer: UnsafeMutableRawPointer, _ byteCount: Int) {
  pointer.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
}

/// Runs a oneDNN call; a failure is a programming error of the lowering.
func checked(_ call: (UnsafeMutablePointer<CChar>, Int) -> Int32) {
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { message in
    message[0] = 0
    guard call(message.baseAddress!, 512) == 0 else {
      fatalError("oneDNN: \(String(cString: message.baseAddress!))")
    }
  }
}

/// A kernel for types that no fast kernel takes: casts half-precision operands to float32 and the result back.
func throughFloat32(_ op: any CPUOp, _ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
  func widened(_ x: Operand) -> Operand {
    x.dtype == .float16 || x.dtype == .bfloat16 ? Operand(Spec(x.shape, .float32)) : x
  }
  let wideInputs = inputs.map(widened), wideOutputs = outputs.map(widened)
  require(
    wideInputs.map(\.spec) != inputs.map(\.spec) || wideOutputs.map(\.spec) != outputs.map(\.spec),
    "CPUBackend: no kernel for \(op) on \(inputs.map(\.spec))")
  let widest: any CPUOp =
    switch op {
    case let op as FusedMatMul:
      FusedMatMul(result: nil, hasBias: op.hasBias, activation: op.activation, hasResidual: op.hasResidual)
    default: op
    }
  let inner = widest.lowered(wideInputs, wideOutputs)
  var offset = 0
  func reserve(_ x: Operand, _ wide: Operand) -> Int? {
    guard x.spec != wide.spec else { return nil }
    defer { offset += (wide.spec.byteCount + 63) / 64 * 64 }
    return offset
  }
  let inputOffsets = zip(inputs, wideInputs).map(reserve),
    outputOffsets = zip(outputs, wideOutputs).map(reserve)
  let innerOffset = offset
  let count = inputs.count + outputs.count
  return Kernel("float32 \(inner.implementation)", scratchBytes: offset + inner.scratchBytes + 64) { p in
    let scratch = p[count]
    withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer.self, capacity: count + 1) { q in
      for (index, place) in (inputOffsets + outputOffsets).enumerated() {
        q.initializeElement(at: index, to: place.map { scratch + $0 } ?? p[index])
      }
      q.initializeElement(at: count, to: scratch + innerOffset)
      for (index, place) in inputOffsets.enumerated() where place != nil {
        let x = inputs[index]
        copyView(x.shape, to: q[index], .float32, x.shape.strides, from: p[index], x.dtype, x.layout.strides)
      }
      inner.body(UnsafePointer(q.baseAddress!))
      for (index, place) in outputOffsets.enumerated() where place != nil {
        let y = outputs[index], at = inputs.count + index
        copyView(y.shape, to: p[at], y.dtype, y.shape.strides, from: q[at], .float32, y.shape.strides)
      }
    }
  }
}
