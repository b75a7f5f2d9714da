import KalsaeTensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A learned number for each head and distance between query and key, added to the scores (T5, arXiv 1910.10683,
/// section 2.1): small distances have a bucket each, larger ones share buckets that widen with the logarithm.
public struct RelativePositionBias: Module {
  public let relative_attention_bias: Embedding  // (buckets, heads)
  public let buckets: Int, maxDistance: Int
  /// Whether keys behind the query have buckets of their own.
  public let isBidirectional: Bool

  public init(heads: Int, buckets: Int = 32, maxDistance: Int = 128, isBidirectional: Bool = true) {
    require(
      buckets >= 4 && maxDistance > buckets, "RelativePositionBias: \(buckets) buckets up to \(maxDistance)")
    relative_attention_bias = Embedding(buckets, heads)
    (self.buckets, self.maxDistance, self.isBidirectional) = (buckets, maxDistance, isBidirectional)
  }

  /// The mask (1, heads, T, S) for the last T of S positions.
  public func callAsFunction(queries: Int, keys: Int) -> Tensor {
    self(positions: .iota(queries) + Double(keys - queries), keys: keys)
  }

  /// The mask (1, heads, T, S) for queries at `positions`, int32 (T), and keys at 0 ..< S: positions of a cache, say.
  public func callAsFunction(positions: Tensor, keys: Int) -> Tensor {
    // Farther than maxDistance is one bucket.
    let known = Tensor((-maxDistance...maxDistance).map { Int32(bucket($0)) })
    let distance = Tensor.iota(keys) - positions.expanded(1)  // (T, S)
    let places = clamp(distance, Double(-maxDistance), Double(maxDistance)) + Double(maxDistance)
    return relative_attention_bias(known.gathered(places)).transposed(2, 0, 1).expanded(0)
  }

  /// The bucket of a key `distance` positions behind the query, negative for one before it.
  package func bucket(_ distance: Int) -> Int {
    let count = isBidirectional ? buckets / 2 : buckets
    let side = isBidirectional && distance > 0 ? count : 0
    let n = isBidirectional ? Swift.abs(distance) : Swift.max(-distance, 0)
    let exact = count / 2
    guard n >= exact else { return side + n }
    // In float32, as the checkpoints were trained: the edges of the buckets fall on integers.
    let growth = logf(Float(n) / Float(exact)) / Float(log(Double(maxDistance) / Double(exact)))
    return side + Swift.min(exact + Int(growth * Float(count - exact)), count - 1)
  }
}
