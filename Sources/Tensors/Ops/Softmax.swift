/// `y_i = exp(x_i) / sum_j exp(x_j)` over the last axis, computed from the row's maximum in float32.
public struct Softmax: CompositeOp {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [try floatingRows(inputs[0])] }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0].map { Tensor(SoftmaxGradient(), outputs[0], $0) }]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let x = inputs[0].cast(to: .float32)
    guard x.count > 0 else { return [inputs[0]] }
    let e = exp(x - stopGradient(x.max([-1], keepingAxes: true)))
    return [(e / e.sum([-1], keepingAxes: true)).cast(to: inputs[0].dtype)]
  }
}

/// `dx = y (dy - sum_j dy_j y_j)`; inputs y and dy.
public struct SoftmaxGradient: CompositeOp {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [try floatingRows(inputs[0])] }
  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let y = inputs[0].cast(to: .float32), dy = inputs[1].cast(to: .float32)
    return [(y * (dy - (dy * y).sum([-1], keepingAxes: true))).cast(to: inputs[0].dtype)]
  }
}

/// `y_i = x_i - log sum_j exp(x_j)` over the last axis, computed from the row's maximum in float32.
public struct LogSoftmax: CompositeOp {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [try floatingRows(inputs[0])] }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0].map { Tensor(LogSoftmaxGradient(), outputs[0], $0) }]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let x = inputs[0].cast(to: .float32)
    guard x.count > 0 else { return [inputs[0]] }
    let shifted = x - stopGradient(x.max([-1], keepingAxes: true))
    return [(shifted - log(exp(shifted).sum([-1], keepingAxes: true))).cast(to: inputs[0].dtype)]
  }
}

/// `dx = dy - exp(y) sum_j dy_j`; inputs y and dy.
public struct LogSoftmaxGradient: CompositeOp {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [try floatingRows(inputs[0])] }
  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let y = inputs[0].cast(to: .float32), dy = inputs[1].cast(to: .float32)
    return [(dy - exp(y) * dy.sum([-1], keepingAxes: true)).cast(to: inputs[0].dtype)]
  }
}

func floatingRows(_ x: Spec) throws(ShapeError) -> Spec {
  guard x.dtype.isFloatingPoint, x.shape.rank > 0 else { throw ShapeError("needs rows of floats, not \(x)") }
  return x
}

private func overLastAxis(_ x: Tensor, _ axis: Int, _ body: (Tensor) -> Tensor) -> Tensor {
  let axis = x.shape.axis(axis, "softmax")
  guard axis != x.rank - 1 else { return body(x) }
  return body(x.swappingAxes(axis, -1)).swappingAxes(axis, -1)
}

/// Positive numbers that add up to 1 along `axis`.
public func softmax(_ x: Tensor, axis: Int = -1) -> Tensor { overLastAxis(x, axis) { Tensor(Softmax(), $0) } }

/// The logarithm of `softmax`, without its underflow.
public func logSoftmax(_ x: Tensor, axis: Int = -1) -> Tensor {
  overLastAxis(x, axis) { Tensor(LogSoftmax(), $0) }
}

/// The cross-entropy of each row of logits with its label, in float32.
///
/// Inputs: logits (N, K), labels int32 (N). With label smoothing s the target is
/// (1 - s) one-hot + s / K (arXiv 1512.00567, section 7). Rows labelled `ignoredLabel` cost 0.
public struct CrossEntropy: CompositeOp {
  public let labelSmoothing: Double
  public let ignoredLabel: Int?

  public init(labelSmoothing: Double, ignoredLabel: Int? = nil) {
    self.labelSmoothing = labelSmoothing
    self.ignoredLabel = ignoredLabel
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let logits = inputs[0], labels = inputs[1]
    guard logits.shape.rank == 2, logits.dtype.isFloatingPoint, labels == Spec([logits.shape[0]], .int32)
    else {
      throw ShapeError("needs logits (N, K) and labels int32 (N), not \(logits) and \(labels)")
    }
    return [Spec([logits.shape[0]], .float32)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil, nil] }
    let op = CrossEntropyGradient(labelSmoothing: labelSmoothing, ignoredLabel: ignoredLabel)
    return [Tensor(op, inputs[0], inputs[1], dy), nil]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let logProbabilities = logSoftmax(inputs[0].cast(to: .float32))
    let (labels, kept) = keptLabels(inputs[1], ignoredLabel)
    let picked = logProbabilities.gathered(along: 1, labels.expanded(1)).squeezed(1)
    var loss = picked * -(1 - labelSmoothing)
    if labelSmoothing != 0 { loss = loss - logProbabilities.mean([1]) * labelSmoothing }
    return [kept.map { select($0, loss, 0) } ?? loss]
  }
}

/// `dlogits = (softmax(logits) - target) dy` row by row; inputs logits, labels and dy (N).
public struct CrossEntropyGradient: CompositeOp {
  public let labelSmoothing: Double
  public let ignoredLabel: Int?

  public init(labelSmoothing: Double, ignoredLabel: Int? = nil) {
    self.labelSmoothing = labelSmoothing
    self.ignoredLabel = ignoredLabel
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [inputs[0]] }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let logits = inputs[0].cast(to: .float32), k = inputs[0].shape[1]
    let (labels, kept) = keptLabels(inputs[1], ignoredLabel)
    let oneHot = (Tensor.iota(k).expanded(0) .== labels.expanded(1)).cast(to: .float32)
    var target = oneHot
    if labelSmoothing != 0 { target = oneHot * (1 - labelSmoothing) + labelSmoothing / Double(k) }
    let dy = kept.map { select($0, inputs[2], 0) } ?? inputs[2]
    return [((softmax(logits) - target) * dy.expanded(1)).cast(to: inputs[0].dtype)]
  }
}

/// Labels with 0 in place of the ignored one, and which rows count.
private func keptLabels(_ labels: Tensor, _ ignored: Int?) -> (Tensor, Tensor?) {
  guard let ignored else { return (labels, nil) }
  let kept = labels .!= Double(ignored)
  return (select(kept, labels, 0), kept)
}

/// The mean cross-entropy of logits (..., K) with labels int32 (...), over the labels that are not ignored.
public func crossEntropy(
  _ logits: Tensor, _ labels: Tensor, labelSmoothing: Double = 0, ignoredLabel: Int? = nil
) -> Tensor {
  let flat = labels.reshaped(-1)
  let op = CrossEntropy(labelSmoothing: labelSmoothing, ignoredLabel: ignoredLabel)
  let losses = Tensor(op, logits.reshaped(-1, logits.shape[-1]), flat)
  return meanOfKept(losses, flat, ignoredLabel)
}
