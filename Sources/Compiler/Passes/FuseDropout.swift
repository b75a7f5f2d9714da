import KalsaeTensors

/// Takes the gradient of d = dropout(r), r = relu(x), from d: it is positive just where an element was both positive and
/// kept. The random numbers are not made again, and r lies in the memory of d.
package func fuseDropout(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers()
  func isZero(_ value: Int) -> Bool {
    if case .constant(0) = graph.sources[value] { true } else { false }
  }
  func producer(_ value: Int) -> Graph.Instruction? { producers[value].map { graph.instructions[$0] } }

  for (index, instruction) in graph.instructions.enumerated() where instruction.op is Select {
    // select(r > 0, dropout(g), 0)
    guard isZero(instruction.inputs[2]), let gradient = producer(instruction.inputs[1]),
      let op = gradient.op as? RandomDropout, let comparison = producer(instruction.inputs[0]),
      (comparison.op as? Binary)?.kind == .greater, isZero(comparison.inputs[1]),
      (producer(comparison.inputs[0])?.op as? Unary)?.kind == .relu
    else { continue }
    let forward = [comparison.inputs[0], gradient.inputs[1]]
    guard
      let d = users[comparison.inputs[0]].map({ graph.instructions[$0] }).first(where: {
        ($0.op as? RandomDropout) == op && $0.inputs == forward
      }), let place = producers[d.outputs[0]], place < index
    else { continue }
    result.instructions[index].op = GatedScale(scale: op.scale)
    result.instructions[index].inputs = [gradient.inputs[0], d.outputs[0]]
  }
  result.removeDeadInstructions()
  return result
}
