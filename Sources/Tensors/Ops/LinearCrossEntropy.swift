/// The cross-entropy of a linear layer's outputs with labels, without ever holding all of them.
///
///     logits = x W^T + b,   loss_n = -sum_v t_nv log softmax(logits_n)_v
///
/// Inputs: x (N, C), weight (V, C), labels int32 (N), then bias (V) where present. Output: the losses (N), float32. The
/// targets t, smoothed and ignored labels are those of `CrossEntropy`. With `precision` the product is that of
/// operands rounded to it; logits, losses and the gradient of the weight stay float32.
public struct LinearCrossEntropy: CompositeOp {
  public let labelSmoothing: Double
  public let ignoredLabel: Int?
  public let precision: DType?

  public init(labelSmoothing: Double = 0, ignoredLabel: Int? = nil, precision: DType? = nil) {
    self.labelSmoothing = labelSmoothing
    self.ignoredLabel = ignoredLabel
    self.precision = precision
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = inputs[0], weight = inputs[1], labels = inputs[2]
    guard x.shape.rank == 2, weight.shape.rank == 2, x.shape[1] == weight.shape[1],
      x.dtype.isFloatingPoint, weight.dtype.isFloatingPoint, labels == Spec([x.shape[0]], .int32)
    else {
      throw ShapeError(
        "needs x (N, C), weight (V, C) and labels int32 (N), not \(x), \(weight) and \(labels)")
    }
    guard precision != nil || x.dtype == weight.dtype else {
      throw ShapeError("element types differ: \(x) and \(weight)")
    }
    if inputs.count > 3 {
      guard inputs[3].shape == [weight.shape[0]], inputs[3].dtype.isFloatingPoint else {
        throw ShapeError("the bias must be (\(weight.shape[0])), not \(inputs[3])")
      }
    }
    return [Spec([x.shape[0]], .float32)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return inputs.map { _ in nil } }
    let gradients = apply(
      LinearCrossEntropyGradient(of: self), [inputs[0], inputs[1], inputs[2], dy] + inputs[3...])
    return [gradients[0], gradients[1], nil] + gradients[3...].map { $0 }
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    [Tensor(crossEntropy, logits(inputs[0], inputs[1], inputs.count > 3 ? inputs[3] : nil), inputs[2])]
  }

  fileprivate var crossEntropy: CrossEntropy {
    CrossEntropy(labelSmoothing: labelSmoothing, ignoredLabel: ignoredLabel)
  }

  /// (N, V), float32.
  fileprivate func logits(_ x: Tensor, _ weight: Tensor, _ bias: Tensor?) -> Tensor {
    let product = Tensor(MatMul(result: .float32), operand(x), operand(weight).mT)
    return bias.map { product + $0.cast(to: .float32) } ?? product
  }

  fileprivate func operand(_ x: Tensor) -> Tensor { precision.map { x.cast(to: $0) } ?? x }
}

/// The derivatives of `LinearCrossEntropy`, and its losses, which cost nothing more:
///
///     dlogits = (softmax(logits) - t) dy,   dx = dlogits W,   dW = dlogits^T x,   db = sum_n dlogits_n
///
/// Inputs: x, weight, labels, dy (N) float32, then bias where present. Outputs: dx, dweight, the losses, then dbias.
public struct LinearCrossEntropyGradient: CompositeOp {
  public let forward: LinearCrossEntropy

  public init(of forward: LinearCrossEntropy) {
    self.forward = forward
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let losses = try forward.outputs(forwardInputs(inputs))
    guard inputs[3] == losses[0] else { throw ShapeError("dy must be \(losses[0]), not \(inputs[3])") }
    return [inputs[0], inputs[1], losses[0]] + inputs[4...]
  }

  /// The operands of the forward op among those of this one.
  package func forwardInputs<T>(_ inputs: [T]) -> [T] { Array(inputs[..<3]) + inputs[4...] }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let (x, weight, labels, dy) = (inputs[0], inputs[1], inputs[2], inputs[3])
    let logits = forward.logits(x, weight, inputs.count > 4 ? inputs[4] : nil)
    let entropy = CrossEntropyGradient(
      labelSmoothing: forward.labelSmoothing, ignoredLabel: forward.ignoredLabel)
    let gradient = Tensor(entropy, logits, labels, dy)
    let a = forward.operand(x), w = forward.operand(weight), rounded = gradient.cast(to: a.dtype)
    let dx = Tensor(MatMul(result: .float32), rounded, w),
      dw = Tensor(MatMul(result: .float32), rounded.mT, a)
    return [
      dx.cast(to: x.dtype), dw.cast(to: weight.dtype), Tensor(forward.crossEntropy, logits, labels),
    ] + inputs[4...].map { gradient.sum([0]).cast(to: $0.dtype) }
  }
}

/// The cross-entropy at each position of a linear layer's outputs: `x` (..., C), `weight` (V, C), `bias` (V), `labels`
/// int32 (...) -> (...), float32.
///
/// The logits (..., V) exist only in blocks of rows, in training too. Positions labelled `ignoredLabel` cost 0, in time
/// as well. The product is computed in the autocast precision, if any.
public func linearCrossEntropies(
  _ x: Tensor, weight: Tensor, bias: Tensor? = nil, labels: Tensor, labelSmoothing: Double = 0,
  ignoredLabel: Int? = nil
) -> Tensor {
  let precision = Autocast.precision ?? (x.dtype == weight.dtype ? nil : x.dtype)
  let op = LinearCrossEntropy(
    labelSmoothing: labelSmoothing, ignoredLabel: ignoredLabel, precision: precision)
  let operands = [x.reshaped(-1, x.shape[-1]), weight, labels.reshaped(-1)] + (bias.map { [$0] } ?? [])
  return apply(op, operands)[0].reshaped(labels.shape)
}

/// The mean of `linearCrossEntropies` over the labels that are not ignored: `crossEntropy` of a linear layer's outputs.
public func linearCrossEntropy(
  _ x: Tensor, weight: Tensor, bias: Tensor? = nil, labels: Tensor, labelSmoothing: Double = 0,
  ignoredLabel: Int? = nil
) -> Tensor {
  let losses = linearCrossEntropies(
    x, weight: weight, bias: bias, labels: labels, labelSmoothing: labelSmoothing, ignoredLabel: ignoredLabel)
  return meanOfKept(losses, labels, ignoredLabel)
}

/// The mean over the labels that are not ignored; 0 when all are.
func meanOfKept(_ losses: Tensor, _ labels: Tensor, _ ignoredLabel: Int?) -> Tensor {
  guard let ignoredLabel else { return losses.mean() }
  let kept = (labels .!= Double(ignoredLabel)).cast(to: .float32)
  return losses.sum() / maximum(kept.sum(), 1)
}
