import KalsaeTensors

/// Gives products their right operand as the backend's kernel wants it, where that is a slot which the plan leaves as it
/// is: arranged once, it is kept with the slot until that changes. What has to be converted costs no memory by that. A
/// second copy of weights that could be read as they are has to pay: there is none in plans that extend a cache, which
/// read a prompt once and then single tokens, and no more than a gigabyte of them.
package func packWeights(_ graph: Graph, for target: some Target) -> Graph {
  var result = graph
  let producers = graph.producers()
  var keptOf: [Key: Int] = [:]
  var secondCopies = graph.instructions.contains { $0.op is UpdateSlice } ? 0 : 1 << 30
  for (index, instruction) in graph.instructions.enumerated() {
    let product: FusedMatMul
    switch instruction.op {
    case let op as FusedMatMul: product = op
    case let op as MatMul:
      product = FusedMatMul(result: op.result, hasBias: false, activation: nil, hasResidual: false)
    default: continue
    }
    let specs = instruction.inputs.map { graph.specs[$0] }
    guard specs[0].shape.rank == 2, specs[1].shape.rank == 2,
      let (argument, value, view) = weights(instruction.inputs[1], graph, producers),
      let packing = target.packing(of: product, specs, weights: view)
    else { continue }
    let pack = PackedWeights(view: view, dtype: specs[1].dtype, packing: packing)
    let key = Key(argument: argument, pack: pack)
    if keptOf[key] == nil {
      if graph.specs[value].dtype == specs[1].dtype {
        guard packing.byteCount <= secondCopies else { continue }
        secondCopies -= packing.byteCount
      }
      let spec = Spec([packing.byteCount], .uint8)
      keptOf[key] = result.addSource(.kept(result.kept.count), spec)
      result.kept.append(Graph.Kept(op: pack, argument: argument, input: graph.specs[value], output: spec))
    }
    result.instructions[index].op = PackedMatMul(
      product: product, columns: specs[1].shape[1], packing: packing)
    result.instructions[index].inputs[1] = keptOf[key]!
  }
  return result
}

private struct Key: Hashable {
  let argument: Int, pack: PackedWeights
}

/// The unchanged slot that `value` is, or is one cast away from, and how the elements of `value` lie in it.
private func weights(
  _ value: Int, _ graph: Graph, _ producers: [Int?]
) -> (argument: Int, slot: Int, view: Layout)? {
  var chain: [Graph.Instruction] = [], source = value
  while let place = producers[source],
    graph.instructions[place].op.isMovement
      || graph.instructions[place].op is Cast
  {
    chain.append(graph.instructions[place])
    source = graph.instructions[place].inputs[0]
  }
  guard chain.count(where: { $0.op is Cast }) <= 1, let argument = graph.unchangedSlot(source) else {
    return nil
  }
  var view = Layout(graph.specs[source].shape)
  for step in chain.reversed() where !(step.op is Cast) {
    guard let moved = movedLayout(step.op, view, graph.specs[step.outputs[0]].shape) else { return nil }
    view = moved
  }
  return (argument, source, view)
}
