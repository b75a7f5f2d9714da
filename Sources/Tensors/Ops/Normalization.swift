/// `y = (x - mean_g) / sqrt(var_g + epsilon) weight + bias`, then an activation (arXiv 1803.08494).
///
/// x (N, ..., C), weight and bias (C) -> y, and the statistics mean and 1/sqrt(var + epsilon), (N, groups) float32.
/// Statistics are taken for each sample over all positions and the C / groups channels of a group, in float32.
/// With `hasInputBias` a fourth operand (N, C) is first added to x at all positions.
public struct GroupNormalization: CompositeOp {
  public let groups: Int, epsilon: Double
  public let activation: Activation.Kind?
  public let hasInputBias: Bool

  public init(
    groups: Int, epsilon: Double, activation: Activation.Kind? = nil, hasInputBias: Bool = false
  ) {
    self.groups = groups
    self.epsilon = epsilon
    self.activation = activation
    self.hasInputBias = hasInputBias
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = inputs[0]
    guard x.dtype.isFloatingPoint, x.shape.rank >= 2, groups > 0, x.shape[-1] % groups == 0 else {
      throw ShapeError("\(x) does not divide into \(groups) groups of channels")
    }
    try checkAffine(inputs[1...2], channels: x.shape[-1])
    if hasInputBias { try checkInputBias(inputs[3], x) }
    let statistics = Spec([x.shape[0], groups], .float32)
    return [x, statistics, statistics]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard cotangents[1] == nil, cotangents[2] == nil else { return decompositionVJP(cotangents, inputs) }
    guard let dy = cotangents[0] else { return inputs.map { _ in nil } }
    let op = GroupNormGradient(groups: groups, activation: activation, hasInputBias: hasInputBias)
    let gradients = apply(
      op, [dy, inputs[0], outputs[1], outputs[2], inputs[1], inputs[2]] + inputs.dropFirst(3))
    return gradients.prefix(3) + inputs.dropFirst(3).map { gradients[3].cast(to: $0.dtype) }
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let x = inputs[0]
    let grouped = inGroups(biased(x, hasInputBias ? inputs[3] : nil), groups)
    let mean = grouped.mean([1, 3], keepingAxes: true)
    let rstd = rsqrt(square(grouped - mean).mean([1, 3], keepingAxes: true) + epsilon)
    let normal = ((grouped - mean) * rstd).reshaped(x.shape)
    var y = normal * inputs[1].cast(to: .float32) + inputs[2].cast(to: .float32)
    if let activation { y = Tensor(Activation(activation), y) }
    return [y.cast(to: x.dtype), mean.reshaped(-1, groups), rstd.reshaped(-1, groups)]
  }
}

/// The gradient of `GroupNormalization`: inputs dy, x, mean, rstd, weight, bias -> dx, dweight, dbias, dinput.
///
/// With n the normalised x, g = f'(n weight + bias) dy weight and means over a group:
/// dx = rstd (g - mean(g) - n mean(g n)). dinput (N, C) float32 is its sum over all positions, the gradient of the
/// input bias. Where they are present, the input bias follows the operands, then a residual (as x) that is added to dx.
public struct GroupNormGradient: CompositeOp {
  public let groups: Int
  public let activation: Activation.Kind?
  public let hasInputBias: Bool, hasResidual: Bool

