import KalsaeTensors

/// Takes the gradient of d = dropout(r), r = relu(x), from d: it is positive just where an element was both positive and
/// kept. The random numbers are not made again, and r lies in the memory of d.
package func fuseDropout(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers()
  func producer(_ value: Int) -> Graph.Instruction? { producers[value].map { graph.instructions[$0] } }

  for (index, instruction) in graph.instructions.enumerated() {
    // relu'(dropout'(g)), of r
    guard let gate = instruction.op as? GatedScale, gate.scale == 1,
      let gradient = producer(instruction.inputs[0]), let op = gradient.op as? RandomDropout
    else { continue }
    let r = instruction.inputs[1], forward = [r, gradient.inputs[1]]
    guard (producer(r)?.op as? Unary)?.kind == .relu,
      let d = users[r].map({ graph.instructions[$0] }).first(where: {
        ($0.op as? RandomDropout) == op && $0.inputs == forward
      }), let place = producers[d.outputs[0]], place < index
    else { continue }
    result.instructions[index].op = GatedScale(scale: op.scale)
    result.instructions[index].inputs = [gradient.inputs[0], d.outputs[0]]
  }
  result.removeDeadInstructions()
  return result
}
