/// The derivatives of the scalar `y` with respect to each of `x`; zeros where `y` does not depend on it.
public func gradients(of y: Tensor, withRespectTo x: [Tensor]) -> [Tensor] {
  require(y.count == 1, "gradients: the differentiated tensor must have one element, not \(y.shape)")
  require(y.dtype.isFloatingPoint, "gradients: \(y.dtype) has no derivative")
  let seed = Tensor.full(1, y.shape, dtype: y.dtype)
  let cotangents = pullback([y], [seed], to: x, passThrough: true)
  return zip(cotangents, x).map { $0 ?? .zeros($1.shape, dtype: $1.dtype) }
}

/// The vector-Jacobian product: the cotangents of `x` for `cotangents` of `y`.
public func vectorJacobianProduct(of y: [Tensor], _ cotangents: [Tensor], withRespectTo x: [Tensor])
  -> [Tensor]
{
  let result = pullback(y, cotangents, to: x, passThrough: true)
  return zip(result, x).map { $0 ?? .zeros($1.shape, dtype: $1.dtype) }
}

/// Evaluates `loss` and its derivatives with respect to `parameters` as one graph.
public func valueAndGradient(
  withRespectTo parameters: [Tensor], _ loss: () throws -> Tensor
) rethrows -> (value: Tensor, gradients: [Tensor]) {
  // While this is set, evaluating a tensor (to print it, say) keeps the graph behind it.
  try GradientTrace.$isActive.withValue(true) {
    let value = try loss()
    return (value, gradients(of: value, withRespectTo: parameters))
  }
}

/// Whether a gradient is being recorded, so that evaluation must keep graphs alive.
package enum GradientTrace {
  @TaskLocal package static var isActive = false
}

/// Reverse-mode differentiation, the one place where cotangents are accumulated and summed over broadcast axes.
///
/// With `passThrough` false, targets are treated as independent leaves.
package func pullback(
  _ outputs: [Tensor], _ seeds: [Tensor?], to targets: [Tensor], passThrough: Bool
) -> [Tensor?] {
  let targetNodes = Set(targets.map { ObjectIdentifier($0.node) })
  let order = postOrder(outputs) { !passThrough && targetNodes.contains(ObjectIdentifier($0)) }
  var position = [ObjectIdentifier: Int](minimumCapacity: order.count)
  for (index, node) in order.enumerated() { position[ObjectIdentifier(node)] = index }

  // A node is active when a target lies below it.
  var active = [Bool](repeating: false, count: order.count)
  var inputs: [[Tensor]] = []
  inputs.reserveCapacity(order.count)
  for (index, node) in order.enumerated() {
    let isTarget = targetNodes.contains(ObjectIdentifier(node))
    let nodeInputs = isTarget && !passThrough ? [] : node.inputs
    inputs.append(nodeInputs)
    active[index] = isTarget || nodeInputs.contains { active[position[ObjectIdentifier($0.node)]!] }
  }

  var cotangents = order.map { [Tensor?](repeating: nil, count: $0.specs.count) }
  func accumulate(_ cotangent: Tensor, into tensor: Tensor, from name: @autoclosure () -> String) {
    guard let place = position[ObjectIdentifier(tensor.node)], active[place], tensor.dtype.isFloatingPoint
    else { return }
    require(
      cotangent.dtype == tensor.dtype, "\(name()): gradient of type \(cotangent.dtype) for \(tensor.spec)")
    let share = cotangent.summed(toShapeOf: tensor)
    cotangents[place][tensor.index] = cotangents[place][tensor.index].map { $0 + share } ?? share
  }

  for (output, seed) in zip(outputs, seeds) {
    if let seed { accumulate(seed, into: output, from: "seed") }
  }
  for index in order.indices.reversed() where active[index] && !inputs[index].isEmpty {
    let received = cotangents[index]
    guard received.contains(where: { $0 != nil }) else { continue }
    let node = order[index]
    let outputs = node.specs.indices.map { Tensor(node: node, index: $0) }
    let shares = node.op.vjp(received, inputs: inputs[index], outputs: outputs)
    for (input, share) in zip(inputs[index], shares) {
      if let share { accumulate(share, into: input, from: type(of: node.op).name) }
    }
  }
  return targets.map { target in
    position[ObjectIdentifier(target.node)].flatMap { cotangents[$0][target.index] }
  }
}

/// The nodes below `roots`, inputs before users, without recursion; `isLeaf` cuts the walk.
package func postOrder(_ roots: [Tensor], isLeaf: (Node) -> Bool = { _ in false }) -> [Node] {
  var order: [Node] = []
  var seen: Set<ObjectIdentifier> = []
  var stack: [(node: Node, inputs: [Tensor], next: Int)] = []
  func push(_ node: Node) {
    if seen.insert(ObjectIdentifier(node)).inserted {
      stack.append((node, isLeaf(node) ? [] : node.inputs, 0))
    }
  }
  for root in roots {
    push(root.node)
    while let top = stack.last {
      if top.next < top.inputs.count {
        stack[stack.count - 1].next += 1
        push(top.inputs[top.next].node)
      } else {
        order.append(top.node)
        stack.removeLast()
      }
    }
  }
  return order
}

extension Tensor {
  /// The transpose of broadcasting: sums over the axes along which `tensor` was repeated to this shape.
  package func summed(toShapeOf tensor: Tensor) -> Tensor {
    let target = tensor.shape
    guard shape != target else { return self }
    require(target.broadcasts(to: shape), "gradient of shape \(shape) for a tensor of shape \(target)")
    let extra = rank - target.rank
    let axes = (0..<rank).filter {
      $0 < extra || (target.dimensions[$0 - extra] == 1 && shape.dimensions[$0] != 1)
    }
    return sum(axes, keepingAxes: true).reshaped(target)
  }
}
