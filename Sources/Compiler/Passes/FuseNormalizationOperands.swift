import KalsaeTensors

/// Lets group normalisations and their gradients do the small sums around them.
///
/// What is added to the input for each sample and channel (a time embedding) becomes an operand of the kernel; sums
/// of the input's gradient are taken from the kernel, which has them; another gradient of the same input is added
/// while the kernel stores its own.
package func fuseNormalizationOperands(_ graph: Graph) -> Graph {
  fuseLayerNormOperands(absorbResiduals(takeInputSums(absorbInputBiases(graph))))
}

/// norm(h + t) with t (N, 1, ..., 1, C) becomes a normalisation of h with an input bias.
private func absorbInputBiases(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  var reshapes: [Int: Graph.Instruction] = [:]
  for (index, instruction) in graph.instructions.enumerated() {
    guard let norm = instruction.op as? GroupNormalization, !norm.hasInputBias else { continue }
    let x = instruction.inputs[0]
    guard !wanted.contains(x), let producer = producers[x],
      let (h, t) = sampleAndChannelSum(graph.instructions[producer], graph)
    else { continue }
    // The sum must vanish: nobody else may read it than this normalisation and its gradients.
    let gradients = users[x].filter { $0 != index }
    let isVanishing = gradients.allSatisfy {
      let user = graph.instructions[$0]
      guard let gradient = user.op as? GroupNormGradient, !gradient.hasInputBias else { return false }
      return user.inputs[2] == instruction.outputs[1] && user.inputs.filter { $0 == x }.count == 1
        && user.inputs[1] == x
    }
    guard isVanishing, instruction.inputs.filter({ $0 == x }).count == 1 else { continue }
    let shape = graph.specs[x].shape
    let bias = result.addValue(Spec([shape[0], shape[-1]], graph.specs[t].dtype))
    reshapes[index] = .init(
      op: Reshape(shape: graph.specs[x].shape.sampleAndChannel), inputs: [t], outputs: [bias])
    result.instructions[index].op = GroupNormalization(
      groups: norm.groups, epsilon: norm.epsilon, activation: norm.activation, hasInputBias: true)
    result.instructions[index].inputs[0] = h
    result.instructions[index].inputs.append(bias)
    for gradient in gradients {
      let op = graph.instructions[gradient].op as! GroupNormGradient
      result.instructions[gradient].op = GroupNormGradient(
        groups: op.groups, activation: op.activation, hasInputBias: true, hasResidual: op.hasResidual)
      result.instructions[gradient].inputs[1] = h
      result.instructions[gradient].inputs.insert(bias, at: 6)
    }
  }
  result.instructions = result.instructions.enumerated().flatMap { index, instruction in
    (reshapes[index].map { [$0] } ?? []) + [instruction]
  }
  result.removeDeadInstructions()
  return result
}

/// The operands of h + t where h is as the sum and t has one value for each sample and channel.
private func sampleAndChannelSum(_ instruction: Graph.Instruction, _ graph: Graph) -> (h: Int, t: Int)? {
  guard (instruction.op as? Binary)?.kind == .add else { return nil }
  let sum = graph.specs[instruction.outputs[0]]
  guard sum.shape.rank > 2 else { return nil }
  var expected = sum.shape.dimensions.map { _ in 1 }
  (expected[0], expected[expected.count - 1]) = (sum.shape[0], sum.shape[-1])
  for (h, t) in [(0, 1), (1, 0)].map({ (instruction.inputs[$0], instruction.inputs[$1]) })
  where graph.specs[h] == sum && graph.specs[t].shape.dimensions == expected
    && expected != sum.shape.dimensions
  {
    return (h, t)
  }
  return nil
}

/// Sums of dx over positions, and over samples too, come from the gradient's own sums.
private func takeInputSums(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), wanted = Set(graph.outputs)
  var replaced: [Int: [Graph.Instruction]] = [:]
  var aliases: [Int: Int] = [:]
  for instruction in graph.instructions {
    guard let gradient = instruction.op as? GroupNormGradient, !gradient.hasResidual else { continue }
    let dx = instruction.outputs[0], rank = graph.specs[dx].shape.rank
    for reader in users[dx] {
      guard let reduce = graph.instructions[reader].op as? Reduce, reduce.kind == .sum else { continue }
      let output = graph.instructions[reader].outputs[0]
      var steps: [Graph.Instruction] = []
      var sum = instruction.outputs[3]
      switch reduce.axes {
      case Array(1..<rank - 1): break
      case Array(0..<rank - 1):
        let total = result.addValue(Spec(graph.specs[output].shape, .float32))
        steps.append(.init(op: Reduce(kind: .sum, axes: [0]), inputs: [sum], outputs: [total]))
        sum = total
      default: continue
      }
      if graph.specs[output].dtype == .float32, !wanted.contains(output) {
        aliases[output] = sum
      } else {
        steps.append(.init(op: Cast(graph.specs[output].dtype), inputs: [sum], outputs: [output]))
      }
      replaced[reader] = steps
    }
  }
  result.instructions = graph.instructions.enumerated().flatMap { replaced[$0.offset] ?? [$0.element] }
  result.substitute(aliases)
  return result
}

/// dx + r becomes a gradient with a residual r, where r is at hand when dx is computed.
private func absorbResiduals(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  var dropped: Set<Int> = []
  for (index, instruction) in graph.instructions.enumerated() {
    guard (instruction.op as? Binary)?.kind == .add else { continue }
    let sum = instruction.outputs[0]
    for (dx, residual) in [(0, 1), (1, 0)].map({ (instruction.inputs[$0], instruction.inputs[$1]) }) {
      guard let place = producers[dx], users[dx] == [index], dx != residual, !wanted.contains(dx),
        let op = result.instructions[place].op as? GroupNormGradient, !op.hasResidual,
        result.instructions[place].outputs[0] == dx,
        graph.specs[residual] == graph.specs[dx], graph.specs[sum] == graph.specs[dx],
        (producers[residual] ?? -1) < place,
        !isMovement(producers[residual].map { graph.instructions[$0].op })
      else { continue }
      result.instructions[place].op = GroupNormGradient(
        groups: op.groups, activation: op.activation, hasInputBias: op.hasInputBias, hasResidual: true)
      result.instructions[place].inputs.append(residual)
      result.instructions[place].outputs[0] = sum
      dropped.insert(index)
      break
    }
  }
  result.instructions = result.instructions.enumerated().filter { !dropped.contains($0.offset) }.map(
    \.element)
  return result
}

/// Whether an op's result is a view that the kernel could not read in place.
func isMovement(_ op: (any Op)?) -> Bool {
  op is Slice || op is Transpose || op is Broadcast
}

extension Shape {
  /// (N, C) of (N, ..., C).
  fileprivate var sampleAndChannel: Shape { [self[0], self[-1]] }
}
