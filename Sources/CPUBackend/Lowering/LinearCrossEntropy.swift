import CKernels
import COneDNN
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension LinearCrossEntropy: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { BlockedCrossEntropy.isClaimed(self, inputs) }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let blocked = BlockedCrossEntropy(self, inputs.map(\.spec), needsGradient: false)
    let hasBias = inputs.count > 3
    return Kernel("blocked cross-entropy", scratchBytes: blocked.scratchBytes) { p in
      let count = inputs.count
      blocked.run(
        x: p[0], weight: p[1], labels: p[2], bias: hasBias ? p[3] : nil, losses: p[count], gradient: nil,
        scratch: p[count + 1])
    }
  }
}

extension LinearCrossEntropyGradient: CPUComposite {
  /// The weight's gradient accumulates over the blocks, so it must be stored unrounded.
  func isClaimed(_ inputs: [Spec]) -> Bool {
    inputs[1].dtype == .float32 && BlockedCrossEntropy.isClaimed(forward, forwardInputs(inputs))
  }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let blocked = BlockedCrossEntropy(forward, forwardInputs(inputs.map(\.spec)), needsGradient: true)
    let hasBias = inputs.count > 4
    return Kernel("blocked cross-entropy gradient", scratchBytes: blocked.scratchBytes) { p in
      let y = p + inputs.count
      let gradient = BlockedCrossEntropy.Gradient(
        dy: p[3], dx: y[0], dweight: y[1], dbias: hasBias ? y[3] : nil)
      blocked.run(
        x: p[0], weight: p[1], labels: p[2], bias: hasBias ? p[4] : nil, losses: y[2], gradient: gradient,
        scratch: y[outputs.count])
    }
  }
}

/// Blocks of rows go through both directions one after the other; rows with an ignored label are left out.
///
/// A block of logits is written by one product, turned into its gradient where it lies, and read by two. Measured with
/// (1024, 768) x (50257, 768) on two cores: blocks of 512 rows take 556 ms in float32 and 297 ms in bfloat16, blocks of
/// 256 rows 577 and 314 (each block reads and writes the whole gradient of the weight), all rows at once 610 and 390: a
/// row stride other than the number of classes makes oneDNN choose the kernels that read a transposed operand faster.
private struct BlockedCrossEntropy: Sendable {
  struct Gradient {
    let dy, dx, dweight: UnsafeMutableRawPointer
    let dbias: UnsafeMutableRawPointer?
  }

  /// The products of a block of `rows` rows: logits, and with a gradient dx, then dweight (first block, further ones).
  private struct Products {
    let rows: Int
    let handles: [MatMulHandle]
  }

  let scratchBytes: Int
  private let products: [Products]
  private let count, width, classes: Int
  /// Elements from one row of logits to the next: whole cache lines, and always more than there are classes.
  private let stride: Int
  private let operandType: DType, xType: DType, weightType: DType
  private let entropy: CrossEntropyKernel
  private let places: Places

  /// Offsets into the scratch memory.
  private struct Places {
    var rows = 0, x = 0, logits = 0, dx = 0, weight = 0, products = 0, end = 0
  }

  static func isClaimed(_ op: LinearCrossEntropy, _ inputs: [Spec]) -> Bool {
    let types: Set<DType> = [.float32, .bfloat16]
    return types.contains(inputs[0].dtype) && types.contains(inputs[1].dtype)
      && types.contains(op.precision ?? .float32) && inputs[0].shape.count > 0 && inputs[1].shape.count > 0
      && (inputs.count < 4 || inputs[3].dtype == .float32)
  }

  init(_ op: LinearCrossEntropy, _ inputs: [Spec], needsGradient: Bool) {
    count = inputs[0].shape[0]
    width = inputs[0].shape[1]
    classes = inputs[1].shape[0]
    stride = (classes / 16 + 1) * 16
    (xType, weightType) = (inputs[0].dtype, inputs[1].dtype)
    let sizes = Self.blockSizes(rows: count, stride: stride, skips: op.ignoredLabel != nil)
    var made: [Products]?, type = op.precision ?? xType
    // Without fast products in bfloat16, float32 does the same but for the rounding.
    for candidate in [type, .float32] where made == nil {
      type = candidate
      made = Self.products(
        sizes, (width, classes, stride), candidate, hasBias: inputs.count > 3, needsGradient: needsGradient)
    }
    guard let made else { fatalError("CPUBackend: no product for \(op) on \(inputs)") }
    products = made
    operandType = type
    entropy = CrossEntropyKernel(
      rows: 0, classes: classes, type: type, labelSmoothing: op.labelSmoothing, ignoredLabel: op.ignoredLabel)

    var places = Places(), end = 0
    func reserve(_ bytes: Int) -> Int {
      defer { end += (bytes + 63) / 64 * 64 }
      return end
    }
    let rows = sizes.max()!
    places.rows = reserve(8 * count)
    places.x = reserve(rows * width * type.byteCount)
    places.logits = reserve(rows * stride * 4)
    places.dx = reserve(needsGradient ? rows * width * 4 : 0)
    places.weight = reserve(weightType == type ? 0 : classes * width * type.byteCount)
    places.products = reserve(made.flatMap(\.handles).map(\.scratchBytes).max()!)
    self.places = places
    scratchBytes = end + 64
  }

