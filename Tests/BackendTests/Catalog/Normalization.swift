import KalsaeTensors

extension OpCatalog {
  static let normalization: [OpCase] = group + rows + batch

  private static let group: [OpCase] = [nil, Activation.Kind.silu, .gelu, .geluTanh].flatMap { activation in
    let suffix = activation.map { " and \($0)" } ?? ""
    let shapes: [(Shape, Int)] = [
      ([2, 3, 3, 6], 3), ([2, 5, 4], 2), ([1, 2, 2, 5], 5), ([3, 1, 5, 4], 1), ([2, 6], 2),
      ([0, 2, 2, 4], 2),
    ]
    return shapes.flatMap { shape, groups -> [OpCase] in
      let c = shape[-1], statistics: Shape = [shape[0], groups]
      let inputBias = Sample([shape[0], c], .uniform(-0.3, 0.3))
      let plain = [
        OpCase(
          GroupNormalization(groups: groups, epsilon: 1e-5, activation: activation),
          "\(shape) in \(groups)\(suffix)",
          [Sample(shape, .normal), .normal(c), .normal(c)]),
        OpCase(
          GroupNormGradient(groups: groups, activation: activation), "\(shape) in \(groups)\(suffix)",
          [
            Sample(shape, .normal), Sample(shape, .normal), Sample(statistics, .float32, .normal),
            Sample(statistics, .float32, .uniform(0.3, 2)), .normal(c), .normal(c),
          ]),
      ]
      // Other activations are decomposed, with these operands as without.
      guard activation == nil || activation == .silu else { return plain }
      return plain + [
        OpCase(
          GroupNormalization(groups: groups, epsilon: 1e-5, activation: activation, hasInputBias: true),
          "\(shape) in \(groups) with input bias\(suffix)",
          [Sample(shape, .normal), .normal(c), .normal(c), inputBias]),
        OpCase(
          GroupNormGradient(groups: groups, activation: activation, hasInputBias: true, hasResidual: true),
          "\(shape) in \(groups) with input bias and residual\(suffix)",
          [
            Sample(shape, .normal), Sample(shape, .normal), Sample(statistics, .float32, .normal),
            Sample(statistics, .float32, .uniform(0.3, 2)), .normal(c), .normal(c), inputBias,
            Sample(shape, .normal),
          ]),
      ]
    }
  }

  private static let rows: [OpCase] = [[5, 7], [2, 3, 33], [9], [1, 1], [0, 5]].flatMap {
    (shape: Shape) -> [OpCase] in
    let c = shape[-1], statistics = Shape(shape.dimensions.dropLast())
    // One element is its own norm: near zero its derivatives are too large for difference quotients.
    let x = Sample(shape, shape.count == 1 ? .awayFromZero : .normal)
    let mean = Sample(statistics, .float32, .normal), rstd = Sample(statistics, .float32, .uniform(0.3, 2))
    return [
      OpCase(
        LayerNormalization(epsilon: 1e-3), "\(shape)", [x, .normal(c), .normal(c)]),
      OpCase(
        LayerNormGradient(), "\(shape)",
        [Sample(shape, .normal), Sample(shape, .normal), mean, rstd, .normal(c)]),
      OpCase(
        LayerNormalization(epsilon: 1e-3, result: .bfloat16, isAlsoRounded: false), "rounded, \(shape)",
        [x, .normal(c), .normal(c)], []),
      OpCase(
        LayerNormalization(epsilon: 1e-3, result: nil, isAlsoRounded: true), "also rounded, \(shape)",
        [x, .normal(c), .normal(c)], []),
      OpCase(
        LayerNormalization(epsilon: 1e-3, result: nil, hasResidual: true), "with residual, \(shape)",
        [x, .normal(c), .normal(c), Sample(shape, .normal)], []),
      OpCase(
        LayerNormalization(
          epsilon: 1e-3, result: .bfloat16, isAlsoRounded: false, hasResidual: true, storesSum: true),
        "with residual and sum, \(shape)", [x, .normal(c), .normal(c), Sample(shape, .normal)], []),
      OpCase(
        LayerNormalization(
          epsilon: 1e-3, result: nil, isAlsoRounded: true, hasResidual: true, storesSum: true),
        "with residual, also rounded, and sum, \(shape)",
        [x, .normal(c), .normal(c), Sample(shape, .normal)], []),
      OpCase(
        LayerNormalization(
          epsilon: 1e-3, result: nil, isAlsoRounded: true, hasResidual: true, storesSum: true),
        "with a wider residual and sum, \(shape)",
        [
          Sample(shape, .bfloat16, .normal), .normal(c), .normal(c), Sample(shape, .float32, .normal),
        ], []),
      OpCase(
        LayerNormGradient(hasResidual: true, isAlsoRounded: true), "with residual, \(shape)",
        [Sample(shape, .normal), Sample(shape, .normal), mean, rstd, .normal(c), Sample(shape, .normal)], []),
      OpCase(RMSNormalization(epsilon: 1e-3), "\(shape)", [x, .normal(c)]),
      OpCase(
        RMSNormGradient(), "\(shape)", [Sample(shape, .normal), Sample(shape, .normal), rstd, .normal(c)]),
    ]
  }

  private static let batch: [OpCase] = [
    OpCase(function: "groupNorm without parameters", [.normal(2, 3, 3, 4)]) {
      [groupNorm($0[0], groups: 2, weight: nil, bias: nil)]
    },
    OpCase(function: "groupNorm then silu", [.normal(2, 3, 3, 4), .normal(4), .normal(4)]) {
      [silu(groupNorm($0[0], groups: 2, weight: $0[1], bias: $0[2]))]
    },
    OpCase(function: "layerNorm", [.normal(2, 3, 5), .normal(5), .normal(5)]) {
      [layerNorm($0[0], weight: $0[1], bias: $0[2])]
    },
    OpCase(function: "rmsNorm", [.normal(2, 3, 5), .normal(5)]) { [rmsNorm($0[0], weight: $0[1])] },
    OpCase(function: "batchNorm", [.normal(3, 2, 2, 5), .normal(5), .normal(5)]) {
      let (y, mean, variance) = batchNorm($0[0], weight: $0[1], bias: $0[2])
      return [y, mean, variance]
    },
    OpCase(
      function: "batchNorm with given statistics",
      [.normal(3, 2, 2, 5), .normal(5).of(.float32), .positive(5).of(.float32), .normal(5), .normal(5)],
      [.differentiable, .smooth]
    ) { [batchNorm($0[0], mean: $0[1], variance: $0[2], weight: $0[3], bias: $0[4])] },
  ]
}
