/// `y = dropout(softmax(scale q k^T + mask)) v` of each head (Vaswani et al. 2017, equation 1), and the scores'
/// log-sum-exp.
///
/// q (B, T, H, D), k (B, S, K, D), v (B, S, K, E), the random key where there is dropout, int32 (2), and perhaps a mask
/// broadcast to (B, H, T, S): bool (true attends) or added to the scores -> y (B, T, H, E), and log sum_s exp(score) of
/// each query, (B, H, T) float32.
/// Heads stand behind positions, as a projection leaves them. K divides H: head h reads key head h / (H / K)
/// (arXiv 2305.13245). Causal: position t of the last T positions attends to those up to S - T + t. A query with
/// nothing to attend to has y = 0 and log-sum-exp 0.
public struct ScaledDotProductAttention: CompositeOp {
  public let scale: Double
  public let isCausal: Bool
  public let dropout: AttentionDropout?

  public init(scale: Double, isCausal: Bool, dropout: AttentionDropout? = nil) {
    self.scale = scale
    self.isCausal = isCausal
    self.dropout = dropout
  }

  /// Operands in front of the mask.
  package var leadingCount: Int { 3 + (dropout == nil ? 0 : 1) }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    try checkAttention(inputs[0], inputs[1], inputs[2], mask: inputs.dropFirst(leadingCount).first)
    try checkKey(dropout, inputs, at: 3)
    let q = inputs[0].shape
    return [
      Spec([q[0], q[1], q[2], inputs[2].shape[3]], inputs[0].dtype), Spec([q[0], q[2], q[1]], .float32),
    ]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard cotangents[1] == nil else { return decompositionVJP(cotangents, inputs) }
    guard let dy = cotangents[0] else { return inputs.map { _ in nil } }
    let op = AttentionGradient(scale: scale, isCausal: isCausal, dropout: dropout)
    let operands = [dy] + inputs[..<3] + outputs + inputs[3...]
    let gradients = apply(op, operands) + (dropout == nil ? [] : [nil])
    guard let mask = inputs.dropFirst(leadingCount).first else { return gradients }
    // Nothing computes this unless a learned bias asks for it.
    return gradients + [
      mask.dtype.isFloatingPoint ? op.scores(operands).gradient.cast(to: mask.dtype) : nil
    ]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let q = inputs[0].swappingAxes(1, 2), k = inputs[1].swappingAxes(1, 2), v = inputs[2].swappingAxes(1, 2)
    let (scores, allowed) = attentionScores(
      q, k, mask: inputs.dropFirst(leadingCount).first, scale: scale, isCausal: isCausal)
    var p = attentionProbabilities(scores, allowed)
    if let dropout { p = dropout(p, key: inputs[3]) }
    let y = groupedProduct(p, v).swappingAxes(1, 2)
    guard scores.count > 0 else { return [y, .zeros([q.shape[0], q.shape[1], q.shape[2]])] }
    let wide = scores.cast(to: .float32)
    let top = stopGradient(wide.max([-1], keepingAxes: true))
    var logSum = log(exp(wide - top).sum([-1], keepingAxes: true)) + top
    if let allowed {
      let seen = allowed.broadcast(to: scores.shape).cast(to: .float32).max([-1], keepingAxes: true)
      logSum = select(seen .> 0, logSum, 0)
    }
    return [y, logSum.squeezed(-1)]
  }

  /// The attention map (B, H, T, S) of q (B, H, T, D) to k (B, K, S, D).
  public static func probabilities(_ q: Tensor, _ k: Tensor, mask: Tensor?, scale: Double, isCausal: Bool)
    -> Tensor
  {
    let (scores, allowed) = attentionScores(q, k, mask: mask, scale: scale, isCausal: isCausal)
    return attentionProbabilities(scores, allowed)
  }
}

/// Dropout of attention maps: which probabilities of (B, H, T, S) are dropped depends on the key and their place alone,
/// so that the gradient finds the same ones again.
public struct AttentionDropout: Hashable, Sendable {
  public let probability: Double
  public let stream: UInt32

  public init(probability: Double, stream: UInt32) {
    require(
      probability >= 0 && probability < 1, "attention: the dropout \(probability) must be in [0, 1)")
    self.probability = probability
    self.stream = stream
  }

  /// What the kept ones are multiplied with.
  public var factor: Double { 1 / (1 - probability) }

