import Synchronization

/// The precision in which matrix products and convolutions are computed, chosen for a task.
///
/// Master weights, normalisation statistics and losses stay float32; the casts are part of the graph.
public enum Autocast {
  @TaskLocal public static var precision: DType?

  /// Builds the graph of `body` with products in `precision`; nil leaves the operands' own type.
  public static func with<R>(_ precision: DType?, _ body: () throws -> R) rethrows -> R {
    try $precision.withValue(precision, operation: body)
  }

  /// `x` as an operand of a product.
  package static func apply(_ x: Tensor) -> Tensor {
    guard let precision, x.dtype == .float32 else { return x }
    return x.cast(to: precision)
  }
}

/// Whether layers behave as in training or as in use, and where their randomness comes from.
public enum Mode {
  @TaskLocal package static var random: RandomStream?

  /// Whether dropout and batch statistics are active.
  public static var isTraining: Bool { random != nil }

  /// Builds the graph of `body` in training mode; `key` decides every random number in it.
  public static func training<R>(_ key: RandomKey, _ body: () throws -> R) rethrows -> R {
    try $random.withValue(RandomStream(key), operation: body)
  }

  /// Builds the graph of `body` in evaluation mode, inside a training task too.
  public static func evaluation<R>(_ body: () throws -> R) rethrows -> R {
    try $random.withValue(nil, operation: body)
  }
}

/// Whether training keeps the activations inside the blocks of networks, or computes them again for the gradient;
/// chosen for a task.
///
/// Values and gradients are the same. A step takes about a third longer, and its memory no longer grows by all that a
/// block computes, but by what enters it.
public enum Recomputation {
  @TaskLocal public static var isOn = false

  /// Builds the graph of `body` with every block `checkpointed`, or none.
  public static func with<R>(_ isOn: Bool, _ body: () throws -> R) rethrows -> R {
    try $isOn.withValue(isOn, operation: body)
  }

  /// A block of a network: `checkpointed` where its task recomputes.
  public static func block(_ body: () throws -> Tensor) rethrows -> Tensor {
    isOn ? try checkpointed(body) : try body()
  }
}

/// The key of a counter-based random generator: equal keys give equal numbers, on every machine.
public struct RandomKey: Sendable, Hashable {
  public let seed: UInt64
  /// Distinguishes the steps, or the uses, of one seed.
  public let step: UInt64
  /// The key as graph input, int32 (2): one Philox block of (step; seed), so that no two steps share numbers.
  ///
  /// The same tensor whenever it is asked for: all that one key decides in a graph is one input of it.
  public let tensor: Tensor

  public init(seed: UInt64, step: UInt64 = 0) {
    self.seed = seed
    self.step = step
    let block = Philox.block(
      counter: (UInt32(truncatingIfNeeded: step), UInt32(truncatingIfNeeded: step >> 32), 0, 0),
      key: (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)))
    tensor = Tensor([Int32(bitPattern: block.0), Int32(bitPattern: block.1)])
  }

  public static func == (a: RandomKey, b: RandomKey) -> Bool { a.seed == b.seed && a.step == b.step }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(seed)
    hasher.combine(step)
  }
}

/// Hands out independent streams of one key in the order of the calls.
package final class RandomStream: Sendable {
  package let key: Tensor
  private let next = Atomic<UInt32>(0)
  package init(_ key: RandomKey) { self.key = key.tensor }
  package func take() -> UInt32 { next.add(1, ordering: .relaxed).oldValue }
}

/// Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
public enum Philox {
  public typealias Block = (UInt32, UInt32, UInt32, UInt32)

  /// Ten rounds on a counter of four words under a key of two.
  public static func block(counter: Block, key: (UInt32, UInt32)) -> Block {
    var (c0, c1, c2, c3) = counter
    var (k0, k1) = key
    for _ in 0..<10 {
      let (hi0, lo0) = UInt32(0xD251_1F53).multipliedFullWidth(by: c0)
      let (hi1, lo1) = UInt32(0xCD9E_8D57).multipliedFullWidth(by: c2)
      (c0, c1, c2, c3) = (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0)
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return (c0, c1, c2, c3)
  }
}
