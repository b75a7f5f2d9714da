import KalsaeTensors

/// A convolution: (N, H, W, in) -> (N, H', W', out), with weight (out, in / groups, rows, columns) and bias (out).
///
/// H' = floor((H + top + bottom - dilation (rows - 1) - 1) / stride) + 1, and so for W'.
public struct Conv2d: Layer {
  public let weight: Parameter
  public let bias: Parameter?
  public let geometry: ConvolutionGeometry

  /// A square kernel with the same stride, padding and dilation along both axes.
  public init(
    _ inputs: Int, _ outputs: Int, kernel: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
    groups: Int = 1, bias: Bool = true, initializer: Initializer = .layerDefault
  ) {
    let geometry = ConvolutionGeometry(
      stride: [stride, stride], padding: (padding, padding, padding, padding),
      dilation: [dilation, dilation], groups: groups)
    self.init(
      inputs, outputs, kernel: (kernel, kernel), geometry, bias: bias, initializer: initializer)
  }

  /// A kernel of (rows, columns) with separate geometry for each side. The bias starts as PyTorch's does when it has no
  /// initializer of its own.
  public init(
    _ inputs: Int, _ outputs: Int, kernel: (rows: Int, columns: Int), _ geometry: ConvolutionGeometry,
    bias: Bool = true, initializer: Initializer = .layerDefault, biasInitializer: Initializer? = nil
  ) {
    require(
      geometry.groups > 0 && inputs % geometry.groups == 0 && outputs % geometry.groups == 0,
      "Conv2d: \(inputs) and \(outputs) channels do not divide into \(geometry.groups) groups")
    let shape: Shape = [outputs, inputs / geometry.groups, kernel.rows, kernel.columns]
    weight = Parameter(initializer(shape))
    let first = biasInitializer ?? .biasDefault(weight: shape)
    self.bias = bias ? Parameter(first([outputs])) : nil
    self.geometry = geometry
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    conv2d(x, weight.value, bias: bias?.value, geometry)
  }
}

/// A transposed convolution: (N, H, W, in) -> (N, H', W', out), with weight (in, out / groups, kernel, kernel) and
/// bias (out).
///
/// H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + outputPadding + 1, and so for W'.
public struct ConvTranspose2d: Layer {
  public let weight: Parameter
  public let bias: Parameter?
  public let stride: Int, padding: Int, outputPadding: Int, dilation: Int, groups: Int

  public init(
    _ inputs: Int, _ outputs: Int, kernel: Int, stride: Int = 1, padding: Int = 0, outputPadding: Int = 0,
    dilation: Int = 1, groups: Int = 1, bias: Bool = true, initializer: Initializer = .layerDefault
  ) {
    require(
      groups > 0 && inputs % groups == 0 && outputs % groups == 0,
      "ConvTranspose2d: \(inputs) and \(outputs) channels do not divide into \(groups) groups")
    let shape: Shape = [inputs, outputs / groups, kernel, kernel]
    weight = Parameter(initializer(shape))
    self.bias = bias ? Parameter(Initializer.biasDefault(weight: shape)([outputs])) : nil
    (self.stride, self.padding, self.outputPadding) = (stride, padding, outputPadding)
    (self.dilation, self.groups) = (dilation, groups)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    convTransposed2d(
      x, weight.value, bias: bias?.value, stride: stride, padding: padding, outputPadding: outputPadding,
      dilation: dilation, groups: groups)
  }
}
