import KalsaeTensors

/// Lets layer normalisations add what a layer gave to the residual stream, and store what their readers want of them: the
/// result in bfloat16, instead of or beside float32, and in the gradient the sum with the stream's.
func fuseLayerNormOperands(_ graph: Graph) -> Graph { storeRounded(addResiduals(normaliseSums(graph))) }

/// norm(x + r), with a product's x, becomes a normalisation with a residual r, in the sum's place.
///
/// The product could add r too, and the same bytes would be moved. But that takes oneDNN's products 4 to 20 % longer,
/// and the normalisation waits for the memory either way. Where nothing is trained, an x of bfloat16 that the sum takes in
/// float32 is read as it is, of half the bytes. In training it is not rounded.
private func normaliseSums(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  let isTraining = graph.instructions.contains { $0.op is LayerNormGradient }
  var fused: [Int: Graph.Instruction] = [:], dropped: Set<Int> = []
  for (index, instruction) in graph.instructions.enumerated() {
    guard let norm = instruction.op as? LayerNormalization, !norm.hasResidual else { continue }
    let sum = instruction.inputs[0]
    guard let place = producers[sum], fused[place] == nil,
      (graph.instructions[place].op as? Binary)?.kind == .add,
      instruction.inputs.dropFirst().allSatisfy({ (producers[$0] ?? -1) < place })
    else { continue }
    let operands = graph.instructions[place].inputs
    guard operands.allSatisfy({ graph.specs[$0] == graph.specs[sum] }),
      let x = operands.first(where: { users[$0].count == 1 && graph.isOfProduct($0, producers) }),
      let residual = operands.first(where: { $0 != x })
    else { continue }
    let isRead = users[sum].count > 1 || wanted.contains(sum)
    var inputs = instruction.inputs + [residual]
    inputs[0] = x
    if !isTraining, let cast = producers[x], graph.instructions[cast].op is Cast, !wanted.contains(x) {
      let rounded = graph.instructions[cast].inputs[0]
      if graph.specs[rounded].dtype == .bfloat16, users[rounded].count == 1 {
        inputs[0] = rounded
        dropped.insert(cast)
      }
    }
    fused[place] = .init(
      op: LayerNormalization(
        epsilon: norm.epsilon, result: norm.result, hasResidual: true, storesSum: isRead),
      inputs: inputs, outputs: instruction.outputs + (isRead ? [sum] : []))
    dropped.insert(index)
  }
  result.instructions = graph.instructions.enumerated().compactMap { index, instruction in
    dropped.contains(index) ? nil : fused[index] ?? instruction
  }
  return result
}

extension Graph {
  /// Whether the value is a product's, perhaps with its bias, in another type or shape.
  fileprivate func isOfProduct(_ value: Int, _ producers: [Int?]) -> Bool {
    guard let place = producers[value] else { return false }
    let instruction = instructions[place]
    switch instruction.op {
    case is MatMul: return true
    case is Cast, is Reshape: return isOfProduct(instruction.inputs[0], producers)
    case let op as Binary where op.kind == .add:
      let shape = specs[value].shape
      return instruction.inputs.contains { specs[$0].shape == shape && isOfProduct($0, producers) }
        && instruction.inputs.contains { specs[$0].shape.count == shape[-1] }
    default: return false
    }
  }
}

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
        epsilon: op.epsilon, result: isOnly ? .bfloat16 : nil, isAlsoRounded: !isOnly,
        hasResidual: op.hasResidual, storesSum: op.storesSum)
      if isOnly { result.instructions[index].outputs[0] = rounded }
    case let op as LayerNormGradient:
      guard !isOnly else { continue }
      result.instructions[index].op = LayerNormGradient(hasResidual: op.hasResidual, isAlsoRounded: true)
    default: continue
    }
    if !isOnly { result.instructions[index].outputs.insert(rounded, at: 3) }
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
