import KalsaeTensors

extension OpCatalog {
  static let softmax: [OpCase] = rows + crossEntropies

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
}
