import KalsaeTensors

/// Where the first values of parameters come from.
///
/// Inside `with(seed:)` a model is built with the same numbers every time; outside, with new ones every time. Values
/// are drawn only when something needs them, so a model that is loaded from a checkpoint draws none.
public enum Initialization {
  @TaskLocal package static var stream: RandomStream?

  /// Builds the modules of `body` from `seed`: the n-th parameter drawn gets the n-th stream of its random numbers.
  public static func with<R>(seed: UInt64, _ body: () throws -> R) rethrows -> R {
    try $stream.withValue(RandomStream(RandomKey(seed: seed)), operation: body)
  }

  /// The key and stream of the next draw.
  static func next() -> (key: Tensor, stream: UInt32) {
    if let stream { return (stream.key, stream.take()) }
    return (RandomKey(seed: .random(in: 0 ... .max)).tensor, 0)
  }
}

/// A distribution of first values.
public enum Initializer: Sendable, Hashable {
  case zeros, ones
  case constant(Double)
  case normal(standardDeviation: Double, mean: Double = 0)
  case uniform(low: Double, high: Double)
  /// A normal distribution around 0 cut off at two standard deviations (of the uncut one).
  case truncatedNormal(standardDeviation: Double)
  /// U(-b, b) with b = gain sqrt(6 / (fanIn + fanOut)) (Glorot and Bengio 2010, equation 16).
  case xavierUniform(gain: Double = 1)
  /// N(0, 2 gain^2 / (fanIn + fanOut)) (Glorot and Bengio 2010, equation 12).
  case xavierNormal(gain: Double = 1)
  /// U(-b, b) with b = sqrt(6 / ((1 + slope^2) fanIn)), for a leaky ReLU of that slope (arXiv 1502.01852).
  case kaimingUniform(slope: Double = 0)
  /// N(0, 2 / ((1 + slope^2) fanIn)) (arXiv 1502.01852, equation 15).
  case kaimingNormal(slope: Double = 0)

  /// What PyTorch gives the weights of linear layers and convolutions: U(-b, b) with b = 1 / sqrt(fanIn).
  public static let layerDefault = Initializer.kaimingUniform(slope: 5.0.squareRoot())

  /// What PyTorch gives the bias beside a weight of this shape: U(-b, b) with b = 1 / sqrt(fanIn).
  public static func biasDefault(weight: Shape) -> Initializer {
    let bound = 1 / Double(Swift.max(fans(weight).in, 1)).squareRoot()
    return .uniform(low: -bound, high: bound)
  }

  /// A float32 tensor drawn from this distribution.
  ///
  /// Fans are those of a weight (out, in, ...): the trailing axes count as positions of a window.
  public func callAsFunction(_ shape: Shape) -> Tensor {
    let fan = Initializer.fans(shape)
    func normal(_ variance: Double) -> Tensor { sample(.normal, shape) * variance.squareRoot() }
    func uniform(_ bound: Double) -> Tensor { sample(.uniform, shape) * (2 * bound) - bound }
    switch self {
    case .zeros: return .zeros(shape)
    case .ones: return .ones(shape)
    case .constant(let value): return .full(value, shape)
    case .normal(let deviation, let mean): return sample(.normal, shape) * deviation + mean
    case .uniform(let low, let high): return sample(.uniform, shape) * (high - low) + low
    case .truncatedNormal(let deviation): return truncatedNormal(shape) * deviation
    case .xavierUniform(let gain): return uniform(gain * (6 / Double(fan.in + fan.out)).squareRoot())
    case .xavierNormal(let gain): return normal(2 * gain * gain / Double(fan.in + fan.out))
    case .kaimingUniform(let slope): return uniform((6 / ((1 + slope * slope) * Double(fan.in))).squareRoot())
    case .kaimingNormal(let slope): return normal(2 / ((1 + slope * slope) * Double(fan.in)))
    }
  }

  private static func fans(_ shape: Shape) -> (in: Int, out: Int) {
    guard shape.rank >= 2 else { return (shape.count, shape.count) }
    let window = shape.dimensions[2...].reduce(1, *)
    return (shape[1] * window, shape[0] * window)
  }

  private func sample(_ distribution: Random.Distribution, _ shape: Shape) -> Tensor {
    let (key, stream) = Initialization.next()
    return Tensor(Random(distribution: distribution, spec: Spec(shape, .float32), stream: stream), key)
  }

  /// By inverting the distribution function: sqrt(2) erfinv(u) for u uniform in (-b, b), b = erf(2 / sqrt(2)).
  private func truncatedNormal(_ shape: Shape) -> Tensor {
    let bound = 0.9544997361036416
    let u = sample(.uniform, shape) * (2 * bound) - bound
    // M. Giles, "Approximating the erfinv function" (2010), the branch for |u| < 0.9966.
    let w = -log((1 - u) * (1 + u)) - 2.5
    let coefficients = [
      2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
      -0.00417768164, 0.246640727, 1.50140941,
    ]
    var polynomial = Tensor.full(coefficients[0], shape)
    for coefficient in coefficients.dropFirst() { polynomial = polynomial * w + coefficient }
    return polynomial * u * 2.0.squareRoot()
  }
}
