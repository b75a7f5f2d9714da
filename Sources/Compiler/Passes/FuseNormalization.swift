import KalsaeTensors

/// Lets a group normalisation apply the activation that follows it, and its gradient the activation's.
///
/// The normalised value is then never stored: the backward kernel recomputes it from the input.
package func fuseNormalization(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), wanted = Set(graph.outputs)
  var dropped: Set<Int> = []
  var replacements: [Int: Int] = [:]
  for (index, instruction) in graph.instructions.enumerated() {
    guard let norm = instruction.op as? GroupNormalization, norm.activation == nil else { continue }
    let normalized = instruction.outputs[0]
    guard !wanted.contains(normalized) else { continue }
    let forward = users[normalized].filter { graph.instructions[$0].op is Activation }
    let backward = users[normalized].filter { graph.instructions[$0].op is ActivationGradient }
    guard forward.count == 1, forward.count + backward.count == users[normalized].count,
      let activation = (graph.instructions[forward[0]].op as? Activation)?.kind
    else { continue }
    // Each activation gradient must feed only the gradient of this normalisation.
    let gradients = backward.map { user -> (activation: Int, norm: Int)? in
      let step = graph.instructions[user]
      guard (step.op as? ActivationGradient)?.kind == activation, step.inputs[0] == normalized,
        step.inputs[1] != normalized, graph.specs[step.inputs[1]] == graph.specs[normalized],
        !wanted.contains(step.outputs[0]), users[step.outputs[0]].count == 1
      else { return nil }
      let reader = graph.instructions[users[step.outputs[0]][0]]
      guard (reader.op as? GroupNormGradient)?.activation == nil, reader.op is GroupNormGradient,
        reader.inputs[0] == step.outputs[0], reader.inputs[1] == instruction.inputs[0],
        reader.inputs[2] == instruction.outputs[1]
      else { return nil }
      return (user, users[step.outputs[0]][0])
    }
    guard gradients.allSatisfy({ $0 != nil }) else { continue }
    result.instructions[index].op = GroupNormalization(
      groups: norm.groups, epsilon: norm.epsilon, activation: activation, hasInputBias: norm.hasInputBias)
    replacements[graph.instructions[forward[0]].outputs[0]] = normalized
    dropped.insert(forward[0])
    for case let gradient? in gradients {
      dropped.insert(gradient.activation)
      result.instructions[gradient.norm].op = GroupNormGradient(
        groups: norm.groups, activation: activation, hasInputBias: norm.hasInputBias)
      result.instructions[gradient.norm].inputs[0] = graph.instructions[gradient.activation].inputs[1]
    }
  }
  result.instructions = result.instructions.enumerated().filter { !dropped.contains($0.offset) }.map(
    \.element)
  result.substitute(replacements)
  return result
}
