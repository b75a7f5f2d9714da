import KalsaeTensors

/// Joins elementwise ops into chains, so that intermediate values stay in registers.
///
/// Walking backwards, an op joins the chain of its readers when they all belong to one chain of the same shape; a
/// chain therefore has one result, and nothing outside it lies between its members.
package func fuseElementwise(_ graph: Graph) -> Graph {
  let users = graph.users(), wanted = Set(graph.outputs)
  var chainOf = [Int?](repeating: nil, count: graph.instructions.count)
  var members: [[Int]] = []
  var inputsOf: [Set<Int>] = []
  var dtypeClass: [Bool] = []
  // The mask of a dropout and the factor of a gate take places among the inputs.
  var extras: [Int] = []
  for index in graph.instructions.indices.reversed() {
    let instruction = graph.instructions[index]
    guard FusedElementwise.code(of: instruction.op) != nil else { continue }
    let output = instruction.outputs[0]
    let integer = computesInIntegers(instruction, graph)
    let extra = instruction.op is RandomDropout || instruction.op is GatedScale ? 1 : 0
    let chains = Set(users[output].map { chainOf[$0] })
    if chains.count == 1, let chain = chains.first!, !wanted.contains(output), dtypeClass[chain] == integer,
      graph.specs[output].shape == graph.specs[graph.instructions[members[chain][0]].outputs[0]].shape,
      !truncates(instruction, graph), members[chain].count < FusedLimits.steps,
      inputsOf[chain].subtracting([output]).union(instruction.inputs).count + extras[chain]
        + extra <= FusedLimits.inputs
    {
      chainOf[index] = chain
      members[chain].append(index)
      extras[chain] += extra
      inputsOf[chain].remove(output)
      inputsOf[chain].formUnion(instruction.inputs)
    } else {
      chainOf[index] = members.count
      members.append([index])
      extras.append(extra)
      inputsOf.append(Set(instruction.inputs))
      dtypeClass.append(integer)
    }
  }

  var result = graph
  result.instructions = []
  for (index, instruction) in graph.instructions.enumerated() {
    guard let chain = chainOf[index] else {
      result.instructions.append(instruction)
      continue
    }
    // The chain stands where its last member stood: all its inputs are computed by then.
    if members[chain][0] == index {
      result.instructions.append(fused(members[chain].reversed(), graph, isInteger: dtypeClass[chain]))
    }
  }
  return result
}

/// The capacity of the kernel that runs chains.
package enum FusedLimits {
  package static let inputs = 12
  package static let steps = 24
}

/// Whether an op must be computed in integers to be exact.
private func computesInIntegers(_ instruction: Graph.Instruction, _ graph: Graph) -> Bool {
  func isInteger(_ value: Int) -> Bool {
    switch graph.specs[value].dtype {
    case .int32, .int64, .uint8: true
    default: false
    }
  }
  if instruction.op is RandomDropout { return false }
  let output = instruction.outputs[0]
  if instruction.op is Cast {
    return isInteger(instruction.inputs[0]) && (isInteger(output) || graph.specs[output].dtype == .bool)
      || graph.specs[instruction.inputs[0]].dtype == .bool && isInteger(output)
  }
  return isInteger(output) || instruction.inputs.contains(where: isInteger)
}

/// A cast to integers rounds; its result is only right once stored.
private func truncates(_ instruction: Graph.Instruction, _ graph: Graph) -> Bool {
  guard let cast = instruction.op as? Cast else { return false }
  let source = graph.specs[instruction.inputs[0]].dtype
  return !cast.dtype.isFloatingPoint && source != .bool && source != cast.dtype
}

private func fused(_ members: [Int], _ graph: Graph, isInteger: Bool) -> Graph.Instruction {
  let inside = Set(members.map { graph.instructions[$0].outputs[0] })
  var inputs: [Int] = []
  for member in members {
    for input in graph.instructions[member].inputs where !inside.contains(input) && !inputs.contains(input) {
      inputs.append(input)
    }
  }
  var place: [Int: Int] = [:]
  for (index, input) in inputs.enumerated() { place[input] = index }
  var steps: [FusedElementwise.Step] = []
  for member in members {
    let instruction = graph.instructions[member], output = instruction.outputs[0]
    steps.append(
      .init(
        code: FusedElementwise.code(of: instruction.op)!, operands: instruction.inputs.map { place[$0]! },
        dtype: graph.specs[output].dtype))
    place[output] = inputs.count + steps.count - 1
  }
  let output = graph.instructions[members.last!].outputs[0]
  let op = FusedElementwise(
    inputCount: inputs.count, steps: steps, shape: graph.specs[output].shape, isInteger: isInteger)
  return Graph.Instruction(op: op, inputs: inputs, outputs: [output])
}
