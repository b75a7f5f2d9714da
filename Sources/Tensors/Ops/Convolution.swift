/// The geometry of a two-dimensional convolution.
///
/// out = (in + before + after - dilation (k - 1) - 1) / stride + 1 along each axis.
public struct ConvolutionGeometry: Hashable, Sendable {
  /// (rows, columns)
  public var stride: [Int], dilation: [Int]
  public var top: Int, bottom: Int, left: Int, right: Int
  public var groups: Int

  public init(
    stride: [Int] = [1, 1], padding: (top: Int, bottom: Int, left: Int, right: Int) = (0, 0, 0, 0),
    dilation: [Int] = [1, 1], groups: Int = 1
  ) {
    self.stride = stride
    self.dilation = dilation
    (top, bottom, left, right) = padding
    self.groups = groups
  }

  func output(rows: Int, columns: Int, kernel: [Int]) -> [Int] {
    [
      (rows + top + bottom - dilation[0] * (kernel[0] - 1) - 1) / stride[0] + 1,
      (columns + left + right - dilation[1] * (kernel[1] - 1) - 1) / stride[1] + 1,
    ]
  }

  /// `x` (N, H, W, C), `kernel` (O, C / groups, kh, kw): the output's shape, or what does not fit.
  func output(_ x: Shape, kernel: Shape) throws(ShapeError) -> Shape {
    guard x.rank == 4, kernel.rank == 4 else {
      throw ShapeError("needs (N, H, W, C) and (O, C / groups, kh, kw), not \(x) and \(kernel)")
    }
    guard stride.allSatisfy({ $0 > 0 }), dilation.allSatisfy({ $0 > 0 }), groups > 0,
      [top, bottom, left, right].allSatisfy({ $0 >= 0 })
    else { throw ShapeError("stride, dilation and groups must be positive, padding not negative") }
    guard x[3] == kernel[1] * groups, kernel[0] % groups == 0 else {
      throw ShapeError("channels of \(x) do not fit the kernel \(kernel) with \(groups) groups")
    }
    let size = output(rows: x[1], columns: x[2], kernel: [kernel[2], kernel[3]])
    guard size.allSatisfy({ $0 >= 0 }), x[1] + top + bottom >= dilation[0] * (kernel[2] - 1) + 1,
      x[2] + left + right >= dilation[1] * (kernel[3] - 1) + 1
    else { throw ShapeError("the kernel \(kernel) is larger than the padded input \(x)") }
    return [x[0], size[0], size[1], kernel[0]]
  }
}

/// `y[n,i,j,o] = sum_{c,u,v} x[n, i s + u d - p, j s + v d - p, c] w[o,c,u,v]`.
///
/// x (N, H, W, C), w (O, C / groups, kh, kw) -> (N, H', W', O).
public struct Convolution: Op {
  public let geometry: ConvolutionGeometry
  public init(_ geometry: ConvolutionGeometry) { self.geometry = geometry }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = inputs[0], w = inputs[1]
    guard x.dtype == w.dtype, x.dtype.isFloatingPoint else {
      throw ShapeError("needs two tensors of one floating-point type: \(x) and \(w)")
    }
    return [Spec(try geometry.output(x.shape, kernel: w.shape), x.dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil, nil] }
    let x = inputs[0], w = inputs[1]
    return [
      Tensor(ConvolutionInputGradient(geometry, rows: x.shape[1], columns: x.shape[2]), dy, w),
      Tensor(ConvolutionWeightGradient(geometry, kernel: [w.shape[2], w.shape[3]]), x, dy),
    ]
  }
}

/// The gradient of a convolution by its input, which is also the transposed convolution.
///
/// dy (N, H', W', O), w (O, C / groups, kh, kw) -> (N, rows, columns, C).
public struct ConvolutionInputGradient: Op {
  public let geometry: ConvolutionGeometry
  public let rows: Int, columns: Int

