import KalsaeTensors

/// Replaces every composite op that the target does not claim by its decomposition, and what only means something to
/// gradients by its operands.
package func decompose(_ graph: Graph, for target: some Target) -> Graph {
  var result = Graph()
  var values = [Int](repeating: -1, count: graph.specs.count)
  for value in graph.sources.keys.sorted() {
    values[value] = result.addSource(graph.sources[value]!, graph.specs[value])
  }
  func emit(_ op: any Op, _ inputs: [Int], _ specs: [Spec], into graph: inout Graph) -> [Int] {
    if let passed = passedOn(op, inputs) { return passed }
    guard let composite = op as? any CompositeOp,
      !target.claims(composite, inputs.map { graph.specs[$0] })
    else { return graph.append(op, inputs, specs) }
    // The decomposition is built on stand-ins for the inputs and copied in their place.
    let standIns = inputs.map { Tensor(standInFor: graph.specs[$0]) }
    let tensors = composite.decomposed(standIns)
    var copies: [ObjectIdentifier: [Int]] = [:]
    for (standIn, input) in zip(standIns, inputs) { copies[ObjectIdentifier(standIn.node)] = [input] }
    for node in postOrder(tensors) where copies[ObjectIdentifier(node)] == nil {
      switch node.leaf {
      case .none:
        let operands = node.inputs.map { copies[ObjectIdentifier($0.node)]![$0.index] }
        copies[ObjectIdentifier(node)] = emit(node.op, operands, node.specs, into: &graph)
      case .scalar(let value):
        copies[ObjectIdentifier(node)] = [graph.addSource(.constant(value), node.specs[0])]
      case .buffer(let buffer):
        copies[ObjectIdentifier(node)] = [graph.addSource(.buffer(buffer), node.specs[0])]
      case .slot: fatalError("\(type(of: op).name): a decomposition reads a slot")
      }
    }
    return tensors.map { copies[ObjectIdentifier($0.node)]![$0.index] }
  }
  for instruction in graph.instructions {
    let outputs = emit(
      instruction.op, instruction.inputs.map { values[$0] }, instruction.outputs.map { graph.specs[$0] },
      into: &result)
    for (old, new) in zip(instruction.outputs, outputs) { values[old] = new }
  }
  result.outputs = graph.outputs.map { values[$0] }
  result.replacedArguments = graph.replacedArguments
  result.slotArguments = graph.slotArguments
  return result
}

/// The operands that are an op's outputs, unchanged.
private func passedOn(_ op: any Op, _ inputs: [Int]) -> [Int]? {
  switch op {
  case is Identity, is StopGradient: inputs
  case let op as Checkpoint: Array(inputs.prefix(op.resultCount))
  default: nil
  }
}
