import KalsaeTensors

/// Merges equal computations and removes those that change nothing.
package func simplify(_ graph: Graph) -> Graph {
  var result = graph
  result.instructions = []
  var alias: [Int: Int] = [:]
  var producer: [Int: Graph.Instruction] = [:]
  var known: [[UInt32]: [Int]] = [:]
  var constants: [ConstantKey: Int] = [:]
  for value in graph.sources.keys.sorted() {
    guard case .constant(let number) = graph.sources[value]! else { continue }
    let key = ConstantKey(bits: number.bitPattern, dtype: graph.specs[value].dtype)
    if let first = constants[key] { alias[value] = first } else { constants[key] = value }
  }

  for var instruction in graph.instructions {
    instruction.inputs = instruction.inputs.map { alias[$0] ?? $0 }
    // What was moved there and back has not been moved.
    shorten(&instruction, graph.specs, producer)
    if let same = unchanged(instruction, graph.specs, producer) {
      for (output, input) in zip(instruction.outputs, same) { alias[output] = input }
      continue
    }
    let key = [OpTable.shared.identifier(of: instruction.op)] + instruction.inputs.map { UInt32($0) }
    if let first = known[key] {
      for (output, other) in zip(instruction.outputs, first) { alias[output] = other }
      continue
    }
    known[key] = instruction.outputs
    for output in instruction.outputs { producer[output] = instruction }
    result.instructions.append(instruction)
  }
  result.outputs = graph.outputs.map { alias[$0] ?? $0 }
  widenResults(&result)
  result.removeDeadInstructions()
  return result
}

private struct ConstantKey: Hashable {
  let bits: UInt64, dtype: DType
}

/// The values that the outputs of `instruction` equal without any work.
private func unchanged(
  _ instruction: Graph.Instruction, _ specs: [Spec], _ producer: [Int: Graph.Instruction]
) -> [Int]? {
  let inputs = instruction.inputs
  switch instruction.op {
  case is Reshape, is Broadcast, is Transpose, is Slice:
    guard specs[inputs[0]] == specs[instruction.outputs[0]] else { return nil }
    if let op = instruction.op as? Transpose, op.permutation != op.permutation.sorted() { return nil }
    return [inputs[0]]
  case let op as Cast:
    if specs[inputs[0]].dtype == op.dtype { return [inputs[0]] }
    // A widening cast and back loses nothing.
    if let inner = producer[inputs[0]], inner.op is Cast, specs[inner.inputs[0]].dtype == op.dtype,
      widens(op.dtype, specs[inputs[0]].dtype)
    {
      return [inner.inputs[0]]
    }
    return nil
  default: return nil
  }
}

private func widens(_ narrow: DType, _ wide: DType) -> Bool {
  switch (narrow, wide) {
  case (.bfloat16, .float32), (.float16, .float32), (.int32, .int64), (.uint8, .int32), (.uint8, .int64),
    (.uint8, .float32), (.bool, .float32), (.bool, .int32):
    true
  default: false
  }
}

/// Reads through movements that the instruction makes superfluous.
private func shorten(
  _ instruction: inout Graph.Instruction, _ specs: [Spec], _ producer: [Int: Graph.Instruction]
) {
  switch instruction.op {
  case is Reshape:
    while let inner = producer[instruction.inputs[0]], inner.op is Reshape {
      instruction.inputs = inner.inputs
    }
  case let op as Transpose:
    if let inner = producer[instruction.inputs[0]], let first = inner.op as? Transpose {
      instruction.op = Transpose(permutation: op.permutation.map { first.permutation[$0] })
      instruction.inputs = inner.inputs
    }
  case is any ElementwiseOp:
    // Elementwise ops broadcast by themselves; one operand must still span the result.
    let shape = specs[instruction.outputs[0]].shape
    for index in instruction.inputs.indices {
      guard let inner = producer[instruction.inputs[index]], inner.op is Broadcast else { continue }
      var shapes = instruction.inputs.map { specs[$0].shape }
      shapes[index] = specs[inner.inputs[0]].shape
      if shapes.dropFirst().reduce(shapes[0], { Shape.broadcast($0, $1) ?? $0 }) == shape {
        instruction.inputs[index] = inner.inputs[0]
      }
    }
  default: break
  }
}

/// A product or sum of bfloat16 numbers that is only wanted in float32 is stored unrounded.
private func widenResults(_ graph: inout Graph) {
  let users = graph.users(), producers = graph.producers()
  let wanted = Set(graph.outputs)
  for index in graph.instructions.indices {
    guard let cast = graph.instructions[index].op as? Cast, cast.dtype == .float32 else { continue }
    let source = graph.instructions[index].inputs[0]
    guard graph.specs[source].dtype == .bfloat16, users[source].count == 1, !wanted.contains(source),
      let producer = producers[source]
    else { continue }
    let widened: any Op
    switch graph.instructions[producer].op {
    case is MatMul: widened = MatMul(result: .float32)
    case let op as ConvolutionWeightGradient:
      widened = ConvolutionWeightGradient(op.geometry, kernel: op.kernel, result: .float32)
    case let op as Reduce where op.kind == .sum:
      widened = Reduce(kind: .sum, axes: op.axes, result: .float32)
    default: continue
    }
    // The product takes over the cast's value; the cast is left without readers.
    let value = graph.instructions[index].outputs[0]
    graph.instructions[producer].op = widened
    graph.instructions[producer].outputs = [value]
    graph.instructions[index].op = Cast(.bfloat16)
    graph.instructions[index].inputs = [value]
    graph.instructions[index].outputs = [source]
  }
}
