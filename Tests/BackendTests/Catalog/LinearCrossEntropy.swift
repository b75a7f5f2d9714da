import KalsaeTensors

extension OpCatalog {
  static let linearCrossEntropies: [OpCase] = variants + sizes + functions

  /// Smoothing, ignored labels and a bias, in all combinations.
  private static let variants: [OpCase] = [(0.0, nil), (0.1, nil), (0, 3), (0.2, -100)].flatMap {
    (smoothing: Double, ignored: Int?) -> [OpCase] in
    [false, true].flatMap { hasBias in
      let label =
        "smoothing \(smoothing), ignoring \(ignored.map(String.init) ?? "nothing")"
        + (hasBias ? ", bias" : "")
      return cases(
        LinearCrossEntropy(labelSmoothing: smoothing, ignoredLabel: ignored), label,
        x: .normal(5, 4), weight: .normal(7, 4),
        labels: .exact([3, 0, 6, 3, Double(ignored ?? 2)], .int32), bias: hasBias ? .normal(7) : nil)
    }
  }

  /// One class, one row, all ignored, operands of two types, and more rows than a block holds.
  private static let sizes: [OpCase] =
    cases(
      LinearCrossEntropy(), "one class", x: .normal(3, 2), weight: .normal(1, 2), labels: .integers(0..<1, 3))
    + cases(
      LinearCrossEntropy(ignoredLabel: 1), "all ignored", x: .normal(2, 3), weight: .normal(4, 3),
      labels: .exact([1, 1], .int32), bias: .normal(4))
    + cases(
      LinearCrossEntropy(precision: .bfloat16), "in bfloat16", x: .normal(6, 5),
      weight: .normal(9, 5).of(.float32),
      labels: .integers(0..<9, 6), bias: .normal(9).of(.float32), dtypes: [.bfloat16])
    + cases(
      LinearCrossEntropy(precision: .float32), "in float32", x: .normal(6, 5),
      weight: .normal(9, 5).of(.float32),
      labels: .integers(0..<9, 6))
    + cases(
      LinearCrossEntropy(ignoredLabel: 2), "several blocks, rows ignored", x: .normal(1000, 3),
      weight: .normal(33, 3).of(.float32), labels: .integers(0..<5, 1000), bias: .normal(33).of(.float32), [],
      dtypes: [.float32])
    + cases(
      LinearCrossEntropy(labelSmoothing: 0.1, ignoredLabel: -1, precision: .bfloat16),
      "several blocks in bfloat16",
      x: .normal(700, 3), weight: .normal(2100, 3).of(.float32), labels: .integers(-1..<2100, 700),
      bias: .normal(2100).of(.float32), [],
      dtypes: [.bfloat16])

  private static let functions: [OpCase] = [
    OpCase(
      function: "linearCrossEntropy", [.normal(2, 3, 4), .normal(6, 4), .normal(6), .integers(0..<6, 2, 3)]
    ) {
      [
        linearCrossEntropy($0[0], weight: $0[1], bias: $0[2], labels: $0[3], ignoredLabel: 2),
        KalsaeTensors.linearCrossEntropies($0[0], weight: $0[1], labels: $0[3], labelSmoothing: 0.1),
      ]
    },
    OpCase(
      function: "linearCrossEntropy and logits of a shared weight",
      [.normal(5, 4), .normal(6, 4), .integers(0..<6, 5)]
    ) { x in
      let loss = linearCrossEntropy(x[0], weight: x[1], labels: x[2])
      return [loss, loss * x[0].sum().cast(to: .float32), square(matmul(x[0], x[1].mT)).mean()]
    },
  ]

  /// The op and its gradient on the same samples.
  private static func cases(
    _ op: LinearCrossEntropy, _ label: String, x: Sample, weight: Sample, labels: Sample, bias: Sample? = nil,
    _ traits: OpCase.Traits = .all, dtypes: [DType] = [.float32, .bfloat16]
  ) -> [OpCase] {
    let bias = bias.map { [$0] } ?? []
    let dy = Sample([labels.shape[0]], .float32, .normal)
    return [
      OpCase(op, label, [x, weight, labels] + bias, traits, dtypes: dtypes),
      OpCase(
        LinearCrossEntropyGradient(of: op), label, [x, weight, labels, dy] + bias, traits, dtypes: dtypes),
    ]
  }
}