  public init(_ geometry: ConvolutionGeometry, rows: Int, columns: Int) {
    self.geometry = geometry
    self.rows = rows
    self.columns = columns
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let dy = inputs[0], w = inputs[1]
    guard dy.dtype == w.dtype, dy.dtype.isFloatingPoint, dy.shape.rank == 4, w.shape.rank == 4 else {
      throw ShapeError("needs (N, H', W', O) and (O, C / groups, kh, kw) of one type: \(dy) and \(w)")
    }
    let shape: Shape = [dy.shape[0], rows, columns, w.shape[1] * geometry.groups]
    let expected = try geometry.output(shape, kernel: w.shape)
    guard expected == dy.shape else {
      throw ShapeError("\(dy.shape) where \(expected) is the output of \(shape)")
    }
    return [Spec(shape, dy.dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dx = cotangents[0] else { return [nil, nil] }
    let dy = inputs[0], w = inputs[1]
    return [
      Tensor(Convolution(geometry), dx, w),
      Tensor(ConvolutionWeightGradient(geometry, kernel: [w.shape[2], w.shape[3]]), dx, dy),
    ]
  }
}

/// The gradient of a convolution by its kernel: x (N, H, W, C), dy (N, H', W', O) -> (O, C / groups, kh, kw).
public struct ConvolutionWeightGradient: Op {
  public let geometry: ConvolutionGeometry
  public let kernel: [Int]
  /// float32 when the products of bfloat16 operands are wanted unrounded.
  public let result: DType?

  public init(_ geometry: ConvolutionGeometry, kernel: [Int], result: DType? = nil) {
    self.geometry = geometry
    self.kernel = kernel
    self.result = result
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = inputs[0], dy = inputs[1]
    guard x.dtype == dy.dtype, x.dtype.isFloatingPoint, x.shape.rank == 4, dy.shape.rank == 4 else {
      throw ShapeError("needs (N, H, W, C) and (N, H', W', O) of one type: \(x) and \(dy)")
    }
    let shape: Shape = [dy.shape[3], x.shape[3] / geometry.groups, kernel[0], kernel[1]]
    let expected = try geometry.output(x.shape, kernel: shape)
    guard expected == dy.shape else { throw ShapeError("\(dy.shape) where \(expected) is the output") }
    return [Spec(shape, result ?? x.dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    let x = inputs[0], dy = inputs[1]
    guard let dw = cotangents[0]?.cast(to: x.dtype) else { return [nil, nil] }
    return [
      Tensor(ConvolutionInputGradient(geometry, rows: x.shape[1], columns: x.shape[2]), dy, dw),
      Tensor(Convolution(geometry), x, dw),
    ]
  }
}

/// A convolution of x (N, H, W, C) with w (O, C / groups, kh, kw), plus a bias (O).
public func conv2d(
  _ x: Tensor, _ w: Tensor, bias: Tensor? = nil, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
  groups: Int = 1
) -> Tensor {
  let geometry = ConvolutionGeometry(
    stride: [stride, stride], padding: (padding, padding, padding, padding), dilation: [dilation, dilation],
    groups: groups)
  return conv2d(x, w, bias: bias, geometry)
}

/// A convolution with separate geometry for rows and columns.
public func conv2d(_ x: Tensor, _ w: Tensor, bias: Tensor? = nil, _ geometry: ConvolutionGeometry) -> Tensor {
  let y = Tensor(Convolution(geometry), Autocast.apply(x), Autocast.apply(w))
  return bias.map { y + $0.cast(to: y.dtype) } ?? y
}

/// A transposed convolution of x (N, H, W, C) with w (C, O / groups, kh, kw), plus a bias (O).
///
/// out = (in - 1) stride - 2 padding + dilation (k - 1) + outputPadding + 1.
public func convTransposed2d(
  _ x: Tensor, _ w: Tensor, bias: Tensor? = nil, stride: Int = 1, padding: Int = 0, outputPadding: Int = 0,
  dilation: Int = 1, groups: Int = 1
) -> Tensor {
  require(
    outputPadding < Swift.max(stride, dilation),
    "convTransposed2d: outputPadding must be below stride or dilation")
  let geometry = ConvolutionGeometry(
    stride: [stride, stride], padding: (padding, padding, padding, padding), dilation: [dilation, dilation],
    groups: groups)
  func extent(_ n: Int, _ k: Int) -> Int {
    (n - 1) * stride - 2 * padding + dilation * (k - 1) + outputPadding + 1
  }
  let op = ConvolutionInputGradient(
    geometry, rows: extent(x.shape[1], w.shape[2]), columns: extent(x.shape[2], w.shape[3]))
  let y = Tensor(op, Autocast.apply(x), Autocast.apply(w))
  return bias.map { y + $0.cast(to: y.dtype) } ?? y
}
