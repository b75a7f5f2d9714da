import KalsaeTensors

/// `softmax(q k^T / sqrt(D)) v` of each of `heads` equal parts of the last axis (Vaswani et al. 2017, section 3.2.2;
/// "Formal Algorithms for Transformers", algorithm 5 without its projections).
///
/// q (B, T, heads D), k and v (B, S, heads D) -> (B, T, heads D); the mask as in `attention`. With fewer
/// `keyValueHeads`, k and v are (B, S, keyValueHeads D) and each of their heads serves a group of query heads
/// (arXiv 2305.13245). `rotary` turns q and k by their positions. With a `cache`, k and v are appended to it and the
/// queries attend to everything in it, causally; a mask is then for all its places, (..., T, capacity). `dropout` acts on
/// the attention map in training mode.
public func multiHeadAttention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, keyValueHeads: Int? = nil, mask: Tensor? = nil,
  isCausal: Bool = false, scale: Double? = nil, dropout: Double = 0, rotary: RotaryEmbedding.Angles? = nil,
  cache: KeyValueCache.Layer? = nil
) -> Tensor {
  let sources = keyValueHeads ?? heads
  require(
    heads > 0 && sources > 0 && q.shape[-1] % heads == 0 && heads % sources == 0
      && k.shape[-1] % sources == 0 && v.shape[-1] % sources == 0,
    "multiHeadAttention: q \(q.shape), k \(k.shape), v \(v.shape) do not divide into \(heads) heads of queries and "
      + "\(sources) of keys")
  var queries = inHeads(q, heads)  // (B, heads, T, D)
  var keys = inHeads(k, sources), values = inHeads(v, sources)  // (B, sources, S, D)
  if let rotary { (queries, keys) = (rotary(queries), rotary(keys)) }
  var mask = mask, isCausal = isCausal
  if let cache {
    let seen = cache.append(keys, values, mask: mask)
    (keys, values, mask, isCausal) = (seen.keys, seen.values, seen.mask, seen.isCausal)
  }

  let factor = scale ?? 1 / Double(queries.shape[-1]).squareRoot()
  AttentionMaps.current?.record {
    ScaledDotProductAttention.probabilities(queries, keys, mask: mask, scale: factor, isCausal: isCausal)
  }
  let mixed = attention(
    queries, keys, values, mask: mask, isCausal: isCausal, scale: factor, dropout: dropout)
  return mixed.swappingAxes(1, 2).reshaped(q.shape[0], q.shape[1], -1)  // (B, T, heads D)
}

/// (B, T, heads D) -> (B, heads, T, D).
private func inHeads(_ x: Tensor, _ heads: Int) -> Tensor {
  x.reshaped(x.shape[0], x.shape[1], heads, x.shape[2] / heads).swappingAxes(1, 2)
}

/// A mask for `attention` from one flag a token: (B, S), not 0 where there is a token -> bool (B, 1, 1, S).
public func paddingMask(_ tokens: Tensor) -> Tensor {
  require(tokens.rank == 2, "paddingMask: needs (B, S), not \(tokens.shape)")
  return (tokens.dtype == .bool ? tokens : tokens .!= 0).expanded(1).expanded(1)
}

/// A mask for `attention` that allows what both allow; numbers are added, nil allows everything.
public func joinedMasks(_ a: Tensor?, _ b: Tensor?) -> Tensor? {
  guard let a, let b else { return a ?? b }
  switch (a.dtype, b.dtype) {
  case (.bool, .bool): return a .& b
  case (.bool, _): return select(a, b, -Double.infinity)
  case (_, .bool): return select(b, a, -Double.infinity)
  default: return a + b
  }
}

/// Multi-head attention of tokens (B, T, C) to themselves or to a context (B, S, E) (Vaswani et al. 2017).
///
/// Its keys are `to_q`, `to_k`, `to_v` and `to_out.0`, as in diffusers.
public struct Attention: Module {
  public let to_q: Linear, to_k: Linear, to_v: Linear
  /// The output projection and the dropout behind it.
  public let to_out: [any Layer]
  public let heads: Int

  /// `headFeatures` is C / heads when nil, `contextFeatures` is C when nil.
  public init(
    _ features: Int, heads: Int, headFeatures: Int? = nil, contextFeatures: Int? = nil, bias: Bool = false,
    outputBias: Bool = true, dropout: Double = 0
  ) {
    require(
      headFeatures != nil || features % heads == 0, "Attention: \(features) features for \(heads) heads")
    let inner = heads * (headFeatures ?? features / heads)
    to_q = Linear(features, inner, bias: bias)
    to_k = Linear(contextFeatures ?? features, inner, bias: bias)
    to_v = Linear(contextFeatures ?? features, inner, bias: bias)
    to_out = [Linear(inner, features, bias: outputBias), Dropout(dropout)]
    self.heads = heads
  }

  public func callAsFunction(
    _ x: Tensor, context: Tensor? = nil, mask: Tensor? = nil, isCausal: Bool = false
  ) -> Tensor {
    let context = context ?? x
    let y = multiHeadAttention(
      to_q(x), to_k(context), to_v(context), heads: heads, mask: mask, isCausal: isCausal)
    return to_out.reduce(y) { $1($0) }
  }
}
