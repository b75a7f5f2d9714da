import KalsaeTensors

extension OpCatalog {
  static let elementwise: [OpCase] = unary + unaryEdges + binary + integerBinary + others

  private static let unary: [OpCase] = Unary.Kind.allCases.flatMap { kind -> [OpCase] in
    let values: Sample.Values
    var traits = OpCase.Traits.all
    switch kind {
    case .log, .squareRoot, .reciprocalSquareRoot: values = .uniform(0.3, 2)
    case .log1p: values = .uniform(-0.6, 2)
    case .absolute, .sign, .relu, .reciprocal: values = .awayFromZero
    case .floor, .ceil, .round: values = .awayFromIntegers
    case .not:
      return [OpCase(Unary(kind), "of truth values", [.truth(3, 5)])]
    case .isFinite:
      values = .normal
      traits = []
    default: values = .normal
    }
    return [[7], [3, 1, 129], [4, 0, 3], []].map { (shape: Shape) in
      OpCase(Unary(kind), "\(kind) \(shape)", [Sample(shape, values)], traits)
    }
  }

  /// The ends of the number line, element by element.
  private static let unaryEdges: [OpCase] =
    Unary.Kind.allCases.compactMap { kind in
      var values: [Double] = [0, -0.0, 1, -1, 0.5, -0.5, 1e-4, -1e-4, 20, -20, .infinity, -.infinity, .nan]
      switch kind {
      case .not: return nil
      case .exp, .expm1, .sigmoid, .tanh: values += [85, -85, 100, -100]
      case .round, .floor, .ceil: values += [1.5, 2.5, -1.5, -2.5, 8_388_609, -8_388_609]
      case .log, .log1p, .squareRoot, .reciprocalSquareRoot: values += [1e-20, 1e20, 3e38]
      default: break
      }
      return OpCase(
        Unary(kind), "\(kind) at the edges", [.exact(values)], [], dtypes: [.float32], isElementwise: true)
    }
    + [Unary.Kind.negate, .absolute, .sign, .square, .relu].map {
      OpCase(Unary($0), "\($0) of int32", [.integers(-9..<10, 3, 11)])
    }

  private static let binary: [OpCase] = Binary.Kind.allCases.flatMap { kind -> [OpCase] in
    var a = Sample.Values.normal, b = Sample.Values.normal
    var traits = OpCase.Traits.all
    switch kind {
    case .and, .or, .xor:
      return [
        OpCase(Binary(kind), "\(kind)", [.truth(3, 5), .truth(3, 5)]),
        OpCase(Binary(kind), "\(kind) broadcast", [.truth(3, 1, 5), .truth(4, 1)]),
      ]
    case .divide: b = .awayFromZero
    case .power:
      a = .uniform(0.3, 2)
      traits.remove(.repeatable)
    case .remainder:
      (a, b) = (.uniform(0.55, 0.95), .uniform(0.3, 0.5))  // a / b stays between 1.1 and 3.2
      traits = .repeatable
    case .maximum, .minimum:
      // Multiples of 0.5 against multiples of 0.5 plus 0.25: never equal.
      return [[[2, 7], [2, 7]], [[3, 1, 5], [4, 1]], [[], [3]], [[0, 3], [1, 3]]].map { (shapes: [Shape]) in
        OpCase(
          Binary(kind), "\(kind) \(shapes[0]) and \(shapes[1])",
          [
            Sample(shapes[0], .exact((0..<shapes[0].count).map { 0.5 * Double(($0 * 7) % 11) })),
            Sample(shapes[1], .exact((0..<shapes[1].count).map { 0.5 * Double(($0 * 5) % 9) + 0.25 })),
          ])
      } + [OpCase(Binary(kind), "\(kind) of infinities and NaN", edges, [], isElementwise: true)]
    case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual:
      (a, b) = (.integers(0..<3), .integers(0..<3))
      traits = []
    default: break
    }
    let shapes: [[Shape]] = [
      [[2, 7], [2, 7]], [[3, 1, 5], [4, 1]], [[], [3]], [[5, 3], [3]], [[5, 3], [5, 1]], [[0, 3], [1, 3]],
      [[], []],
    ]
    return shapes.map {
      OpCase(Binary(kind), "\(kind) \($0[0]) and \($0[1])", [Sample($0[0], a), Sample($0[1], b)], traits)
    }
  }

