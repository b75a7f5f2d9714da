/// `softmax(scale q k^T + mask) v` (Vaswani et al. 2017, equation 1).
///
/// q (B, H, T, D), k and v (B, H, S, D), mask broadcast to (B, H, T, S): bool (true attends) or added to the scores.
/// Causal: position t of the last T positions attends to those up to S - T + t. A row with nothing to attend to is 0.
public struct ScaledDotProductAttention: CompositeOp {
  public let scale: Double
  public let isCausal: Bool

  public init(scale: Double, isCausal: Bool) {
    self.scale = scale
    self.isCausal = isCausal
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let q = inputs[0], k = inputs[1], v = inputs[2]
    guard q.shape.rank == 4, k.shape.rank == 4, v.shape.rank == 4, q.shape[3] == k.shape[3],
      k.shape[2] == v.shape[2], Array(q.shape.dimensions[..<2]) == Array(k.shape.dimensions[..<2]),
      Array(k.shape.dimensions[..<2]) == Array(v.shape.dimensions[..<2])
    else { throw ShapeError("needs q (B, H, T, D), k (B, H, S, D), v (B, H, S, E), not \(q), \(k), \(v)") }
    guard q.dtype == k.dtype, k.dtype == v.dtype, q.dtype.isFloatingPoint else {
      throw ShapeError("element types differ: \(q), \(k), \(v)")
    }
    if inputs.count > 3 {
      let scores: Shape = [q.shape[0], q.shape[1], q.shape[2], k.shape[2]]
      guard inputs[3].shape.broadcasts(to: scores),
        inputs[3].dtype == .bool || inputs[3].dtype.isFloatingPoint
      else { throw ShapeError("the mask \(inputs[3]) does not broadcast to \(scores)") }
    }
    return [Spec([q.shape[0], q.shape[1], q.shape[2], v.shape[3]], q.dtype)]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let q = inputs[0], k = inputs[1], v = inputs[2]
    let probabilities = ScaledDotProductAttention.probabilities(
      q, k, mask: inputs.count > 3 ? inputs[3] : nil, scale: scale, isCausal: isCausal)
    return [Tensor(MatMul(), probabilities, v)]
  }

  /// The attention map (B, H, T, S).
  public static func probabilities(_ q: Tensor, _ k: Tensor, mask: Tensor?, scale: Double, isCausal: Bool)
    -> Tensor
  {
    var scores = Tensor(MatMul(), q * scale, k.mT)
    let t = q.shape[2], s = k.shape[2]
    var allowed: Tensor?
    if isCausal {
      let row = Tensor(Iota(shape: [t, s], axis: 0, dtype: .int32)) + Double(s - t)
      allowed = Tensor(Iota(shape: [t, s], axis: 1, dtype: .int32)) .<= row
    }
    if let mask {
      if mask.dtype == .bool {
        allowed = allowed.map { $0 .& mask } ?? mask
      } else {
        scores = scores + mask.cast(to: scores.dtype)
      }
    }
    guard let allowed else { return softmax(scores) }
    // A finite stand-in for -inf: a row without any allowed position must not become 0 / 0.
    let masked = softmax(select(allowed, scores, -1e30))
    return select(allowed, masked, 0)
  }
}

/// Scaled dot-product attention over the last two axes; `scale` is 1 / sqrt(D) when nil ("Formal Algorithms for
/// Transformers", arXiv 2207.09238, algorithms 3 and 4: of a single query, and of a sequence, without projections).
///
/// q (B, H, T, D), k and v (B, H, S, D) -> (B, H, T, D). A bool mask is true where attention is allowed; any other is
/// added to the scores.
public func attention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, mask: Tensor? = nil, isCausal: Bool = false, scale: Double? = nil
) -> Tensor {
  let op = ScaledDotProductAttention(scale: scale ?? 1 / Double(q.shape[-1]).squareRoot(), isCausal: isCausal)
  return apply(op, [q, k, v].map(Autocast.apply) + (mask.map { [$0] } ?? []))[0]
}
