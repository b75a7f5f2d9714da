import KalsaeTensors

extension OpCatalog {
  static let products: [OpCase] = matrices + convolutions

  private static let matrices: [OpCase] =
    [
      ([1, 1], [1, 1]), ([2, 3], [3, 4]), ([7, 5], [5, 3]), ([1, 9], [9, 1]), ([33, 17], [17, 9]),
      ([2, 3, 5], [2, 5, 4]), ([2, 1, 3, 5], [4, 5, 2]), ([3, 5], [2, 5, 4]), ([2, 3, 5], [5, 4]),
      ([0, 3], [3, 4]), ([2, 0], [0, 4]), ([0, 2, 3], [3, 4]), ([2, 3], [3, 0]),
    ].map { (a: Shape, b: Shape) in
      OpCase(MatMul(), "\(a) x \(b)", [Sample(a, .normal), Sample(b, .normal)])
    } + [
      OpCase(MatMul(result: .float32), "in float32", [.normal(5, 7), .normal(7, 3)]),
      OpCase(function: "matmul of rows", [.normal(2, 3, 5), .normal(5, 4)]) { [matmul($0[0], $0[1])] },
      OpCase(function: "matmul transposed", [.normal(2, 3, 5), .normal(2, 4, 5)]) {
        [matmul($0[0], $0[1].mT)]
      },
      OpCase(function: "matmul of no rows", [.normal(2, 3, 0), .normal(0, 4)]) { [matmul($0[0], $0[1])] },
    ]

  private struct Case {
    let label: String, x: Shape, kernel: Shape, geometry: ConvolutionGeometry
    init(
      _ label: String, _ x: Shape, _ kernel: Shape, stride: [Int] = [1, 1],
      padding: (top: Int, bottom: Int, left: Int, right: Int) = (0, 0, 0, 0), dilation: [Int] = [1, 1],
      groups: Int = 1
    ) {
      self.label = label
      self.x = x
      self.kernel = kernel
      geometry = ConvolutionGeometry(stride: stride, padding: padding, dilation: dilation, groups: groups)
    }
  }

  private static let convolutions: [OpCase] =
    [
      Case("3x3", [2, 5, 4, 3], [4, 3, 3, 3], padding: (1, 1, 1, 1)),
      Case("3x3 of 8x8", [1, 8, 8, 5], [7, 5, 3, 3], padding: (1, 1, 1, 1)),
      Case("no padding", [1, 7, 6, 3], [5, 3, 2, 3]),
      Case("1x1", [2, 3, 4, 5], [7, 5, 1, 1]),
      Case("stride 2", [2, 9, 8, 3], [4, 3, 3, 3], stride: [2, 2], padding: (1, 1, 1, 1)),
      Case("stride beyond the end", [1, 6, 6, 2], [3, 2, 3, 3], stride: [2, 2]),
      Case("one-sided padding", [1, 6, 6, 2], [3, 2, 3, 3], stride: [2, 2], padding: (0, 1, 0, 1)),
      Case(
        "uneven", [1, 9, 11, 2], [3, 2, 5, 3], stride: [3, 2], padding: (2, 1, 0, 2), dilation: [1, 2]),
      Case("dilated", [1, 7, 7, 3], [2, 3, 3, 3], padding: (2, 2, 2, 2), dilation: [2, 2]),
      Case("groups", [2, 5, 4, 6], [9, 2, 3, 3], padding: (1, 1, 1, 1), groups: 3),
      Case("depthwise", [1, 5, 5, 5], [5, 1, 3, 3], stride: [2, 2], padding: (1, 1, 1, 1), groups: 5),
      Case("whole picture", [2, 4, 3, 2], [5, 2, 4, 3]),
      Case("no pictures", [0, 5, 5, 2], [3, 2, 3, 3], padding: (1, 1, 1, 1)),
    ].flatMap { c in
      let y = try! Convolution(c.geometry).outputs([Spec(c.x, .float32), Spec(c.kernel, .float32)])[0].shape
      return [
        OpCase(Convolution(c.geometry), c.label, [Sample(c.x, .normal), Sample(c.kernel, .normal)]),
        OpCase(
          ConvolutionInputGradient(c.geometry, rows: c.x[1], columns: c.x[2]), c.label,
          [Sample(y, .normal), Sample(c.kernel, .normal)]),
        OpCase(
          ConvolutionWeightGradient(c.geometry, kernel: [c.kernel[2], c.kernel[3]]), c.label,
          [Sample(c.x, .normal), Sample(y, .normal)]),
      ]
    } + [
      OpCase(
        ConvolutionWeightGradient(
          ConvolutionGeometry(padding: (1, 1, 1, 1)), kernel: [3, 3], result: .float32), "in float32",
        [.normal(2, 5, 4, 3), .normal(2, 5, 4, 2)]),
      OpCase(function: "conv2d with bias", [.normal(2, 5, 5, 3), .normal(4, 3, 3, 3), .normal(4)]) {
        [conv2d($0[0], $0[1], bias: $0[2], stride: 2, padding: 1)]
      },
      OpCase(
        function: "conv2d, bias, silu and residual",
        [
          .normal(2, 4, 4, 3), .normal(3, 3, 3, 3), .normal(3), .normal(2, 4, 4, 3),
        ]
      ) { [silu(conv2d($0[0], $0[1], bias: $0[2], padding: 1)) + $0[3]] },
      OpCase(function: "convTransposed2d", [.normal(2, 3, 4, 5), .normal(5, 2, 3, 3), .normal(2)]) {
        [convTransposed2d($0[0], $0[1], bias: $0[2], stride: 2, padding: 1, outputPadding: 1)]
      },
      OpCase(function: "convTransposed2d of groups", [.normal(1, 3, 3, 4), .normal(4, 3, 2, 2)]) {
        [convTransposed2d($0[0], $0[1], stride: 2, dilation: 2, groups: 2)]
      },
    ]
}
