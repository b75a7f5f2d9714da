import KalsaeTensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension Random: ReferenceOp {
  /// Element i is made of word i % 4 of block i / 4; a block's counter is (i / 4 as two words, stream, 0).
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let key = inputs[0].values.map { UInt32(bitPattern: Int32($0)) }
    let count = spec.shape.count
    var values: [Double] = []
    values.reserveCapacity(count + 3)
    for block in 0..<UInt64((count + 3) / 4) {
      let words = Philox.block(
        counter: (UInt32(truncatingIfNeeded: block), UInt32(truncatingIfNeeded: block >> 32), stream, 0),
        key: (key[0], key[1]))
      values += numbers([words.0, words.1, words.2, words.3])
    }
    return [NDArray(spec.shape, spec.dtype, Array(values.prefix(count)))]
  }

  private func numbers(_ words: [UInt32]) -> [Double] {
    let unit = words.map { Double($0 >> 8) * 0x1p-24 }
    switch distribution {
    case .uniform: return unit
    case .bernoulli(let probability):
      // The kernels compare in float32, and so must whoever wants the same truth values.
      let bound = Double(Float(probability))
      return unit.map { $0 < bound ? 1 : 0 }
    case .normal:
      // Box and Muller, on pairs; the first number of a pair in (0, 1].
      return [0, 2].flatMap { pair in
        let radius = (-2 * log(unit[pair] + 0x1p-24)).squareRoot(), angle = 2 * Double.pi * unit[pair + 1]
        return [radius * cos(angle), radius * sin(angle)]
      }
    }
  }
}
