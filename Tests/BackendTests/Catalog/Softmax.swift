import KalsaeTensors

extension OpCatalog {
  static let softmax: [OpCase] = rows + crossEntropies + attentions

  private static let rows: [OpCase] =
    [[7], [3, 5], [2, 3, 33], [4, 1], [0, 5], [3, 0]].flatMap {
      (shape: Shape) -> [OpCase] in
      [
        OpCase(Softmax(), "\(shape)", [Sample(shape, .normal)]),
        OpCase(SoftmaxGradient(), "\(shape)", [Sample(shape, .uniform(0, 1)), Sample(shape, .normal)]),
        OpCase(LogSoftmax(), "\(shape)", [Sample(shape, .normal)]),
        OpCase(LogSoftmaxGradient(), "\(shape)", [Sample(shape, .uniform(-3, 0)), Sample(shape, .normal)]),
      ]
    } + [
      OpCase(Softmax(), "of large numbers", [.exact([1000, 1001, 999, -1000])], dtypes: [.float32]),
      OpCase(LogSoftmax(), "of large numbers", [.exact([1000, 1001, 999, -1000])], dtypes: [.float32]),
      OpCase(Softmax(), "with -infinity", [.exact([1, -.infinity, 2])], []),
      OpCase(function: "softmax of the middle axis", [.normal(2, 5, 3)]) { x in
        [KalsaeTensors.softmax(x[0], axis: 1), logSoftmax(x[0], axis: 0)]
      },
    ]

  private static let crossEntropies: [OpCase] =
    [(0.0, nil), (0.1, nil), (0, 3), (0.2, -100)].flatMap {
      (smoothing: Double, ignored: Int?) -> [OpCase] in
      let label = "smoothing \(smoothing), ignoring \(ignored.map(String.init) ?? "nothing")"
      let labels = Sample.exact([3, 0, 6, 3, Double(ignored ?? 2)], .int32)
      let entropy = CrossEntropy(labelSmoothing: smoothing, ignoredLabel: ignored)
      let gradient = CrossEntropyGradient(labelSmoothing: smoothing, ignoredLabel: ignored)
      return [
        OpCase(entropy, label, [.normal(5, 7), labels]),
        OpCase(entropy, label + ", no rows", [.normal(0, 7), .integers(0..<7, 0)]),
        OpCase(gradient, label, [.normal(5, 7), labels, .normal(5).of(.float32)]),
        OpCase(function: "crossEntropy, " + label, [.normal(5, 7), labels]) {
          [crossEntropy($0[0], $0[1], labelSmoothing: smoothing, ignoredLabel: ignored)]
        },
      ]
    } + [
      OpCase(function: "crossEntropy of two axes", [.normal(2, 3, 5), .integers(0..<5, 2, 3)]) {
        [crossEntropy($0[0], $0[1])]
      },
      OpCase(function: "crossEntropy, all ignored", [.normal(2, 5), .exact([3, 3], .int32)]) {
        [crossEntropy($0[0], $0[1], ignoredLabel: 3)]
      },
    ]

  private static let attentions: [OpCase] = [
    attention("plain", q: [2, 3, 5, 4], k: [2, 3, 5, 4]),
    attention("cross", q: [2, 1, 7, 3], k: [2, 1, 3, 3], width: 5),
    attention("one position", q: [1, 2, 1, 8], k: [1, 2, 1, 8]),
    attention("causal", q: [1, 2, 5, 4], k: [1, 2, 5, 4], isCausal: true),
    attention("causal with a past", q: [1, 2, 2, 4], k: [1, 2, 5, 4], isCausal: true),
    attention("causal, more queries than keys", q: [1, 1, 4, 3], k: [1, 1, 2, 3], isCausal: true),
    attention("bool mask", q: [2, 3, 5, 4], k: [2, 3, 7, 4], mask: .truth(2, 1, 5, 7)),
    attention("bool mask and causal", q: [1, 2, 4, 4], k: [1, 2, 4, 4], isCausal: true, mask: .truth(4, 4)),
    attention(
      "nothing to attend to", q: [1, 1, 3, 4], k: [1, 1, 2, 4],
      mask: Sample([3, 2], .bool, .exact([1, 0, 0, 0, 1, 1]))),
    attention("added mask", q: [2, 3, 5, 4], k: [2, 3, 7, 4], mask: .normal(2, 1, 5, 7).of(.float32)),
    attention("no keys", q: [1, 2, 3, 4], k: [1, 2, 0, 4]),
    attention("no queries", q: [1, 2, 0, 4], k: [1, 2, 3, 4]),
    OpCase(function: "attention", [.normal(1, 2, 4, 3), .normal(1, 2, 5, 3), .normal(1, 2, 5, 3)]) {
      [KalsaeTensors.attention($0[0], $0[1], $0[2])]
    },
  ]

  private static func attention(
    _ label: String, q: Shape, k: Shape, width: Int? = nil, isCausal: Bool = false, mask: Sample? = nil
  ) -> OpCase {
    let v = Shape(k.dimensions.dropLast() + [width ?? k[3]])
    let operands = [Sample(q, .normal), Sample(k, .normal), Sample(v, .normal)]
    return OpCase(
      ScaledDotProductAttention(scale: 0.6, isCausal: isCausal), label, operands + (mask.map { [$0] } ?? []))
  }
}