  /// The map p (B, H, T, S) with some of it set to 0 and the rest scaled.
  package func callAsFunction(_ p: Tensor, key: Tensor) -> Tensor {
    // A query's truth values are whole groups of 64, as random numbers are made, or 16 or 32 of one.
    let keys = p.shape[3], row = keys <= 16 ? 16 : keys <= 32 ? 32 : (keys + 63) / 64 * 64
    let spec = Spec([p.shape[0], p.shape[1], p.shape[2], row], .bool)
    let kept = Tensor(Random(distribution: .bernoulli(1 - probability), spec: spec, stream: stream), key)
    return select(kept.sliced(3, 0..<keys), p * factor, 0)
  }
}

/// The gradient of `ScaledDotProductAttention`: inputs dy, q, k, v, y, log-sum-exp, the random key where there is dropout,
/// and the mask where there is one -> dq, dk, dv.
///
/// p = exp(s - log-sum-exp), ds = p (dropout(dy v^T) - sum(dy y)), dq = scale ds k, dk = scale ds^T q,
/// dv = dropout(p)^T dy (arXiv 2205.14135, appendix B).
public struct AttentionGradient: CompositeOp {
  public let scale: Double
  public let isCausal: Bool
  public let dropout: AttentionDropout?

  public init(scale: Double, isCausal: Bool, dropout: AttentionDropout? = nil) {
    self.scale = scale
    self.isCausal = isCausal
    self.dropout = dropout
  }

  /// Operands in front of the mask.
  package var leadingCount: Int { 6 + (dropout == nil ? 0 : 1) }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let q = inputs[1], v = inputs[3]
    try checkAttention(q, inputs[2], v, mask: inputs.dropFirst(leadingCount).first)
    try checkKey(dropout, inputs, at: 6)
    let y = Spec([q.shape[0], q.shape[1], q.shape[2], v.shape[3]], q.dtype)
    let logSum = Spec([q.shape[0], q.shape[2], q.shape[1]], .float32)
    guard inputs[0] == y, inputs[4] == y, inputs[5] == logSum else {
      throw ShapeError("needs dy and y \(y), and \(logSum), not \(inputs[0]), \(inputs[4]) and \(inputs[5])")
    }
    return Array(inputs[1...3])
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let (p, ds) = scores(inputs)
    let (dy, q, k) = (headsFirst(inputs[0]), headsFirst(inputs[1]), headsFirst(inputs[2]))
    let keyHeads = k.shape[1]
    let gradients = [
      groupedProduct(ds, k) * scale, summedOverGroups(Tensor(MatMul(), ds.mT, q), keyHeads) * scale,
      summedOverGroups(Tensor(MatMul(), (dropout?(p, key: inputs[6]) ?? p).mT, dy), keyHeads),
    ]
    return zip(gradients, inputs[1...]).map { $0.swappingAxes(1, 2).cast(to: $1.dtype) }
  }

  /// The probabilities and the gradient of the scores, (B, H, T, S) float32.
  func scores(_ inputs: [Tensor]) -> (probabilities: Tensor, gradient: Tensor) {
    let dy = headsFirst(inputs[0]), y = headsFirst(inputs[4])
    let (scores, _) = attentionScores(
      headsFirst(inputs[1]), headsFirst(inputs[2]), mask: inputs.dropFirst(leadingCount).first,
      scale: scale, isCausal: isCausal)
    let p = exp(scores - inputs[5].expanded(-1))
    var dp = groupedProduct(dy, headsFirst(inputs[3]).mT)
    if let dropout { dp = dropout(dp, key: inputs[6]) }
    return (p, p * (dp - (dy * y).sum([-1], keepingAxes: true)))
  }
}

private func checkAttention(_ q: Spec, _ k: Spec, _ v: Spec, mask: Spec?) throws(ShapeError) {
  guard q.shape.rank == 4, k.shape.rank == 4, v.shape.rank == 4, q.shape[3] == k.shape[3],
    q.shape[0] == k.shape[0], k.shape.dimensions[..<3] == v.shape.dimensions[..<3],
    q.shape[2] == k.shape[2] || k.shape[2] > 0 && q.shape[2] % k.shape[2] == 0
  else {
    throw ShapeError(
      "needs q (B, T, H, D), k (B, S, K, D), v (B, S, K, E) with K dividing H, not \(q), \(k), \(v)")
  }
  guard q.dtype == k.dtype, k.dtype == v.dtype, q.dtype.isFloatingPoint else {
    throw ShapeError("element types differ: \(q), \(k), \(v)")
  }
  guard let mask else { return }
  let scores: Shape = [q.shape[0], q.shape[2], q.shape[1], k.shape[1]]
  guard mask.shape.broadcasts(to: scores), mask.dtype == .bool || mask.dtype.isFloatingPoint else {
    throw ShapeError("the mask \(mask) does not broadcast to \(scores)")
  }
}

