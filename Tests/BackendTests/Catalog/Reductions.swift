import KalsaeTensors

extension OpCatalog {
  static let reductions: [OpCase] =
    Reduce.Kind.allCases.flatMap { kind -> [OpCase] in
      let values: Sample.Values =
        switch kind {
        case .sum: .normal
        case .product: .uniform(-1.3, 1.3)
        case .maximum, .minimum: .distinct
        }
      let shapes: [(Shape, [Int])] = [
        ([7], [0]), ([3, 5], [0]), ([3, 5], [1]), ([2, 3, 4], [1]), ([2, 3, 4], [0, 2]),
        ([2, 2, 5, 3], [1, 2]),
        ([3, 4], [0, 1]), ([0, 3], [1]), ([1, 3, 1], [0, 2]),
      ]
      return shapes.map { shape, axes in
        OpCase(Reduce(kind: kind, axes: axes), "\(kind) of \(shape) over \(axes)", [Sample(shape, values)])
      } + [OpCase(Reduce(kind: kind, axes: [1]), "\(kind) of int32", [.integers(-4..<5, 3, 7)])]
    }
    + [
      OpCase(Reduce(kind: .sum, axes: [0]), "sum over nothing", [.normal(0, 3)]),
      OpCase(Reduce(kind: .product, axes: [0]), "product over nothing", [.normal(0, 3)]),
      OpCase(Reduce(kind: .sum, axes: [1]), "sum of long rows", [.normal(3, 1337)]),
      OpCase(Reduce(kind: .sum, axes: [0]), "sum of long columns", [.normal(1337, 3)]),
      OpCase(
        Reduce(kind: .product, axes: [0, 1]), "product with one zero",
        [
          Sample([2, 3], .exact([1, 2, 0, -1, 0.5, 3]))
        ]),
      OpCase(Reduce(kind: .product, axes: [0]), "product with two zeros", [.exact([1.5, 0, 2, 0, -1])]),
      OpCase(
        Reduce(kind: .maximum, axes: [0]), "maximum with NaN", [.exact([1, .nan, 3])], [], dtypes: [.float32]),
      OpCase(
        Reduce(kind: .minimum, axes: [0]), "minimum of infinities", [.exact([.infinity, .infinity])], [],
        dtypes: [.float32]),
    ]
    + ArgReduce.Kind.allCases.flatMap { kind in
      [
        OpCase(ArgReduce(kind: kind, axis: 0), "\(kind) first axis", [.distinct(5, 3)]),
        OpCase(ArgReduce(kind: kind, axis: 1), "\(kind) middle axis", [.distinct(2, 7, 3)]),
        OpCase(ArgReduce(kind: kind, axis: 1), "\(kind) of int32", [.integers(0..<4, 3, 9)]),
        OpCase(ArgReduce(kind: kind, axis: 0), "\(kind) with ties", [.exact([2, 1, 3, 1, 3])]),
        OpCase(ArgReduce(kind: kind, axis: 0), "\(kind) with NaN", [.exact([2, .nan, 3, .nan])], []),
        OpCase(ArgReduce(kind: kind, axis: 1), "\(kind) empty", [.normal(0, 3)]),
      ]
    }
    + [false, true].flatMap { exclusive in
      [false, true].flatMap { reverse in
        [
          OpCase(
            CumulativeSum(axis: 1, exclusive: exclusive, reverse: reverse),
            "exclusive \(exclusive), reverse \(reverse)", [.normal(3, 7)]),
          OpCase(
            CumulativeSum(axis: 0, exclusive: exclusive, reverse: reverse),
            "first axis, exclusive \(exclusive), reverse \(reverse)", [.normal(4, 2, 3)]),
        ]
      }
    }
    + [
      OpCase(CumulativeSum(axis: 0, exclusive: false, reverse: false), "empty", [.normal(0, 3)]),
      OpCase(
        CumulativeSum(axis: 0, exclusive: true, reverse: true), "of int32", [.integers(-4..<5, 7)]),
      OpCase(function: "mean and variance", [.normal(3, 4, 5)]) {
        [$0[0].mean([0, 2]), $0[0].variance([1], keepingAxes: true), $0[0].mean(), $0[0].variance()]
      },
    ]
}
