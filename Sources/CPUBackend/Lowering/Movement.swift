import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

/// Copies a view into another, changing the type on the way. Made once: a call asks for no memory.
struct ViewCopy {
  private let shape: [Int64], targetStrides: [Int64], sourceStrides: [Int64]
  private let targetType: kk_dtype, sourceType: kk_dtype

  init(
    _ shape: Shape, to targetType: DType, _ targetStrides: [Int], from sourceType: DType,
    _ sourceStrides: [Int]
  ) {
    (self.shape, self.targetStrides) = (shape.dimensions.int64, targetStrides.int64)
    self.sourceStrides = sourceStrides.int64
    (self.targetType, self.sourceType) = (targetType.kernelType, sourceType.kernelType)
  }

  func callAsFunction(to target: UnsafeMutableRawPointer, from source: UnsafeRawPointer) {
    kk_copy(
      Int32(shape.count), shape, target, targetType, targetStrides, source, sourceType, sourceStrides)
  }
}

/// The same, where it is not worth keeping.
func copyView(
  _ shape: Shape, to target: UnsafeMutableRawPointer, _ targetType: DType, _ targetStrides: [Int],
  from source: UnsafeRawPointer, _ sourceType: DType, _ sourceStrides: [Int]
) {
  ViewCopy(shape, to: targetType, targetStrides, from: sourceType, sourceStrides)(to: target, from: source)
}

extension Copy: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], y = outputs[0]
    let copy = ViewCopy(y.shape, to: y.dtype, y.layout.strides, from: x.dtype, x.layout.strides)
    return Kernel("copy") { p in copy(to: p[1], from: p[0]) }
  }
}

extension Concatenate: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let y = outputs[0], axis = axis
    guard inputs.allSatisfy(\.layout.isDense) else {
      // Each part is copied straight from its view to its place.
      let count = inputs.count, step = y.layout.strides[axis] * y.dtype.byteCount
      var start = 0
      let parts = inputs.map { x -> (copy: ViewCopy, offset: Int)? in
        defer { start += x.shape.dimensions[axis] }
        guard x.shape.count > 0 else { return nil }
        let copy = ViewCopy(x.shape, to: y.dtype, y.layout.strides, from: x.dtype, x.layout.strides)
        return (copy, start * step)
      }
      return Kernel("concatenate views") { p in
        for index in 0..<count {
          if let part = parts[index] { part.copy(to: p[count] + part.offset, from: p[index]) }
        }
      }
    }
    let outer = Int64(y.shape.dimensions[..<axis].reduce(1, *))
    let bytes = inputs.map { Int64($0.shape.dimensions[axis...].reduce($0.dtype.byteCount, *)) }
    return Kernel("concatenate") { p in
      p.withMemoryRebound(to: UnsafeRawPointer?.self, capacity: inputs.count) { sources in
        kk_concatenate(p[inputs.count], outer, Int32(inputs.count), sources, bytes)
      }
    }
  }
}

extension Pad: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], low = low.int64, high = high.int64, interior = interior.int64
    let shape = x.shape.dimensions.int64, hasValue = hasValue
    return Kernel("pad") { p in
      kk_pad(
        Int32(shape.count), shape, p[hasValue ? 2 : 1], p[0], x.dtype.kernelType, low, high, interior,
        hasValue ? UnsafeRawPointer(p[1]) : nil)
    }
  }
}

extension Reverse: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0]
    let flags = x.shape.dimensions.indices.map(axes.contains)
    return Kernel("reverse") { p in
      kk_reverse(Int32(x.shape.rank), x.shape.dimensions.int64, flags, p[1], p[0], x.dtype.kernelType)
    }
  }
}

extension Iota: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let y = outputs[0]
    var steps = [Int64](repeating: 0, count: y.shape.rank)
    steps[axis] = 1
    let counting = steps, strides = y.layout.strides.int64, shape = y.shape.dimensions.int64
    return Kernel("iota") { p in
      let rank = Int32(shape.count)
      var source = kk_operand_make(nil, KK_IOTA, 0, rank, counting)
      var target = kk_operand_make(p[0], y.dtype.kernelType, 0, rank, strides)
      withUnsafePointer(to: &source) { source in
        withUnsafePointer(to: &target) { target in
          var program = kk_elementwise()
          program.rank = rank
          program.input_count = 1
          program.output_count = 1
          withUnsafeMutableBytes(of: &program.shape) { bytes in
            shape.withUnsafeBytes { bytes.copyMemory(from: $0) }
          }
          program.inputs = source
          program.outputs = target
          kk_elementwise_i64(&program)
        }
      }
    }
  }
}
