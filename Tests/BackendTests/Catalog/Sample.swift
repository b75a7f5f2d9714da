import KalsaeReferenceBackend
import KalsaeTensors

/// How the values of one input of a catalog entry are chosen.
struct Sample: Sendable {
  enum Values: Sendable {
    case normal
    case uniform(Double, Double)
    /// Both signs, magnitudes from 0.4 to 2.
    case awayFromZero
    /// At least 0.05 apart, in random order.
    case distinct
    /// At least 0.2 away from every multiple of one half.
    case awayFromIntegers
    case integers(Range<Int>)
    case exact([Double])
  }

  let shape: Shape
  /// nil: the element type under test.
  let dtype: DType?
  let values: Values

  init(_ shape: Shape, _ values: Values) { self.init(shape, nil, values) }

  init(_ shape: Shape, _ dtype: DType?, _ values: Values) {
    self.shape = shape
    self.dtype = dtype
    self.values = values
  }

  static func normal(_ shape: Int...) -> Sample { Sample(Shape(shape), .normal) }
  static func uniform(_ low: Double, _ high: Double, _ shape: Int...) -> Sample {
    Sample(Shape(shape), .uniform(low, high))
  }
  static func positive(_ shape: Int...) -> Sample { Sample(Shape(shape), .uniform(0.3, 2)) }
  static func awayFromZero(_ shape: Int...) -> Sample { Sample(Shape(shape), .awayFromZero) }
  static func distinct(_ shape: Int...) -> Sample { Sample(Shape(shape), .distinct) }
  static func exact(_ values: [Double], _ dtype: DType? = nil) -> Sample {
    Sample([values.count], dtype, .exact(values))
  }
  static func integers(_ range: Range<Int>, _ shape: Int..., dtype: DType = .int32) -> Sample {
    Sample(Shape(shape), dtype, .integers(range))
  }
  static func truth(_ shape: Int...) -> Sample { Sample(Shape(shape), .bool, .integers(0..<2)) }
  static func scalar(_ value: Double, _ dtype: DType? = nil) -> Sample { Sample([], dtype, .exact([value])) }

  /// This sample with a fixed element type.
  func of(_ dtype: DType) -> Sample { Sample(shape, dtype, values) }

  /// The values, with `dtype` for the element type under test.
  func array(_ dtype: DType, _ random: inout SampleRandom) -> NDArray {
    let dtype = self.dtype ?? dtype
    let n = shape.count
    let numbers: [Double]
    switch values {
    case .normal: numbers = (0..<n).map { _ in random.normal() }
    case .uniform(let low, let high): numbers = (0..<n).map { _ in low + (high - low) * random.uniform() }
    case .awayFromZero:
      numbers = (0..<n).map { _ in (0.4 + 1.6 * random.uniform()) * (random.uniform() < 0.5 ? -1 : 1) }
    case .distinct:
      let places = (0..<n).map { _ in random.uniform() }
      numbers = (0..<n).sorted { places[$0] < places[$1] }.map { 0.1 * (Double($0) - Double(n) / 2) + 0.03 }
    case .awayFromIntegers:
      numbers = (0..<n).map { _ in
        (random.uniform() * 8 - 4).rounded() + (random.uniform() < 0.5 ? 0.22 : 0.74)
          + 0.04 * random.uniform()
      }
    case .integers(let range):
      numbers = (0..<n).map { _ in Double(range.lowerBound + Int(random.uniform() * Double(range.count))) }
    case .exact(let exact): numbers = exact
    }
    // Fractions do not survive in integers: keep the samples apart.
    let scale: Double = self.dtype == nil && !dtype.isFloatingPoint ? (dtype == .uint8 ? 20 : 10) : 1
    let array = NDArray(shape, dtype, numbers.map { scale == 1 ? $0 : ($0 * scale).rounded() })
    return array.rounded()
  }
}

/// A small deterministic generator (SplitMix64), so that a failing sample can be seen again.
struct SampleRandom {
  private var state: UInt64

  init(seed: String) {
    state = seed.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }

  /// [0, 1)
  mutating func uniform() -> Double {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return Double((z ^ (z >> 31)) >> 11) / 9_007_199_254_740_992
  }

  /// Close to standard normal: a sum of twelve uniform numbers.
  mutating func normal() -> Double { (0..<12).reduce(-6) { sum, _ in sum + uniform() } }

  /// An array of close to normal numbers.
  mutating func normal(_ shape: Shape, _ dtype: DType = .float32) -> NDArray {
    NDArray(shape, dtype, (0..<shape.count).map { _ in normal() })
  }
}
