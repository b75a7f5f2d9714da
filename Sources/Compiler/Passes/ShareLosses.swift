import KalsaeTensors

/// Takes the losses of a linear cross-entropy from its gradient, which computes them anyway.
///
/// In training both are wanted of the same operands, and apart from each other they would multiply by the weight twice.
/// Only where the gradient does not itself depend on the losses, as it does not for their mean.
package func shareLosses(_ graph: Graph) -> Graph {
  var result = graph
  while let (loss, gradient) = pair(result) {
    let value = result.instructions[loss].outputs[0]
    // What needs the losses waits for the gradient.
    var waiting: [Graph.Instruction] = [], delayed: Set<Int> = [value]
    var order = Array(result.instructions[..<loss])
    for instruction in result.instructions[(loss + 1)...].prefix(max(gradient - loss, 0)) {
      if instruction.inputs.contains(where: delayed.contains) {
        delayed.formUnion(instruction.outputs)
        waiting.append(instruction)
      } else {
        order.append(instruction)
      }
    }
    order += waiting + result.instructions[(max(gradient, loss) + 1)...]
    let shared = result.instructions[gradient].outputs[2]
    result.instructions = order
    result.substitute([value: shared])
  }
  return result
}

/// A loss and a gradient of the same operands, the second independent of the first.
private func pair(_ graph: Graph) -> (loss: Int, gradient: Int)? {
  for (gradient, instruction) in graph.instructions.enumerated() {
    guard let op = instruction.op as? LinearCrossEntropyGradient else { continue }
    let operands = op.forwardInputs(instruction.inputs)
    for (loss, other) in graph.instructions.enumerated() where other.inputs == operands {
      guard let forward = other.op as? LinearCrossEntropy, forward == op.forward else { continue }
      var reached: Set<Int> = [other.outputs[0]]
      for between in graph.instructions[loss...].prefix(max(gradient - loss + 1, 0))
      where between.inputs.contains(where: reached.contains) {
        reached.formUnion(between.outputs)
      }
      if reached.isDisjoint(with: instruction.outputs) { return (loss, gradient) }
    }
  }
  return nil
}
