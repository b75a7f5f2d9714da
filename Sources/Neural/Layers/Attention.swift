import KalsaeTensors

/// `softmax(q k^T / sqrt(D)) v` of each of `heads` equal parts of the last axis (Vaswani et al. 2017, section 3.2.2).
///
/// q (B, T, heads D), k and v (B, S, heads D) -> (B, T, heads D); the mask as in `attention`.
public func multiHeadAttention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: Tensor? = nil, isCausal: Bool = false
) -> Tensor {
  require(
    heads > 0 && q.shape[-1] % heads == 0,
    "multiHeadAttention: \(q.shape) does not divide into \(heads) heads"
  )
  func split(_ x: Tensor) -> Tensor {  // (B, T, heads D) -> (B, heads, T, D)
    x.reshaped(x.shape[0], x.shape[1], heads, x.shape[2] / heads).swappingAxes(1, 2)
  }
  let y = attention(split(q), split(k), split(v), mask: mask, isCausal: isCausal)
  return y.swappingAxes(1, 2).reshaped(q.shape[0], q.shape[1], v.shape[2])  // (B, T, heads D)
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
