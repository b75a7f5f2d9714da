import KalsaeTensors

/// A primitive op computed with plain loops in Double: what every other implementation must agree with.
public protocol ReferenceOp: Op {
  /// The outputs for `inputs`, which have the specs that `outputs` accepted.
  func evaluate(_ inputs: [NDArray]) -> [NDArray]
}

/// Computes the values of tensors by walking their graph op by op, composites by their decomposition.
public struct ReferenceInterpreter {
  public enum Rounding: Sendable {
    /// Everything stays in Double: for difference quotients.
    case none
    /// Every op's result is rounded to its element type.
    case toElementType
  }

  private let rounding: Rounding
  /// Nodes are kept beside their values: the addresses of released ones would be used again.
  private var known: [ObjectIdentifier: (node: Node, values: [NDArray])] = [:]

  public init(rounding: Rounding = .none) { self.rounding = rounding }

  /// Lets `tensor`, the only output of its node, have `value`, whatever its graph says.
  public mutating func set(_ tensor: Tensor, _ value: NDArray) {
    require(value.spec == tensor.spec, "ReferenceInterpreter: \(value.spec) given for \(tensor.spec)")
    require(tensor.node.specs.count == 1, "ReferenceInterpreter: one of several outputs cannot be set")
    known[ObjectIdentifier(tensor.node)] = (tensor.node, [value])
  }

  /// The value of `tensor`.
  public mutating func value(_ tensor: Tensor) -> NDArray { values([tensor])[0] }

  /// The values of `tensors`, each node computed once.
  public mutating func values(_ tensors: [Tensor]) -> [NDArray] {
    for node in postOrder(tensors, isLeaf: { known[ObjectIdentifier($0)] != nil }) {
      if known[ObjectIdentifier(node)] == nil { known[ObjectIdentifier(node)] = (node, compute(node)) }
    }
    return tensors.map { known[ObjectIdentifier($0.node)]!.values[$0.index] }
  }

  private mutating func compute(_ node: Node) -> [NDArray] {
    let results: [NDArray]
    if node.op is Leaf {
      results = [leaf(node)]
    } else if node.inputs.isEmpty, let storage = node.storage {
      results = zip(node.specs, storage).map { NDArray($0, at: $1.pointer) }
    } else {
      let inputs = node.inputs
      switch node.op {
      case let op as any CompositeOp: return values(op.decomposed(inputs))
      case let op as any ReferenceOp: results = op.evaluate(values(inputs))
      default: fatalError("\(type(of: node.op).name): the reference backend has no implementation")
      }
    }
    require(
      results.map(\.spec) == node.specs,
      "\(type(of: node.op).name): computed \(results.map(\.spec)) where the shape rule says \(node.specs)")
    return rounding == .none ? results : results.map { $0.rounded() }
  }

  private func leaf(_ node: Node) -> NDArray {
    let spec = node.specs[0]
    switch node.leaf {
    case .buffer(let buffer): return NDArray(spec, at: buffer.pointer)
    case .scalar(let value): return NDArray([], spec.dtype, [value])
    case .slot(let slot, let version):
      guard let buffer = slot.buffer, slot.version == version else {
        fatalError("a tensor read from version \(version) of a slot is used after version \(slot.version)")
      }
      return NDArray(spec, at: buffer.pointer)
    case .none: fatalError("a graph input without a value")
    }
  }
}
