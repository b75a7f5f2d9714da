import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

/// Reads element `i` of int32 or int64 indices; traps outside 0 ..< extent.
@inline(__always)
private func index(_ p: UnsafeRawPointer, _ i: Int, _ dtype: DType, _ extent: Int) -> Int {
  let value =
    dtype == .int32
    ? Int(p.load(fromByteOffset: 4 * i, as: Int32.self)) : Int(p.load(fromByteOffset: 8 * i, as: Int64.self))
  require(value >= 0 && value < extent, "gather: index \(value) is outside an axis of \(extent)")
  return value
}

extension Gather: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], indices = inputs[1]
    let place = AroundAxis(x.shape, axis), taken = indices.shape.count
    let n = Int(place.n), row = Int(place.inner) * x.dtype.byteCount, outer = Int(place.outer)
    return Kernel("gather") { p in
      for o in 0..<outer {
        for i in 0..<taken {
          let from = index(p[1], i, indices.dtype, n)
          (p[2] + (o * taken + i) * row).copyMemory(from: p[0] + (o * n + from) * row, byteCount: row)
        }
      }
    }
  }
}
