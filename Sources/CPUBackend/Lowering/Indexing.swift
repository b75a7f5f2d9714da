import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

/// Traps when a kernel reports an index outside its axis.
private func checkIndices(
  _ bad: Int64, _ name: String, _ indices: UnsafeRawPointer, _ dtype: DType, _ n: Int64
) {
  guard bad >= 0 else { return }
  let value =
    dtype == .int32
    ? Int(indices.load(fromByteOffset: 4 * Int(bad), as: Int32.self))
    : Int(indices.load(fromByteOffset: 8 * Int(bad), as: Int64.self))
  fatalError("\(name): index \(value) is outside an axis of \(n)")
}

extension Gather: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], type = inputs[1].dtype, count = Int64(inputs[1].shape.count)
    let place = AroundAxis(x.shape, axis), row = place.inner * Int64(x.dtype.byteCount)
    return Kernel("gather") { p in
      let bad = kk_gather(place.outer, place.n, count, row, p[0], p[1], type.kernelType, p[2])
      checkIndices(bad, "gather", p[1], type, place.n)
    }
  }
}

extension ScatterAdd: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let y = outputs[0], type = inputs[1].dtype, count = Int64(inputs[1].shape.count)
    if y.dtype == .float16 { return throughFloat32(self, inputs, outputs) }
    let place = AroundAxis(y.shape, axis), hasBase = hasBase
    return Kernel("scatter add") { p in
      let bad = kk_scatter_add(
        place.outer, place.n, count, place.inner, p[0], y.dtype.kernelType, p[1], type.kernelType,
        hasBase ? UnsafeRawPointer(p[2]) : nil, p[hasBase ? 3 : 2])
      checkIndices(bad, "scatterAdd", p[1], type, place.n)
    }
  }
}

extension GatherAlong: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], type = inputs[1].dtype, place = AroundAxis(x.shape, axis)
    let count = Int64(outputs[0].shape.dimensions[axis])
    return Kernel("gather along") { p in
      let bad = kk_gather_along(
        place.outer, place.n, count, place.inner, Int64(x.dtype.byteCount), p[0], p[1], type.kernelType, p[2])
      checkIndices(bad, "gather", p[1], type, place.n)
    }
  }
}

extension ScatterAddAlong: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let y = outputs[0], type = inputs[1].dtype, count = Int64(inputs[0].shape.dimensions[axis])
    if y.dtype == .float16 { return throughFloat32(self, inputs, outputs) }
    let place = AroundAxis(y.shape, axis)
    return Kernel("scatter add along") { p in
      let bad = kk_scatter_add_along(
        place.outer, place.n, count, place.inner, p[0], y.dtype.kernelType, p[1], type.kernelType, p[2])
      checkIndices(bad, "scatterAdd", p[1], type, place.n)
    }
  }
}

extension UpdateSlice: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let update = inputs[1], y = outputs[0], extent = y.shape[axis]
    let step = y.layout.strides[axis] * y.dtype.byteCount, bytes = y.spec.byteCount
    let count = update.shape[axis], isEmpty = update.shape.count == 0
    let copy = ViewCopy(
      update.shape, to: y.dtype, y.layout.strides, from: update.dtype, update.layout.strides)
    return Kernel("update slice") { p in
      let start = Int(p[2].load(as: Int32.self))
      require(
        start >= 0 && start + count <= extent,
        "UpdateSlice: \(count) elements from \(start) on are outside an axis of extent \(extent)")
      if p[3] != p[0] { p[3].copyMemory(from: p[0], byteCount: bytes) }
      if !isEmpty { copy(to: p[3] + start * step, from: p[1]) }
    }
  }
}
