/// An operation on tensors: its shape rule and its gradient rule.
///
/// The value of an op is its identity: two equal ops on the same inputs compute the same outputs. Numbers that
/// change from step to step are therefore inputs, never properties.
public protocol Op: Hashable, Sendable {
  /// The name used in error messages and in printed plans.
  static var name: String { get }

  /// The outputs for these inputs, or why they do not fit.
  func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec]

  /// The cotangent of each input, given those of the outputs (nil where no gradient flows).
  ///
  /// A rule may return a cotangent of the broadcast shape: the gradient engine sums over broadcast axes.
  func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?]
}

extension Op {
  public static var name: String { "\(Self.self)" }
}

/// An op that can be written with other ops; a backend may claim it with a fused kernel instead.
public protocol CompositeOp: Op {
  /// The same outputs, from simpler ops.
  func decomposed(_ inputs: [Tensor]) -> [Tensor]
}

extension CompositeOp {
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    // Identities tell two uses of one tensor apart, so that each gets its own share of the gradient.
    let roots = inputs.map { Tensor(Identity(), $0) }
    return pullback(decomposed(roots), cotangents, to: roots, passThrough: false)
  }
}

/// A graph input: its value is attached to the node, not part of the op.
public struct Leaf: Op {
  public enum Kind: UInt8, Hashable, Sendable { case buffer, scalar, slot }
  public let spec: Spec
  public let kind: Kind

  public init(spec: Spec, kind: Kind) {
    self.spec = spec
    self.kind = kind
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [spec] }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] { [] }
}

/// `y = x`; no copy is made.
public struct Identity: Op {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { inputs }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] { cotangents }
}

/// `y = x` through which no gradient flows.
public struct StopGradient: Op {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { inputs }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    inputs.map { _ in nil }
  }
}

/// `x`, treated as a constant by gradients.
public func stopGradient(_ x: Tensor) -> Tensor { Tensor(StopGradient(), x) }
