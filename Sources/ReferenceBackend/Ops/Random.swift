import KalsaeTensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension Random: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let key = inputs[0].values.map { UInt32(bitPattern: Int32($0)) }
    // A block's counter is its number as two words, stream, 0.
    func words(_ block: UInt64) -> [UInt32] {
      let words = Philox.block(
        counter: (UInt32(truncatingIfNeeded: block), UInt32(truncatingIfNeeded: block >> 32), stream, 0),
        key: (key[0], key[1]))
      return [words.0, words.1, words.2, words.3]
    }
    let count = spec.shape.count
    if case .bernoulli(let probability) = distribution {
      return [NDArray(spec.shape, spec.dtype, truthValues(count, probability, words))]
    }
    // Element i is made of word i % 4 of block i / 4.
    var values: [Double] = []
    values.reserveCapacity(count + 3)
    for block in 0..<UInt64((count + 3) / 4) { values += numbers(words(block)) }
    return [NDArray(spec.shape, spec.dtype, Array(values.prefix(count)))]
  }

  private func numbers(_ words: [UInt32]) -> [Double] {
    let unit = words.map { Double($0 >> 8) * 0x1p-24 }
    guard distribution == .normal else { return unit }
    // Box and Muller, on pairs; the first number of a pair in (0, 1].
    return [0, 2].flatMap { pair in
      let radius = (-2 * log(unit[pair] + 0x1p-24)).squareRoot(), angle = 2 * Double.pi * unit[pair + 1]
      return [radius * cos(angle), radius * sin(angle)]
    }
  }

  /// 64 neighbours take 16 bits each of eight blocks, in the order of `kk_keep` in the kernels' random.h.
  private func truthValues(_ count: Int, _ probability: Double, _ words: (UInt64) -> [UInt32]) -> [Double] {
    let bound = UInt32(probability * 65536 + 0.5)
    var values = [Double](repeating: 0, count: count)
    for start in stride(from: 0, to: count, by: 64) {
      let blocks = (0..<8).map { words(UInt64(start / 8 + $0)) }
      for i in 0..<min(64, count - start) {
        let word = blocks[i % 16 / 2][2 * (i / 32) + i % 2]
        values[start + i] = (word >> (i / 16 % 2 * 16)) & 0xffff < bound ? 1 : 0
      }
    }
    return values
  }
}
