import KalsaeTensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Rotary position embedding: feature pairs of queries and keys turn by the position times w_i = base^(-2i / D)
/// (arXiv 2104.09864, equation 34).
///
/// Pair i is (i, i + D / 2), as in LLaMA's checkpoints for transformers, or (2i, 2i + 1) when interleaved, as in the
/// paper. Only the first D features of a head turn.
public struct RotaryEmbedding: Sendable {
  public let features: Int
  public let isInterleaved: Bool
  private let frequencies: Tensor  // (D / 2)

  public init(_ features: Int, base: Double = 10000, isInterleaved: Bool = false) {
    require(
      features > 0 && features % 2 == 0, "RotaryEmbedding: needs an even number of features, not \(features)")
    (self.features, self.isInterleaved) = (features, isInterleaved)
    frequencies = Tensor((0..<features / 2).map { Float(pow(base, -2 * Double($0) / Double(features))) })
  }

  /// The angles at positions (T), or (B, T) where the sequences differ.
  public func callAsFunction(_ positions: Tensor) -> Angles {
    let angle = positions.cast(to: .float32).expanded(-1) * frequencies  // (..., T, D / 2)
    // (B, T, D / 2) leaves a place for the heads.
    let spread = angle.rank == 3 ? angle.expanded(1) : angle
    return Angles(
      cosine: cos(spread), sine: sin(spread), features: features, isInterleaved: isInterleaved)
  }

  /// Cosines and sines that turn queries or keys (B, heads, T, D).
  public struct Angles: Sendable {
    let cosine: Tensor, sine: Tensor
    let features: Int
    let isInterleaved: Bool

    public func callAsFunction(_ x: Tensor) -> Tensor {
      let extent = x.shape[-1], rest = x.sliced(-1, features..<extent), turning = x.sliced(-1, 0..<features)
      let (c, s) = (cosine.cast(to: x.dtype), sine.cast(to: x.dtype))
      // (a, b) -> (a cos - b sin, b cos + a sin)
      let (a, b): (Tensor, Tensor)
      if isInterleaved {
        (a, b) = (turning.sliced(-1, 0..<features, by: 2), turning.sliced(-1, 1..<features, by: 2))
      } else {
        (a, b) = (turning.sliced(-1, 0..<features / 2), turning.sliced(-1, features / 2..<features))
      }
      let turned = [a * c - b * s, b * c + a * s]
      let y =
        isInterleaved
        ? stacked(turned, axis: -1).reshaped(turning.shape) : concatenated(turned, axis: -1)
      return extent == features ? y : concatenated([y, rest], axis: -1)
    }
  }
}