  public init(
    groups: Int, activation: Activation.Kind?, hasInputBias: Bool = false, hasResidual: Bool = false
  ) {
    self.groups = groups
    self.activation = activation
    self.hasInputBias = hasInputBias
    self.hasResidual = hasResidual
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = inputs[1]
    if hasInputBias { try checkInputBias(inputs[6], x) }
    if hasResidual, inputs.last! != x { throw ShapeError("a residual \(inputs.last!) for \(x)") }
    return [x, inputs[4], inputs[5], Spec([x.shape[0], x.shape[-1]], .float32)]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let x = inputs[1], shape = x.shape
    let weight = inputs[4].cast(to: .float32), bias = inputs[5].cast(to: .float32)
    let mean = inputs[2].reshaped(-1, 1, groups, 1), rstd = inputs[3].reshaped(-1, 1, groups, 1)
    let normal = (inGroups(biased(x, hasInputBias ? inputs[6] : nil), groups) - mean) * rstd
    let n = normal.reshaped(shape)
    var dz = inputs[0].cast(to: .float32)
    if let activation { dz = Tensor(ActivationGradient(activation), n * weight + bias, dz) }
    let g = inGroups(dz * weight, groups)
    let throughNorm =
      rstd * (g - g.mean([1, 3], keepingAxes: true) - normal * (g * normal).mean([1, 3], keepingAxes: true))
    let dx = throughNorm.reshaped(shape)
    let positions = Array(0..<shape.rank - 1)
    return [
      (hasResidual ? dx + inputs.last!.cast(to: .float32) : dx).cast(to: x.dtype),
      (dz * n).sum(positions).cast(to: inputs[4].dtype), dz.sum(positions).cast(to: inputs[5].dtype),
      dx.sum(Array(positions.dropFirst())),
    ]
  }
}

/// x (N, ..., C) in float32, plus a bias (N, C) at all positions.
private func biased(_ x: Tensor, _ bias: Tensor?) -> Tensor {
  guard let bias else { return x.cast(to: .float32) }
  let ones = [Int](repeating: 1, count: x.rank - 2)
  return x.cast(to: .float32)
    + bias.cast(to: .float32).reshaped(Shape([x.shape[0]] + ones + [x.shape[-1]]))
}

private func checkInputBias(_ bias: Spec, _ x: Spec) throws(ShapeError) {
  guard bias.shape == [x.shape[0], x.shape[-1]], bias.dtype.isFloatingPoint else {
    throw ShapeError("the input bias must be (\(x.shape[0]), \(x.shape[-1])), not \(bias)")
  }
}

/// (N, ..., C) as (N, positions, groups, C / groups).
private func inGroups(_ x: Tensor, _ groups: Int) -> Tensor {
  let n = x.shape[0], c = x.shape[-1]
  return x.reshaped(Shape([n, x.shape.dimensions[1..<x.rank - 1].reduce(1, *), groups, c / groups]))
}

private func checkAffine(_ parameters: ArraySlice<Spec>, channels: Int) throws(ShapeError) {
  for parameter in parameters {
    guard parameter.shape == [channels], parameter.dtype.isFloatingPoint else {
      throw ShapeError("weight and bias must be (\(channels)), not \(parameter)")
    }
  }
}

/// `y = (x - mean) / sqrt(var + epsilon) weight + bias` over the last axis (arXiv 1607.06450).
///
/// x (..., C), weight and bias (C) -> y, and mean and 1/sqrt(var + epsilon) of each row, (...) float32. y has the type
/// of x, or `result`; with `isAlsoRounded` a fourth output is y in bfloat16. With `hasResidual` a fourth operand, of x's type
/// or float32, is first added to x, and its type is that of y instead; with `storesSum` the last output is that sum.
public struct LayerNormalization: CompositeOp {
  public let epsilon: Double
  package let result: DType?
  package let isAlsoRounded: Bool
  package let hasResidual: Bool, storesSum: Bool

  public init(epsilon: Double) { self.init(epsilon: epsilon, result: nil) }

