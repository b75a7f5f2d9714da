/// A smooth gate of its own input: silu, gelu.
public struct Activation: CompositeOp, ElementwiseOp {
  public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
    /// x sigmoid(x)
    case silu
    /// x Phi(x)
    case gelu
    /// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
    case geluTanh
  }
  public let kind: Kind
  public init(_ kind: Kind) { self.kind = kind }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    guard inputs[0].dtype.isFloatingPoint else { throw ShapeError("needs floating point, not \(inputs[0])") }
    return inputs
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0].map { Tensor(ActivationGradient(kind), inputs[0], $0) }]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let x = inputs[0]
    switch kind {
    case .silu: return [x * sigmoid(x)]
    case .gelu: return [x * (erf(x * 0.7071067811865476) + 1) * 0.5]
    case .geluTanh: return [x * (tanh(geluTanhArgument(x)) + 1) * 0.5]
    }
  }
}

/// `f'(x) dy` for an activation f; inputs x and dy.
public struct ActivationGradient: CompositeOp, ElementwiseOp {
  public let kind: Activation.Kind
  public init(_ kind: Activation.Kind) { self.kind = kind }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    guard inputs[0].dtype == inputs[1].dtype else { throw ShapeError("\(inputs[0]) and \(inputs[1])") }
    return [Spec(try broadcast(inputs), inputs[0].dtype)]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let x = inputs[0], dy = inputs[1]
    switch kind {
    case .silu:
      let s = sigmoid(x)
      return [dy * s * (1 + x * (1 - s))]
    case .gelu:
      let density = exp(square(x) * -0.5) * 0.3989422804014327  // 1 / sqrt(2 pi)
      return [dy * ((erf(x * 0.7071067811865476) + 1) * 0.5 + x * density)]
    case .geluTanh:
      let t = tanh(geluTanhArgument(x))
      let slope = (square(x) * (3 * 0.044715) + 1) * 0.7978845608028654
      return [dy * ((t + 1) * 0.5 + x * 0.5 * (1 - square(t)) * slope)]
    }
  }
}

private func geluTanhArgument(_ x: Tensor) -> Tensor {
  (x + x * square(x) * 0.044715) * 0.7978845608028654  // sqrt(2 / pi)
}

/// `x sigmoid(x)` (arXiv 1702.03118).
public func silu(_ x: Tensor) -> Tensor { Tensor(Activation(.silu), x) }

/// `x Phi(x)` (arXiv 1606.08415), or its tanh approximation.
public func gelu(_ x: Tensor, approximate: Bool = false) -> Tensor {
  Tensor(Activation(approximate ? .geluTanh : .gelu), x)
}
