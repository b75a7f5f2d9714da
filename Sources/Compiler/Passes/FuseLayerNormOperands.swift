import KalsaeTensors

/// Lets layer normalisations store what their readers want of them: the result in bfloat16, instead of or beside
/// float32, and in the gradient the sum with the residual stream's.
func fuseLayerNormOperands(_ graph: Graph) -> Graph { storeRounded(addResiduals(graph)) }

/// dx + r becomes a gradient with a residual r, where r is at hand when dx is computed.
private func addResiduals(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  var dropped: Set<Int> = []
  for (index, instruction) in graph.instructions.enumerated() {
    guard (instruction.op as? Binary)?.kind == .add else { continue }
    for (dx, residual) in [(0, 1), (1, 0)].map({ (instruction.inputs[$0], instruction.inputs[$1]) }) {
      guard let place = producers[dx], users[dx] == [index], !wanted.contains(dx), dx != residual,
        let op = result.instructions[place].op as? LayerNormGradient, !op.hasResidual,
        result.instructions[place].outputs[0] == dx, graph.specs[residual] == graph.specs[dx],
        graph.specs[instruction.outputs[0]] == graph.specs[dx], (producers[residual] ?? -1) < place,
        !isMovement(producers[residual].map { graph.instructions[$0].op })
      else { continue }
      result.instructions[place].op = LayerNormGradient(hasResidual: true, isAlsoRounded: false)
      result.instructions[place].inputs.append(residual)
      result.instructions[place].outputs[0] = instruction.outputs[0]
      dropped.insert(index)
      break
    }
  }
  result.instructions = result.instructions.enumerated().filter { !dropped.contains($0.offset) }.map(
    \.element)
  return result
}

/// Casts of a float32 result to bfloat16 become an output of the kernel; the only one where nothing else reads it.
private func storeRounded(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), wanted = Set(graph.outputs)
  var aliases: [Int: Int] = [:], dropped: Set<Int> = []
  for (index, instruction) in graph.instructions.enumerated() {
    let y = instruction.outputs[0]
    guard instruction.op is LayerNormalization || instruction.op is LayerNormGradient,
      graph.specs[y].dtype == .float32
    else { continue }
    let casts = users[y].filter { (graph.instructions[$0].op as? Cast)?.dtype == .bfloat16 }
    guard !casts.isEmpty else { continue }
    let isOnly = casts.count == users[y].count && !wanted.contains(y)
    let rounded = result.addValue(Spec(graph.specs[y].shape, .bfloat16))
    switch instruction.op {
    case let op as LayerNormalization:
      result.instructions[index].op = LayerNormalization(
        epsilon: op.epsilon, result: isOnly ? .bfloat16 : nil, isAlsoRounded: !isOnly)
      if isOnly { result.instructions[index].outputs[0] = rounded }
    case let op as LayerNormGradient:
      guard !isOnly else { continue }
      result.instructions[index].op = LayerNormGradient(hasResidual: op.hasResidual, isAlsoRounded: true)
    default: continue
    }
    if !isOnly { result.instructions[index].outputs.append(rounded) }
    for cast in casts {
      aliases[graph.instructions[cast].outputs[0]] = rounded
      dropped.insert(cast)
    }
  }
  result.instructions = result.instructions.enumerated().filter { !dropped.contains($0.offset) }.map(
    \.element)
  result.substitute(aliases)
  return result
}