  /// Rows of a block, largest first. Few when labels may be ignored, so that little is computed for padding.
  private static func blockSizes(rows: Int, stride: Int, skips: Bool) -> [Int] {
    let most = max(64, (skips ? 256 : (128 << 20) / (4 * stride)) / 16 * 16)
    let blocks = (rows + most - 1) / most
    let size = ((rows + blocks - 1) / blocks + 15) / 16 * 16
    return skips && size > 64 ? [size, 64] : [size]
  }

  private static func products(
    _ sizes: [Int], _ extents: (width: Int, classes: Int, stride: Int), _ type: DType, hasBias: Bool,
    needsGradient: Bool
  ) -> [Products]? {
    let width = Int64(extents.width)
    let logitsRow = Int64(extents.stride), gradientRow = type == .bfloat16 ? 2 * logitsRow : logitsRow
    var result: [Products] = []
    for rows in sizes {
      func product(
        _ m: Int, _ k: Int, _ n: Int, a: (Int64, Int64), b: (Int64, Int64), cRow: Int64, bias: Bool = false,
        accumulate: Bool = false
      ) -> MatMulHandle? {
        var d = conednn_matmul_desc()
        (d.m, d.k, d.n) = (Int64(m), Int64(k), Int64(n))
        (d.a_row, d.a_column) = a
        (d.b_row, d.b_column) = b
        d.c_row = cRow
        (d.type, d.output) = (type.oneDNN!, CONEDNN_F32)
        (d.bias, d.accumulate) = (bias, accumulate)
        return MatMulHandle(d)
      }
      var handles = [
        product(
          rows, extents.width, extents.classes, a: (width, 1), b: (1, width), cRow: logitsRow, bias: hasBias)
      ]
      if needsGradient {
        handles.append(
          product(rows, extents.classes, extents.width, a: (gradientRow, 1), b: (width, 1), cRow: width))
        for accumulate in [false, true] {
          handles.append(
            product(
              extents.classes, rows, extents.width, a: (1, gradientRow), b: (width, 1), cRow: width,
              accumulate: accumulate))
        }
      }
      let usable = handles.compactMap { $0 }
      guard usable.count == handles.count else { return nil }
      result.append(Products(rows: rows, handles: usable))
    }
    return result
  }

  func run(
    x: UnsafeMutableRawPointer, weight: UnsafeMutableRawPointer, labels: UnsafeMutableRawPointer,
    bias: UnsafeMutableRawPointer?, losses: UnsafeMutableRawPointer, gradient: Gradient?,
    scratch: UnsafeMutableRawPointer
  ) {
    let type = operandType.kernelType
    let labels = UnsafePointer(labels.assumingMemoryBound(to: Int32.self))
    let losses = losses.assumingMemoryBound(to: Float.self)
    let rows = (scratch + places.rows).assumingMemoryBound(to: Int64.self)
    let (blockX, blockDX) = (scratch + places.x, scratch + places.dx)
    let logits = (scratch + places.logits).assumingMemoryBound(to: Float.self)
    var operand = weight
    if weightType != operandType {
      operand = scratch + places.weight
      let shape: Shape = [classes, width]
      copyView(shape, to: operand, operandType, shape.strides, from: weight, weightType, shape.strides)
    }
    let kept = Int(kk_kept_rows(labels, Int64(count), entropy.ignored, rows))
    if kept < count {
      fillZeros(UnsafeMutableRawPointer(losses), 4 * count)
      if let gradient { fillZeros(gradient.dx, count * width * xType.byteCount) }
    }
    if let gradient {
      if kept == 0 { fillZeros(gradient.dweight, 4 * classes * width) }
      if let dbias = gradient.dbias { fillZeros(dbias, 4 * classes) }
    }
    var done = 0
    while done < kept {
      let block = products.first { $0.rows <= kept - done } ?? products.last!
      let real = min(block.rows, kept - done), size = Int64(block.rows)
      let blockRows = rows + done
      let space = scratch + places.products
      kk_load_rows(x, xType.kernelType, Int64(width), blockRows, Int64(real), size, blockX, type)
      block.handles[0].run(
        a: blockX, b: operand, bias: bias.map { UnsafeRawPointer($0) }, c: logits, scratch: space)
      entropy.with(rows: size) {
        kk_cross_entropy_block(
          $0, logits, Int64(stride), labels, blockRows, Int64(real), losses,
          gradient.map { UnsafePointer($0.dy.assumingMemoryBound(to: Float.self)) })
      }
      if let gradient {
        block.handles[1].run(a: logits, b: operand, bias: nil, c: blockDX, scratch: space)
        kk_store_rows(
          blockDX.assumingMemoryBound(to: Float.self), Int64(width), blockRows, Int64(real), gradient.dx,
          xType.kernelType)
        block.handles[done == 0 ? 2 : 3].run(
          a: logits, b: blockX, bias: nil, c: gradient.dweight, scratch: space)
        if let dbias = gradient.dbias {
          kk_add_column_sums(
            logits, type, size, Int64(classes), Int64(operandType == .bfloat16 ? 2 * stride : stride),
            dbias.assumingMemoryBound(to: Float.self))
        }
      }
      done += real
    }
  }
}
