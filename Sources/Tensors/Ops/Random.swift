/// Random numbers that depend only on the key, the stream and the place of the element (Philox 4x32-10).
///
/// Input: the key, int32 (2), as made by `RandomKey.tensor`.
public struct Random: Op {
  public enum Distribution: Hashable, Sendable {
    /// [0, 1)
    case uniform
    /// mean 0, variance 1
    case normal
    /// true with this probability, rounded to a multiple of 2^-16; the result is bool
    case bernoulli(Double)
  }
  public let distribution: Distribution
  public let spec: Spec
  public let stream: UInt32

  public init(distribution: Distribution, spec: Spec, stream: UInt32) {
    self.distribution = distribution
    self.spec = spec
    self.stream = stream
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    guard inputs[0] == Spec([2], .int32) else {
      throw ShapeError("the key must be int32 (2), not \(inputs[0])")
    }
    if case .bernoulli(let probability) = distribution {
      guard (0...1).contains(probability) else {
        throw ShapeError("a probability must be in [0, 1], not \(probability)")
      }
      guard spec.dtype == .bool else { throw ShapeError("a Bernoulli sample is bool, not \(spec.dtype)") }
    } else {
      guard spec.dtype.isFloatingPoint else { throw ShapeError("needs floating point, not \(spec.dtype)") }
    }
    return [spec]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] { [nil] }
}

extension Tensor {
  /// Independent standard normal numbers; `stream` tells the samples of one key apart.
  public static func normal(_ shape: Shape, key: RandomKey, stream: UInt32 = 0) -> Tensor {
    Tensor(Random(distribution: .normal, spec: Spec(shape, .float32), stream: stream), key.tensor)
  }

  /// Independent numbers from [low, high); `stream` tells the samples of one key apart.
  public static func uniform(
    _ shape: Shape, _ low: Double = 0, _ high: Double = 1, key: RandomKey, stream: UInt32 = 0
  ) -> Tensor {
    let unit = Tensor(Random(distribution: .uniform, spec: Spec(shape, .float32), stream: stream), key.tensor)
    return low == 0 && high == 1 ? unit : unit * (high - low) + low
  }

  /// Independent truth values, true with `probability`, which is rounded to a multiple of 2^-16.
  public static func bernoulli(
    _ shape: Shape, probability: Double, key: RandomKey, stream: UInt32 = 0
  ) -> Tensor {
    let op = Random(distribution: .bernoulli(probability), spec: Spec(shape, .bool), stream: stream)
    return Tensor(op, key.tensor)
  }
}

/// `y = x / (1 - p)` where a truth value of the key and stream says so, else 0; inputs x and the key, int32 (2).
///
/// The gradient is the same op on dy: the truth values are made again, not kept.
public struct RandomDropout: CompositeOp {
  public let probability: Double
  public let stream: UInt32

  public init(probability: Double, stream: UInt32) {
    self.probability = probability
    self.stream = stream
  }

  /// What is kept is multiplied by this.
  package var scale: Double { 1 / (1 - probability) }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    guard inputs[0].dtype.isFloatingPoint, inputs[1] == Spec([2], .int32) else {
      throw ShapeError("needs floating point and a key int32 (2), not \(inputs[0]) and \(inputs[1])")
    }
    guard (0..<1).contains(probability) else {
      throw ShapeError("the probability must be in [0, 1), not \(probability)")
    }
    return [inputs[0]]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0].map { Tensor(self, $0, inputs[1]) }, nil]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let x = inputs[0]
    let op = Random(distribution: .bernoulli(1 - probability), spec: Spec(x.shape, .bool), stream: stream)
    return [select(Tensor(op, inputs[1]), x * scale, 0)]
  }
}

/// Sets elements to zero with `probability` and scales the rest to keep the mean, in training mode only
/// ("Dropout", Srivastava et al. 2014). The probability is rounded to a multiple of 2^-16.
public func dropout(_ x: Tensor, probability: Double) -> Tensor {
  guard probability > 0, let random = Mode.random else { return x }
  require(probability < 1, "dropout: the probability \(probability) must be below 1")
  return Tensor(RandomDropout(probability: probability, stream: random.take()), x, random.key)
}