  package init(
    epsilon: Double, result: DType?, isAlsoRounded: Bool = false, hasResidual: Bool = false,
    storesSum: Bool = false
  ) {
    (self.epsilon, self.result, self.isAlsoRounded) = (epsilon, result, isAlsoRounded)
    (self.hasResidual, self.storesSum) = (hasResidual, storesSum)
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = try floatingRows(inputs[0])
    try checkAffine(inputs[1...2], channels: x.shape[-1])
    let sum = hasResidual ? inputs[3] : x
    guard sum.shape == x.shape, sum.dtype == x.dtype || sum.dtype == .float32 else {
      throw ShapeError("a residual \(sum) for \(x)")
    }
    let statistics = Spec(Shape(x.shape.dimensions.dropLast()), .float32)
    return [Spec(x.shape, result ?? sum.dtype), statistics, statistics]
      + (isAlsoRounded ? [Spec(x.shape, .bfloat16)] : []) + (storesSum ? [sum] : [])
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard cotangents[1] == nil, cotangents[2] == nil, result == nil, !isAlsoRounded, !hasResidual else {
      return decompositionVJP(cotangents, inputs)
    }
    guard let dy = cotangents[0] else { return [nil, nil, nil] }
    return apply(LayerNormGradient(), [dy, inputs[0], outputs[1], outputs[2], inputs[1]])
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    var x = inputs[0].cast(to: .float32)
    let type = inputs[hasResidual ? 3 : 0].dtype
    if hasResidual { x = x + inputs[3].cast(to: .float32) }
    let mean = x.mean([-1], keepingAxes: true)
    let rstd = rsqrt(square(x - mean).mean([-1], keepingAxes: true) + epsilon)
    let y = (x - mean) * rstd * inputs[1].cast(to: .float32) + inputs[2].cast(to: .float32)
    return [y.cast(to: result ?? type), mean.squeezed(-1), rstd.squeezed(-1)]
      + (isAlsoRounded ? [y.cast(to: .bfloat16)] : []) + (storesSum ? [x.cast(to: type)] : [])
  }
}

/// The gradient of `LayerNormalization`: inputs dy, x, mean, rstd, weight -> dx, dweight, dbias.
///
/// With `hasResidual` a sixth operand, as x, is added to dx; with `isAlsoRounded` a fourth output is dx in bfloat16.
public struct LayerNormGradient: CompositeOp {
  public let hasResidual: Bool
  package let isAlsoRounded: Bool

  public init() { self.init(hasResidual: false, isAlsoRounded: false) }

  package init(hasResidual: Bool, isAlsoRounded: Bool) {
    (self.hasResidual, self.isAlsoRounded) = (hasResidual, isAlsoRounded)
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    if hasResidual, inputs[5] != inputs[1] { throw ShapeError("a residual \(inputs[5]) for \(inputs[1])") }
    return [inputs[1], inputs[4], inputs[4]] + (isAlsoRounded ? [Spec(inputs[1].shape, .bfloat16)] : [])
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let dy = inputs[0].cast(to: .float32), x = inputs[1].cast(to: .float32)
    let mean = inputs[2].expanded(-1), rstd = inputs[3].expanded(-1)
    let n = (x - mean) * rstd
    let g = dy * inputs[4].cast(to: .float32)
    var dx = rstd * (g - g.mean([-1], keepingAxes: true) - n * (g * n).mean([-1], keepingAxes: true))
    if hasResidual { dx = dx + inputs[5].cast(to: .float32) }
    let rows = Array(0..<x.rank - 1)
    return [
      dx.cast(to: inputs[1].dtype), (dy * n).sum(rows).cast(to: inputs[4].dtype),
      dy.sum(rows).cast(to: inputs[4].dtype),
    ] + (isAlsoRounded ? [dx.cast(to: .bfloat16)] : [])
  }
}

/// `y = x / sqrt(mean(x^2) + epsilon) weight` over the last axis (arXiv 1910.07467).
///
/// x (..., C), weight (C) -> y, and 1/sqrt(mean(x^2) + epsilon) of each row, (...) float32.
public struct RMSNormalization: CompositeOp {
  public let epsilon: Double
  public init(epsilon: Double) { self.epsilon = epsilon }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = try floatingRows(inputs[0])
    try checkAffine(inputs[1...1], channels: x.shape[-1])
    return [x, Spec(Shape(x.shape.dimensions.dropLast()), .float32)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard cotangents[1] == nil else { return decompositionVJP(cotangents, inputs) }
    guard let dy = cotangents[0] else { return [nil, nil] }
    return apply(RMSNormGradient(), [dy, inputs[0], outputs[1], inputs[1]])
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let x = inputs[0].cast(to: .float32)
    let rstd = rsqrt(square(x).mean([-1], keepingAxes: true) + epsilon)
    return [(x * rstd * inputs[1].cast(to: .float32)).cast(to: inputs[0].dtype), rstd.squeezed(-1)]
  }
}

