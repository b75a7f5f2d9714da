import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

/// Copies a view into another, changing the type on the way.
func copyView(
  _ shape: Shape, to target: UnsafeMutableRawPointer, _ targetType: DType, _ targetStrides: [Int],
  from source: UnsafeRawPointer, _ sourceType: DType, _ sourceStrides: [Int]
) {
  kk_copy(
    Int32(shape.rank), shape.dimensions.int64, target, targetType.kernelType, targetStrides.int64, source,
    sourceType.kernelType, sourceStrides.int64)
}

extension Copy: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], y = outputs[0]
    return Kernel("copy") { p in
      copyView(y.shape, to: p[1], y.dtype, y.layout.strides, from: p[0], x.dtype, x.layout.strides)
    }
  }
}

extension Concatenate: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let y = outputs[0], axis = axis
    guard inputs.allSatisfy(\.layout.isDense) else {
      // Each part is copied straight from its view to its place.
      return Kernel("concatenate views") { p in
        var start = 0
        for (index, x) in inputs.enumerated() {
          if x.shape.count > 0 {
            copyView(
              x.shape, to: p[inputs.count] + start * y.layout.strides[axis] * y.dtype.byteCount, y.dtype,
              y.layout.strides, from: p[index], x.dtype, x.layout.strides)
          }
          start += x.shape.dimensions[axis]
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
    return Kernel("pad") { p in
      kk_pad(
        Int32(x.shape.rank), x.shape.dimensions.int64, p[2], p[0], x.dtype.kernelType, low, high, interior,
        p[1])
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
    let counting = steps
    return Kernel("iota") { p in
      let rank = Int32(y.shape.rank)
      var source = kk_operand_make(nil, KK_IOTA, 0, rank, counting)
      var target = kk_operand_make(p[0], y.dtype.kernelType, 0, rank, y.layout.strides.int64)
      withUnsafePointer(to: &source) { source in
        withUnsafePointer(to: &target) { target in
          var program = kk_elementwise()
          program.rank = rank
          program.input_count = 1
          program.output_count = 1
          withUnsafeMutableBytes(of: &program.shape) { bytes in
            y.shape.dimensions.int64.withUnsafeBytes { bytes.copyMemory(from: $0) }
          }
          program.inputs = source
          program.outputs = target
          kk_elementwise_i64(&program)
        }
      }
    }
  }
}
