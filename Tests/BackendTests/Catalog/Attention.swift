import KalsaeTensors

extension OpCatalog {
  static let attention: [OpCase] = samples.flatMap(\.cases)

  private static let samples = [
    AttentionSample("plain", q: [2, 5, 3, 4], k: [2, 5, 3, 4]),
    AttentionSample("cross", q: [2, 7, 1, 3], k: [2, 3, 1, 3], width: 5),
    AttentionSample("one position", q: [1, 1, 2, 8], k: [1, 1, 2, 8]),
    AttentionSample("one query", q: [2, 1, 2, 5], k: [2, 9, 2, 5], mask: .truth(2, 1, 1, 9)),
    AttentionSample("one query, many keys", q: [1, 1, 1, 3], k: [1, 300, 1, 3], isSmall: false),
    AttentionSample("several blocks", q: [1, 70, 2, 17], k: [1, 130, 2, 17], width: 9, isSmall: false),
    AttentionSample(
      "several blocks, causal, masked", q: [1, 70, 2, 5], k: [1, 75, 1, 5], isCausal: true,
      mask: .truth(1, 2, 70, 75), isSmall: false),
    AttentionSample("several shares", q: [1, 9, 1, 3], k: [1, 530, 1, 3], isSmall: false),
    AttentionSample("causal", q: [1, 5, 2, 4], k: [1, 5, 2, 4], isCausal: true),
    AttentionSample("causal with a past", q: [1, 2, 2, 4], k: [1, 5, 2, 4], isCausal: true),
    AttentionSample("causal, more queries than keys", q: [1, 7, 1, 3], k: [1, 2, 1, 3], isCausal: true),
    AttentionSample("bool mask", q: [2, 5, 3, 4], k: [2, 7, 3, 4], mask: .truth(2, 1, 5, 7)),
    AttentionSample("bool mask of keys", q: [2, 5, 3, 4], k: [2, 7, 3, 4], mask: .truth(2, 1, 1, 7)),
    AttentionSample(
      "bool mask and causal", q: [1, 4, 2, 4], k: [1, 4, 2, 4], isCausal: true, mask: .truth(4, 4)),
    AttentionSample(
      "nothing to attend to", q: [1, 5, 1, 4], k: [1, 2, 1, 4],
      mask: Sample([5, 2], .bool, .exact([1, 0, 0, 0, 1, 1, 0, 1, 0, 0]))),
    AttentionSample("added mask", q: [2, 5, 3, 4], k: [2, 7, 3, 4], mask: .normal(2, 1, 5, 7).of(.float32)),
    AttentionSample("added mask of heads", q: [2, 5, 3, 4], k: [2, 6, 3, 4], mask: .normal(3, 5, 6)),
    AttentionSample("shared keys", q: [2, 5, 6, 4], k: [2, 7, 2, 4], width: 3, isCausal: true),
    AttentionSample("one key head", q: [1, 3, 4, 4], k: [1, 5, 1, 4], mask: .truth(4, 3, 5)),
    AttentionSample("dropout", q: [2, 5, 3, 4], k: [2, 6, 3, 4], width: 3, dropout: 0.3),
    AttentionSample(
      "dropout, shared keys, causal, bool mask", q: [1, 4, 4, 4], k: [1, 5, 2, 4], isCausal: true,
      mask: .truth(1, 1, 5), dropout: 0.5),
    // Scores small enough that the reference, which rounds them to bfloat16, keeps within what is allowed.
    AttentionSample(
      "dropout, several blocks", q: [2, 55, 2, 10], k: [2, 270, 1, 10], width: 7, scale: 0.2,
      mask: .truth(55, 270), dropout: 0.1, isSmall: false),
    AttentionSample(
      "wide heads", q: [1, 50, 1, 130], k: [1, 70, 1, 130], width: 200, scale: 0.05, isSmall: false),
    AttentionSample("no keys", q: [1, 3, 2, 4], k: [1, 0, 2, 4]),
    AttentionSample("no queries", q: [1, 0, 2, 4], k: [1, 3, 2, 4]),
    AttentionSample("no batch", q: [0, 3, 2, 4], k: [0, 3, 2, 4], isCausal: true),
  ]
}

/// Attention of q (B, T, H, D) to k (B, S, K, D) and v (B, S, K, width).
private struct AttentionSample {
  let label: String
  let q: Shape, k: Shape, v: Shape
  let scale: Double
  let isCausal: Bool
  let mask: Sample?
  let dropout: AttentionDropout?
  /// Whether difference quotients take little time.
  let isSmall: Bool

  init(
    _ label: String, q: Shape, k: Shape, width: Int? = nil, scale: Double = 0.6,
    isCausal: Bool = false, mask: Sample? = nil,
    dropout: Double = 0, isSmall: Bool = true
  ) {
    (self.label, self.q, self.k) = (label, q, k)
    v = Shape(k.dimensions.dropLast() + [width ?? k[3]])
    (self.isCausal, self.mask, self.isSmall) = (isCausal, mask, isSmall)
    self.scale = scale
    self.dropout = dropout > 0 ? AttentionDropout(probability: dropout, stream: 3) : nil
  }

  /// The op, its gradient with independent operands, and the function, whose gradient is the gradient op.
  var cases: [OpCase] {
    let operands = [Sample(q, .normal), Sample(k, .normal), Sample(v, .normal)]
    let key = dropout.map { _ in Sample([2], .int32, .exact([5, 9])) }
    let rest = [key, mask].compactMap { $0 }, isCausal = isCausal, dropout = dropout, scale = scale
    let y = Sample([q[0], q[1], q[2], v[3]], .normal)
    let logSum = Sample([q[0], q[2], q[1]], .float32, .uniform(2, 3))
    let traits: OpCase.Traits = isSmall ? .all : []
    @Sendable func attention(_ x: [Tensor]) -> Tensor {
      guard dropout == nil else {
        return apply(ScaledDotProductAttention(scale: scale, isCausal: isCausal, dropout: dropout), x)[0]
      }
      let heads = x[..<3].map { $0.swappingAxes(1, 2) }
      return KalsaeTensors.attention(
        heads[0], heads[1], heads[2], mask: x.count > 3 ? x[3] : nil, isCausal: isCausal)
    }
    // To attend to one key is to copy its value: derivatives by scores are 0, and all that is left is rounding.
    let hasScores = k[1] != 1
    return [
      OpCase(
        ScaledDotProductAttention(scale: scale, isCausal: isCausal, dropout: dropout), label, operands + rest,
        traits),
      OpCase(
        AttentionGradient(scale: scale, isCausal: isCausal, dropout: dropout), label,
        [y] + operands + [y, logSum] + rest, traits),
      isSmall
        ? OpCase(
          function: "attention, " + label, operands + rest, hasScores ? [.differentiable, .repeatable] : []
        ) { [attention($0)] }
        : OpCase(function: "gradient of attention, " + label, operands + rest, []) {
          let leaves = $0.map { Tensor(Identity(), $0) }
          let y = attention(leaves)
          let variables = leaves.filter { $0.dtype.isFloatingPoint }
          return vectorJacobianProduct(of: [y], [y * 0.5 + 1], withRespectTo: variables)
        },
    ]
  }
}
