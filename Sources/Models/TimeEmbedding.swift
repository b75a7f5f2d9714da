import KalsaeNeural
import KalsaeTensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Sines and cosines of t w_i with w_i = 10000^(-i / (n / 2 - shift)): (B) -> (B, n) float32
/// (Ho et al. 2020, appendix B, after Vaswani et al. 2017, section 3.5).
public struct SinusoidalEmbedding: Sendable {
  private let frequencies: Tensor
  private let features: Int
  private let cosineFirst: Bool
  private let isInterleaved: Bool

  /// Sines and cosines lie in two halves or, interleaved, side by side.
  public init(_ features: Int, cosineFirst: Bool, frequencyShift: Int, isInterleaved: Bool = false) {
    let half = features / 2
    // In float32 step by step: at t = 1000 another rounding of w_i would show in the fifth digit.
    let slope = Float(-log(10000.0))
    frequencies = Tensor(
      (0..<half).map { i in Float(exp(Double(slope * Float(i) / Float(half - frequencyShift)))) })
    (self.features, self.cosineFirst) = (features, cosineFirst)
    self.isInterleaved = isInterleaved
  }

  public func callAsFunction(_ t: Tensor) -> Tensor {
    let angle = t.cast(to: .float32).expanded(1) * frequencies  // (B, n / 2)
    let parts = cosineFirst ? [cos(angle), sin(angle)] : [sin(angle), cos(angle)]
    let joined = isInterleaved ? stacked(parts, axis: 2).flattened(from: 1) : concatenated(parts, axis: 1)
    // An odd number of features ends with a zero.
    return joined.padded(low: [0, 0], high: [0, features % 2])
  }
}

/// Sines and cosines of 2 pi w_i log(t) with random w_i that stay as they are: (B) -> (B, 2 n) float32
/// (arXiv 2006.10739; the noise levels of arXiv 2011.13456).
public struct GaussianFourierProjection: Module {
  public let weight: State  // (n)

  public init(_ count: Int, scale: Double) {
    weight = State(Initializer.normal(standardDeviation: scale)([count]))
  }

  public func callAsFunction(_ t: Tensor) -> Tensor {
    let angle = log(t.cast(to: .float32)).expanded(1) * weight.value * 2 * .pi  // (B, n)
    return concatenated([sin(angle), cos(angle)], axis: 1)
  }
}

/// Two linear layers that turn features of the time into the embedding all blocks read: (B, n) -> (B, E).
public struct TimestepEmbedding: Module {
  public let linear_1: Linear, linear_2: Linear

  public init(_ inputs: Int, _ features: Int) {
    linear_1 = Linear(inputs, features)
    linear_2 = Linear(features, features)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { linear_2(silu(linear_1(x))) }
}