/// The gradient of `RMSNormalization`: inputs dy, x, rstd, weight -> dx, dweight.
public struct RMSNormGradient: CompositeOp {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [inputs[1], inputs[3]] }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let dy = inputs[0].cast(to: .float32), x = inputs[1].cast(to: .float32)
    let rstd = inputs[2].expanded(-1)
    let n = x * rstd
    let g = dy * inputs[3].cast(to: .float32)
    let dx = rstd * (g - n * (g * n).mean([-1], keepingAxes: true))
    return [
      dx.cast(to: inputs[1].dtype), (dy * n).sum(Array(0..<x.rank - 1)).cast(to: inputs[3].dtype),
    ]
  }
}

extension CompositeOp {
  /// The gradient of the decomposition, for rules that only shortcut the usual case.
  func decompositionVJP(_ cotangents: [Tensor?], _ inputs: [Tensor]) -> [Tensor?] {
    let roots = inputs.map { Tensor(Identity(), $0) }
    return pullback(decomposed(roots), cotangents, to: roots, passThrough: false)
  }
}

/// Group normalisation of x (N, ..., C) with weight and bias (C), then an activation.
public func groupNorm(
  _ x: Tensor, groups: Int, weight: Tensor?, bias: Tensor?, epsilon: Double = 1e-5,
  activation: Activation.Kind? = nil
) -> Tensor {
  let c = x.shape[-1]
  let op = GroupNormalization(groups: groups, epsilon: epsilon, activation: activation)
  return apply(op, [x, weight ?? .ones([c]), bias ?? .zeros([c])])[0]
}

/// Layer normalisation over the last axis with weight and bias (C).
public func layerNorm(_ x: Tensor, weight: Tensor?, bias: Tensor?, epsilon: Double = 1e-5) -> Tensor {
  let c = x.shape[-1]
  return apply(LayerNormalization(epsilon: epsilon), [x, weight ?? .ones([c]), bias ?? .zeros([c])])[0]
}

/// Root-mean-square normalisation over the last axis with weight (C).
public func rmsNorm(_ x: Tensor, weight: Tensor?, epsilon: Double = 1e-6) -> Tensor {
  apply(RMSNormalization(epsilon: epsilon), [x, weight ?? .ones([x.shape[-1]])])[0]
}

/// Batch normalisation of x (..., C) with the statistics of this batch (arXiv 1502.03167), which are returned:
/// mean and biased variance, (C) float32.
public func batchNorm(
  _ x: Tensor, weight: Tensor?, bias: Tensor?, epsilon: Double = 1e-5
) -> (y: Tensor, mean: Tensor, variance: Tensor) {
  let positions = Array(0..<x.rank - 1)
  let wide = x.cast(to: .float32)
  let mean = wide.mean(positions), variance = wide.variance(positions)
  return (
    batchNorm(x, mean: mean, variance: variance, weight: weight, bias: bias, epsilon: epsilon), mean, variance
  )
}

/// Batch normalisation of x (..., C) with given statistics (C).
public func batchNorm(
  _ x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor?, bias: Tensor?, epsilon: Double = 1e-5
) -> Tensor {
  var y = (x.cast(to: .float32) - mean) * rsqrt(variance + epsilon)
  if let weight { y = y * weight.cast(to: .float32) }
  if let bias { y = y + bias.cast(to: .float32) }
  return y.cast(to: x.dtype)
}