  private static let edges: [Sample] = [
    .exact([.infinity, -.infinity, .nan, 1, .infinity, -.infinity, 0]),
    .exact([.infinity, -.infinity, 1, .nan, 2, -2, 0]),
  ]

  private static let integerBinary: [OpCase] =
    [
      Binary.Kind.add, .subtract, .multiply, .divide, .maximum, .minimum, .remainder, .equal, .less,
      .greaterOrEqual,
    ].flatMap { kind in
      [
        OpCase(Binary(kind), "\(kind) of int32", [.integers(-9..<10, 5, 13), .integers(-3..<4, 5, 13)]),
        OpCase(
          Binary(kind), "\(kind) of int64",
          [.integers(-9..<10, 7, dtype: .int64), .integers(1..<4, dtype: .int64)]),
      ]
    }

  private static let others: [OpCase] =
    [
      OpCase(Select(), "", [.truth(3, 5), .normal(3, 5), .normal(3, 5)]),
      OpCase(Select(), "broadcast", [.truth(4, 1, 3), .normal(2, 1), .normal(3)]),
      OpCase(GatedScale(scale: 1.5), "", [.normal(3, 5), .awayFromZero(3, 5)]),
      OpCase(GatedScale(scale: 1), "broadcast", [.normal(3, 1), .awayFromZero(2, 1, 5)]),
      OpCase(Select(), "scalars", [.truth(3), .normal(), .normal()]),
      OpCase(Select(), "of int32", [.truth(3, 5), .integers(-9..<10, 3, 5), .integers(-9..<10, 5)]),
      OpCase(Select(), "empty", [.truth(0, 5), .normal(0, 5), .normal(5)]),
    ]
    + [DType.float32, .bfloat16, .float16].map {
      OpCase(Cast($0), "to \($0)", [.normal(3, 17)], dtypes: [.float32, .bfloat16, .float16])
    }
    + [DType.int32, .int64, .uint8, .bool].flatMap {
      [
        OpCase(Cast($0), "to \($0)", [.uniform($0 == .uint8 ? 0 : -90, 90, 3, 17)], []),
        OpCase(Cast($0), "int32 to \($0)", [.integers(0..<200, 3, 7)]),
        OpCase(Cast(.float32), "\($0) to float32", [.integers(0..<2, 3, 7, dtype: $0)]),
      ]
    } + activations + dropouts

  private static let dropouts: [OpCase] = [[], [7], [3, 1, 129], [2, 70, 31], [0, 4]].map { (shape: Shape) in
    OpCase(
      RandomDropout(probability: 0.3, stream: 9), "\(shape)",
      [Sample(shape, .normal), .exact([-7, 1234], .int32)])
  }

  private static let activations: [OpCase] = Activation.Kind.allCases.flatMap { kind in
    [
      OpCase(Activation(kind), "\(kind)", [.normal(3, 37)]),
      OpCase(Activation(kind), "\(kind), empty", [.normal(3, 0)]),
      OpCase(
        Activation(kind), "\(kind) far from zero", [.exact([-30, -12, -6, -1e-4, 0, 1e-4, 6, 12, 30])],
        dtypes: [.float32]),
      OpCase(ActivationGradient(kind), "\(kind)", [.normal(3, 37), .normal(3, 37)]),
      OpCase(ActivationGradient(kind), "\(kind) broadcast", [.normal(3, 1, 5), .normal(4, 1)]),
    ]
  }
}
