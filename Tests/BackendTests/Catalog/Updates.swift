import KalsaeTensors

extension OpCatalog {
  /// Optimizer steps work on float32 only.
  static let updates: [OpCase] =
    [
      OpCase(SumOfSquares(), "of one", [.normal(7)]),
      OpCase(SumOfSquares(), "of three", [.normal(3, 5), .normal(2), .normal(0, 4)]),
      OpCase(SumOfSquares(), "of mixed types", [.normal(3, 5), .normal(2).of(.float32)]),
    ]
    + [true, false].flatMap { update -> [OpCase] in
      let word = update ? "taken" : "skipped"
      let lists: [Sample] = [.normal(3, 5), .normal(7)]
      let positive: [Sample] = [.positive(3, 5), .positive(7)]
      let flag = Sample.scalar(update ? 1 : 0, .bool)
      let adam = [0.01, 0.9, 0.999, 1e-8, 0.1, 0.6, 0.3, 0.7].map { Sample.scalar($0) } + [flag]
      let sgd = [0.1, 0.9, 0.05, 0.7].map { Sample.scalar($0) } + [flag]
      func inputs(_ samples: [Sample]) -> [Sample] { samples.map { $0.dtype == nil ? $0.of(.float32) : $0 } }
      return [false, true].flatMap { option in
        [
          OpCase(
            AdamUpdate(count: 2, isDecoupled: option), "\(word), decoupled \(option)",
            inputs(adam + lists + lists + lists + positive), [.differentiable, .smooth]),
          OpCase(
            SGDUpdate(count: 2, isNesterov: option), "\(word), Nesterov \(option)",
            inputs(sgd + lists + lists + lists), [.differentiable, .smooth]),
        ]
      } + [
        OpCase(AverageUpdate(count: 2), word, inputs([.scalar(0.99), flag] + lists + lists))
      ]
    }
}
