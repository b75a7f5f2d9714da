import KalsaeTensors

/// Gives products and convolutions their weights as the backend's kernel wants them, where those are a slot which the plan
/// leaves as it is: arranged once, they are kept with the slot until that changes. What has to be converted costs no
/// memory by that. A second copy of weights that could be read as they are has to pay: there is none in plans that extend a
/// cache, which read a prompt once and then single tokens, and no more than a gigabyte of them.
package func packWeights(_ graph: Graph, for target: some Target) -> Graph {
  var result = graph
  let producers = graph.producers()
  var keptOf: [Key: Int] = [:]
  var secondCopies = graph.instructions.contains { $0.op is UpdateSlice } ? 0 : 1 << 30
  for (index, instruction) in graph.instructions.enumerated() {
    guard let reader = Reader(instruction.op),
      let (argument, value, view) = weights(instruction.inputs[1], graph, producers),
      let packed = reader.packed(instruction.inputs.map { graph.specs[$0] }, view, target)
    else { continue }
    let key = Key(argument: argument, pack: AnyHashable(packed.weights))
    if keptOf[key] == nil {
      if graph.specs[value].dtype == graph.specs[instruction.inputs[1]].dtype {
        guard packed.byteCount <= secondCopies else { continue }
        secondCopies -= packed.byteCount
      }
      let spec = Spec([packed.byteCount], .uint8)
      keptOf[key] = result.addSource(.kept(result.kept.count), spec)
      result.kept.append(
        Graph.Kept(op: packed.weights, argument: argument, input: graph.specs[value], output: spec))
    }
    result.instructions[index].op = packed.reader
    result.instructions[index].inputs[1] = keptOf[key]!
  }
  return result
}

private struct Key: Hashable {
  let argument: Int, pack: AnyHashable
}

/// An op whose second operand are weights.
private enum Reader {
  case product(FusedMatMul)
  case convolution(FusedConvolution)

  init?(_ op: any Op) {
    switch op {
    case let op as FusedMatMul: self = .product(op)
    case let op as MatMul:
      self = .product(FusedMatMul(result: op.result, hasBias: false, activation: nil, hasResidual: false))
    case let op as FusedConvolution: self = .convolution(op)
    case let op as Convolution:
      self = .convolution(
        FusedConvolution(geometry: op.geometry, hasBias: false, activation: nil, hasResidual: false))
    default: return nil
    }
  }

  /// The op that reads the weights arranged, and the op that arranges what lies as `view` says; nil when the target reads
  /// them better as they lie.
  func packed(
    _ specs: [Spec], _ view: Layout, _ target: some Target
  ) -> (reader: any Op, weights: any Op, byteCount: Int)? {
    switch self {
    case .product(let op):
      guard specs[0].shape.rank == 2, specs[1].shape.rank == 2,
        let packing = target.packing(of: op, specs, weights: view)
      else { return nil }
      return (
        PackedMatMul(product: op, columns: specs[1].shape[1], packing: packing),
        PackedWeights(view: view, dtype: specs[1].dtype, packing: packing), packing.byteCount
      )
    case .convolution(let op):
      guard view == Layout(specs[1].shape), let packing = target.packing(of: op, specs) else { return nil }
      return (
        PackedConvolution(convolution: op, kernel: specs[1].shape, packing: packing),
        PackedKernel(convolution: op, map: specs[0], kernel: specs[1], packing: packing), packing.byteCount
      )
    }
  }
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
