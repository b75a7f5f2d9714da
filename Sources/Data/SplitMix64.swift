import KalsaeTensors

/// The SplitMix64 generator: 64-bit state, integer arithmetic only, so the same numbers on every machine.
///
/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014.
public struct SplitMix64: RandomNumberGenerator, Sendable {
  private static let golden: UInt64 = 0x9E37_79B9_7F4A_7C15
  private var state: UInt64

  /// The generator of the paper, started at `seed`.
  public init(seed: UInt64) { state = seed }

  /// An independent generator for each list of words, such as (purpose, seed, epoch):
  /// s = 0, then s = mix((s xor word) + golden) for each word.
  public init(key words: UInt64...) {
    state = words.reduce(0) { Self.mix(($0 ^ $1) &+ Self.golden) }
  }

  private static func mix(_ z: UInt64) -> UInt64 {
    var z = z
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  public mutating func next() -> UInt64 {
    state &+= Self.golden
    return Self.mix(state)
  }

  /// A uniform integer in 0 ..< `bound`, without bias (Lemire 2019, "Fast Random Integer Generation in an
  /// Interval": multiply, take the high word, reject the low words that would be counted twice).
  public mutating func below(_ bound: UInt64) -> UInt64 {
    require(bound > 0, "SplitMix64.below: the bound is 0")
    var product = next().multipliedFullWidth(by: bound)
    if product.low < bound {
      let threshold = (0 &- bound) % bound
      while product.low < threshold { product = next().multipliedFullWidth(by: bound) }
    }
    return product.high
  }

  /// A uniform number in [0, 1), a multiple of 2^-53.
  public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}

/// The order in which an epoch visits a data set, and which pictures it mirrors and moves. All depend only on the
/// seed, the epoch and the picture, so a run that resumes in the middle of an epoch sees what it would have
/// seen.
package enum EpochOrder {
  // Purposes keep the streams of one seed apart; the numbers spell their names.
  private static let orderPurpose: UInt64 = 0x6F72_6465_72  // "order"
  private static let flipPurpose: UInt64 = 0x666C_6970  // "flip"
  private static let batchPurpose: UInt64 = 0x62_6174_6368  // "batch"
  private static let shiftPurpose: UInt64 = 0x73_6869_6674  // "shift"
  private static let splitPurpose: UInt64 = 0x73_706C_6974  // "split"

  /// A permutation of 0 ..< count: Fisher-Yates from the last place down, place i exchanged with
  /// `below(i + 1)` of the generator keyed ("order", seed, epoch).
  package static func permutation(count: Int, seed: UInt64, epoch: Int) -> [UInt32] {
    require(count <= Int(UInt32.max), "EpochOrder: \(count) examples are more than 2^32 - 1")
    return shuffled(count, SplitMix64(key: orderPurpose, seed, UInt64(epoch)))
  }

  /// The order of an epoch's batches where these are put together by length; as `permutation`, but keyed ("batch",
  /// seed, epoch).
  package static func batchPermutation(count: Int, seed: UInt64, epoch: Int) -> [UInt32] {
    shuffled(count, SplitMix64(key: batchPurpose, seed, UInt64(epoch)))
  }

  private static func shuffled(_ count: Int, _ generator: SplitMix64) -> [UInt32] {
    var generator = generator
    var order = Array(0..<UInt32(count))
    for i in stride(from: count - 1, to: 0, by: -1) {
      order.swapAt(i, Int(generator.below(UInt64(i) + 1)))
    }
    return order
  }

  /// Whether picture `index` is mirrored in `epoch`: the top bit of the first number keyed ("flip", seed,
  /// epoch, index).
  package static func flips(index: Int, seed: UInt64, epoch: Int) -> Bool {
    var generator = SplitMix64(key: flipPurpose, seed, UInt64(epoch), UInt64(index))
    return generator.next() >> 63 == 1
  }

  /// How far picture `index` is moved in `epoch`, each way in -limit ... limit: two `below(2 limit + 1)` of the generator
  /// keyed ("shift", seed, epoch, index), right and then down.
  package static func shift(
    index: Int, limit: Int, seed: UInt64, epoch: Int
  ) -> (right: Int, down: Int) {
    var generator = SplitMix64(key: shiftPurpose, seed, UInt64(epoch), UInt64(index))
    let places = UInt64(2 * limit + 1)
    let right = Int(generator.below(places)) - limit
    return (right, Int(generator.below(places)) - limit)
  }

  /// 0 ..< count in the order in which examples are chosen from a data set, keyed ("split", seed).
  package static func selection(count: Int, seed: UInt64) -> [UInt32] {
    shuffled(count, SplitMix64(key: splitPurpose, seed))
  }
}