private func checkKey(_ dropout: AttentionDropout?, _ inputs: [Spec], at index: Int) throws(ShapeError) {
  guard dropout != nil else { return }
  guard inputs.count > index, inputs[index] == Spec([2], .int32) else {
    throw ShapeError("dropout needs a random key, int32 (2)")
  }
}

/// A finite stand-in for -infinity: a row without any allowed position must not become 0 / 0.
private let hidden = -1e30

/// The scores (B, H, T, S) of q (B, H, T, D) and k (B, K, S, D), and where attention is allowed if not everywhere.
private func attentionScores(_ q: Tensor, _ k: Tensor, mask: Tensor?, scale: Double, isCausal: Bool)
  -> (scores: Tensor, allowed: Tensor?)
{
  var scores = groupedProduct(q * scale, k.mT)
  let t = q.shape[2], s = k.shape[2]
  var allowed: Tensor?
  if isCausal {
    let row = Tensor(Iota(shape: [t, s], axis: 0, dtype: .int32)) + Double(s - t)
    allowed = Tensor(Iota(shape: [t, s], axis: 1, dtype: .int32)) .<= row
  }
  if let mask {
    let seen = mask.dtype == .bool ? mask : mask .> -Double.infinity
    allowed = allowed.map { $0 .& seen } ?? seen
    if mask.dtype != .bool { scores = scores + mask.cast(to: scores.dtype) }
  }
  return (allowed.map { select($0, scores, hidden) } ?? scores, allowed)
}

private func attentionProbabilities(_ scores: Tensor, _ allowed: Tensor?) -> Tensor {
  allowed.map { select($0, softmax(scores), 0) } ?? softmax(scores)
}

/// (B, H, n, m) times (B, K, m, l), each of the K for H / K neighbouring heads -> (B, H, n, l).
private func groupedProduct(_ a: Tensor, _ b: Tensor) -> Tensor {
  let batch = a.shape[0], heads = a.shape[1], keyHeads = b.shape[1]
  guard heads != keyHeads else { return Tensor(MatMul(), a, b) }
  let grouped = a.reshaped([batch, keyHeads, heads / keyHeads, a.shape[2], a.shape[3]])
  return Tensor(MatMul(), grouped, b.expanded(2)).reshaped([batch, heads, a.shape[2], b.shape[3]])
}

/// (B, H, n, m) -> (B, K, n, m): the sum over the heads that share a key head.
private func summedOverGroups(_ x: Tensor, _ keyHeads: Int) -> Tensor {
  let batch = x.shape[0], heads = x.shape[1]
  guard heads != keyHeads else { return x }
  return x.reshaped([batch, keyHeads, heads / keyHeads, x.shape[2], x.shape[3]]).sum([2])
}

/// (B, T, H, D) -> (B, H, T, D) in float32.
private func headsFirst(_ x: Tensor) -> Tensor { x.cast(to: .float32).swappingAxes(1, 2) }

/// Scaled dot-product attention of each head; `scale` is 1 / sqrt(D) when nil ("Formal Algorithms for Transformers",
/// arXiv 2207.09238, algorithms 3 and 4: of a single query, and of a sequence, without projections).
///
/// q (B, H, T, D), k (B, K, S, D), v (B, K, S, E) -> (B, H, T, E), where K divides H: neighbouring heads share keys. A
/// bool mask, broadcast to (B, H, T, S), is true where attention is allowed; any other is added to the scores. In training
/// mode, probabilities are dropped with probability `dropout`.
public func attention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, mask: Tensor? = nil, isCausal: Bool = false, scale: Double? = nil,
  dropout: Double = 0
) -> Tensor {
  require(
    q.rank == 4 && k.rank == 4 && v.rank == 4,
    "attention: needs q (B, H, T, D), k (B, K, S, D), v (B, K, S, E), not \(q.shape), \(k.shape), \(v.shape)")
  let random = dropout > 0 ? Mode.random : nil
  let op = ScaledDotProductAttention(
    scale: scale ?? 1 / Double(q.shape[-1]).squareRoot(), isCausal: isCausal,
    dropout: random.map { AttentionDropout(probability: dropout, stream: $0.take()) })
  let operands = [q, k, v].map { Autocast.apply($0).swappingAxes(1, 2) }
  return apply(op, operands + [random?.key, mask].compactMap { $0 })[0].swappingAxes(1, 2)
}
