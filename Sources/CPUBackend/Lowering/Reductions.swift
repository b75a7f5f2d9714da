import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension Reduce: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], y = outputs[0]
    let reduced = x.shape.dimensions.indices.map(axes.contains)
    let kind: kk_reduction =
      switch kind {
      case .sum: KK_SUM
      case .product: KK_PRODUCT
      case .maximum: KK_MAXIMUM
      case .minimum: KK_MINIMUM
      }
    let shape = x.shape.dimensions.int64, strides = x.layout.strides.int64
    let (source, target) = (x.dtype.kernelType, y.dtype.kernelType)
    return Kernel("reduce") { p in
      kk_reduce(kind, Int32(shape.count), shape, reduced, p[1], target, p[0], source, strides, 1)
    }
  }
}

/// A dense array as (outer, n, inner) around one axis.
struct AroundAxis {
  let outer: Int64, n: Int64, inner: Int64
  init(_ shape: Shape, _ axis: Int) {
    outer = Int64(shape.dimensions[..<axis].reduce(1, *))
    n = Int64(shape.dimensions[axis])
    inner = Int64(shape.dimensions[(axis + 1)...].reduce(1, *))
  }
}

extension ArgReduce: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], place = AroundAxis(x.shape, axis), isMinimum = kind == .minimum
    return Kernel("arg reduce") { p in
      kk_arg_extreme(isMinimum, place.outer, place.n, place.inner, p[0], x.dtype.kernelType, p[1], KK_I32)
    }
  }
}

extension CumulativeSum: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], place = AroundAxis(x.shape, axis), exclusive = exclusive, reverse = reverse
    return Kernel("cumulative sum") { p in
      kk_cumulative_sum(
        place.outer, place.n, place.inner, p[0], p[1], x.dtype.kernelType, exclusive, reverse)
    }
  }
}

extension Sort: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], place = AroundAxis(x.shape, axis), descending = descending
    guard place.inner > 1 else {
      return Kernel("sort") { p in
        kk_sort(
          place.outer, place.n, p[0], x.dtype.kernelType, descending, p[1],
          p[2].assumingMemoryBound(to: Int32.self))
      }
    }
    // Sorts rows: the axis is brought to the end in scratch memory and its results are brought back.
    let bytes = x.spec.byteCount, count = x.shape.count
    let rows: Shape = [Int(place.outer), Int(place.inner), Int(place.n)]
    let turned = [Int(place.n * place.inner), 1, Int(place.inner)]
    return Kernel("sort", scratchBytes: 2 * bytes + 4 * count + 128) { p in
      let source = p[3], values = source + (bytes + 63) / 64 * 64, indices = values + (bytes + 63) / 64 * 64
      copyView(rows, to: source, x.dtype, rows.strides, from: p[0], x.dtype, turned)
      kk_sort(
        place.outer * place.inner, place.n, source, x.dtype.kernelType, descending, values,
        indices.assumingMemoryBound(to: Int32.self))
      copyView(rows, to: p[1], x.dtype, turned, from: values, x.dtype, rows.strides)
      copyView(rows, to: p[2], .int32, turned, from: indices, .int32, rows.strides)
    }
  }
}
