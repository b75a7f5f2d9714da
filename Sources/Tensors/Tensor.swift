/// An immutable multidimensional array whose value is computed when it is asked for.
///
/// Ops on tensors only build a graph; `evaluate(...)` or reading a value compiles and runs it.
public struct Tensor: Sendable {
  package let node: Node
  package let index: Int

  package init(node: Node, index: Int) {
    self.node = node
    self.index = index
  }

  public var spec: Spec { node.specs[index] }
  public var shape: Shape { spec.shape }
  public var dtype: DType { spec.dtype }
  public var rank: Int { shape.rank }
  /// The number of elements.
  public var count: Int { shape.count }

  /// Applies an op of one output.
  public init(_ op: some Op, _ inputs: Tensor...) { self = apply(op, inputs)[0] }
}

/// Applies `op` to `inputs`; traps with the op's name and the shapes when they do not fit.
public func apply(_ op: some Op, _ inputs: [Tensor]) -> [Tensor] {
  let specs: [Spec]
  do {
    specs = try op.outputs(inputs.map(\.spec))
  } catch {
    fatalError("\(type(of: op).name): \(error)")
  }
  // One box for the table's look-up and the node.
  let boxed: any Op = op
  let node = Node(boxed, opID: OpTable.shared.identifier(of: boxed), inputs, specs)
  return specs.indices.map { Tensor(node: node, index: $0) }
}

extension Tensor {
  private init(leaf kind: Leaf.Kind, _ spec: Spec, _ value: Node.LeafValue) {
    let op = Leaf(spec: spec, kind: kind)
    self.init(node: Node(op, opID: OpTable.shared.identifier(of: op), [], [spec], leaf: value), index: 0)
  }

  /// A tensor over existing memory in row-major order.
  public init(_ buffer: Buffer, _ spec: Spec) {
    require(
      buffer.byteCount >= spec.byteCount, "Tensor: \(buffer.byteCount) bytes cannot hold \(spec)")
    self.init(leaf: .buffer, spec, .buffer(buffer))
  }

  /// A tensor that holds a copy of `elements` in row-major order.
  public init<T: Element>(_ elements: [T], _ shape: Shape) {
    require(elements.count == shape.count, "Tensor: \(elements.count) elements do not fill \(shape)")
    let buffer = Buffer(byteCount: elements.count * T.dtype.byteCount)
    elements.withUnsafeBytes { source in
      if let base = source.baseAddress { buffer.pointer.copyMemory(from: base, byteCount: source.count) }
    }
    self.init(buffer, Spec(shape, T.dtype))
  }

  /// A vector.
  public init<T: Element>(_ elements: [T]) { self.init(elements, [elements.count]) }

  /// A scalar whose value is no part of the graph's structure: another value needs no new plan.
  public init(_ value: Double, _ dtype: DType = .float32) {
    self.init(leaf: .scalar, Spec([], dtype), .scalar(value))
  }

  package init(_ slot: Slot, version: Int) {
    self.init(leaf: .slot, slot.spec, .slot(slot, version: version))
  }
}

extension Tensor: CustomStringConvertible {
  public var description: String { "Tensor(\(spec))" }
}

extension Tensor {
  /// A leaf without a value, in whose place a decomposition is built.
  package init(standInFor spec: Spec) {
    self.init(leaf: .buffer, spec, .none)
  }
}
