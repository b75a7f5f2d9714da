import KalsaeTensors

extension OpCatalog {
  static let pooling: [OpCase] =
    [
      pool(.average, [2, 6, 4, 3], window: 2, stride: 2),
      pool(.average, [1, 7, 5, 3], window: 3, stride: 2, padding: 1),
      pool(.average, [1, 7, 5, 3], window: 3, stride: 2, padding: 1, countsPadding: false),
      pool(.average, [1, 5, 5, 2], window: 3, stride: 1), pool(.average, [0, 4, 4, 2], window: 2, stride: 2),
      pool(.maximum, [2, 6, 4, 3], window: 2, stride: 2),
      pool(.maximum, [1, 7, 5, 3], window: 3, stride: 2, padding: 1),
      pool(.maximum, [1, 5, 5, 2], window: 3, stride: 1), pool(.maximum, [0, 4, 4, 2], window: 2, stride: 2),
      gradient(.average, [2, 6, 4, 3], to: [2, 3, 2, 3], window: 2, stride: 2),
      gradient(.average, [1, 7, 5, 3], to: [1, 4, 3, 3], window: 3, stride: 2, padding: 1),
      gradient(
        .average, [1, 7, 5, 3], to: [1, 4, 3, 3], window: 3, stride: 2, padding: 1, countsPadding: false),
      gradient(.maximum, [2, 6, 4, 3], to: [2, 3, 2, 3], window: 2, stride: 2),
      gradient(.maximum, [1, 7, 5, 3], to: [1, 4, 3, 3], window: 3, stride: 2, padding: 1),
      gradient(.maximum, [1, 7, 5, 70], to: [1, 4, 3, 70], window: 3, stride: 2, padding: 1, []),
      gradient(.maximum, [1, 5, 5, 2], to: [1, 3, 3, 2], window: 3, stride: 1),
      gradient(.maximum, [0, 4, 4, 2], to: [0, 2, 2, 2], window: 2, stride: 2),
      // Of equal numbers the first one takes the gradient, on every backend.
      gradient(
        .maximum, [2, 7, 5, 3], to: [2, 4, 3, 3], window: 3, stride: 2, padding: 1, x: .integers(0..<2), []),
    ] + functions

  private static func pool(
    _ kind: Pool.Kind, _ shape: Shape, window: Int, stride: Int, padding: Int = 0, countsPadding: Bool = true
  ) -> OpCase {
    let op = Pool(kind: kind, window: window, stride: stride, padding: padding, countsPadding: countsPadding)
    let label =
      "\(kind) of \(shape), \(window) by \(stride), padding \(padding)\(countsPadding ? "" : " uncounted")"
    return OpCase(op, label, [Sample(shape, kind == .maximum ? .distinct : .normal)])
  }

  private static func gradient(
    _ kind: Pool.Kind, _ shape: Shape, to output: Shape, window: Int, stride: Int, padding: Int = 0,
    countsPadding: Bool = true, x: Sample.Values = .distinct, _ traits: OpCase.Traits = .all
  ) -> OpCase {
    let pool = Pool(
      kind: kind, window: window, stride: stride, padding: padding, countsPadding: countsPadding)
    let op = PoolGradient(pool, rows: shape[1], columns: shape[2])
    let label =
      "\(kind) of \(shape), \(window) by \(stride), padding \(padding)\(countsPadding ? "" : " uncounted")"
      + (kind == .maximum ? ", \(x)" : "")
    let samples = [Sample(output, .normal)] + (kind == .maximum ? [Sample(shape, x)] : [])
    return OpCase(op, label, samples, traits)
  }

  private static let functions: [OpCase] = [
    OpCase(function: "averagePool2d", [.normal(1, 4, 4, 2)]) { [averagePool2d($0[0], window: 2)] },
    OpCase(function: "maxPool2d", [.distinct(1, 4, 4, 2)]) { [maxPool2d($0[0], window: 2)] },
    OpCase(function: "adaptiveAveragePool2d", [.normal(2, 7, 5, 3)]) {
      [adaptiveAveragePool2d($0[0], rows: 3, columns: 2), adaptiveAveragePool2d($0[0], rows: 1, columns: 1)]
    },
    OpCase(function: "adaptiveMaxPool2d", [.distinct(2, 7, 5, 2)]) {
      [adaptiveMaxPool2d($0[0], rows: 3, columns: 2), adaptiveMaxPool2d($0[0], rows: 1, columns: 7)]
    },
    OpCase(function: "upsampleNearest2d", [.normal(2, 3, 2, 5)]) { [upsampleNearest2d($0[0], factor: 2)] },
    OpCase(function: "resizeNearest2d", [.normal(1, 5, 7, 3)]) {
      [resizeNearest2d($0[0], rows: 8, columns: 3), resizeNearest2d($0[0], rows: 10, columns: 14)]
    },
    OpCase(function: "resizeBilinear2d", [.normal(1, 5, 7, 3)]) {
      [resizeBilinear2d($0[0], rows: 8, columns: 3), resizeBilinear2d($0[0], rows: 10, columns: 14)]
    },
    OpCase(function: "resizeBilinear2d by corners", [.normal(1, 5, 7, 2)]) {
      [
        resizeBilinear2d($0[0], rows: 9, columns: 4, alignsCorners: true),
        resizeBilinear2d($0[0], rows: 1, columns: 13, alignsCorners: true),
      ]
    },
  ]
}
