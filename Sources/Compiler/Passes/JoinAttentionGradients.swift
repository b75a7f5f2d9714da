import KalsaeTensors

/// Lets attention's gradient write side by side what a joint projection's gradient reads side by side.
///
/// Its gradients are then not written apart and joined.
package func joinAttentionGradients(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  func isInner(_ value: Int) -> Bool { users[value].count == 1 && !wanted.contains(value) }
  /// The gradient (B, T, H, D) that `value` has as rows of H D.
  func gradient(_ value: Int) -> Int? {
    guard isInner(value), let place = producers[value], graph.instructions[place].op is Reshape else {
      return nil
    }
    let source = graph.instructions[place].inputs[0], shape = graph.specs[source].shape
    guard isInner(source), shape.rank == 4, graph.specs[value].shape[-1] == shape[2] * shape[3] else {
      return nil
    }
    return source
  }
  var aliases: [Int: Int] = [:]
  for (index, instruction) in graph.instructions.enumerated() {
    let joint = instruction.outputs[0], parts = instruction.inputs.compactMap(gradient)
    guard let concatenate = instruction.op as? Concatenate, parts.count == instruction.inputs.count,
      concatenate.axis == graph.specs[joint].shape.rank - 1, let place = producers[parts[0]],
      let op = graph.instructions[place].op as? AttentionGradient
    else { continue }
    let outputs = graph.instructions[place].outputs, apart = outputs.count - parts.count
    guard parts.count > 1, Array(outputs[apart...]) == parts else { continue }
    let shape = graph.specs[parts[0]].shape
    let rows = result.addValue(
      Spec([shape[0], shape[1], graph.specs[joint].shape[-1]], graph.specs[joint].dtype))
    result.instructions[place].op = JoinedAttentionGradient(gradient: op, includesQueries: apart == 0)
    result.instructions[place].outputs = outputs[..<apart] + [rows]
    if graph.specs[joint] == result.specs[rows] {
      aliases[joint] = rows
    } else {
      result.instructions[index].op = Reshape(shape: graph.specs[joint].shape)
      result.instructions[index].inputs = [rows]
    }
  }
  result.substitute(aliases)
  result.removeDeadInstructions()
  return result
}
