import KalsaeTensors

/// Makes a sum of parts, each padded with zeros to its place along one axis, their concatenation.
///
/// So ends the gradient of a tensor that was split: every element of the result is written once, not padded and added
/// for each part.
package func joinParts(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  func isInner(_ value: Int) -> Bool { users[value].count == 1 && !wanted.contains(value) }
  /// The padded parts that `value` is the sum of; nil when it is a sum of anything else.
  func parts(_ value: Int, isRoot: Bool = false) -> [(input: Int, pad: Pad)]? {
    guard isRoot || isInner(value), let producer = producers[value] else { return nil }
    let instruction = graph.instructions[producer]
    switch instruction.op {
    case let op as Binary where op.kind == .add && instruction.inputs[0] != instruction.inputs[1]:
      guard instruction.inputs.allSatisfy({ graph.specs[$0] == graph.specs[value] }),
        let first = parts(instruction.inputs[0]), let second = parts(instruction.inputs[1])
      else { return nil }
      return first + second
    case let op as Pad:
      return op.hasValue ? nil : [(instruction.inputs[0], op)]
    default: return nil
    }
  }
  var inside: Set<Int> = []
  for index in graph.instructions.indices.reversed() where !inside.contains(index) {
    let sum = graph.instructions[index].outputs[0]
    guard graph.instructions[index].op is Binary, let parts = parts(sum, isRoot: true),
      let (axis, inputs) = joined(parts, graph, extents: graph.specs[sum].shape.dimensions)
    else { continue }
    result.instructions[index].op = Concatenate(axis: axis)
    result.instructions[index].inputs = inputs
    var stack = graph.instructions[index].inputs
    while let place = stack.popLast().flatMap({ producers[$0] }) {
      guard inside.insert(place).inserted, graph.instructions[place].op is Binary else { continue }
      stack += graph.instructions[place].inputs
    }
  }
  result.removeDeadInstructions()
  return result
}

/// The axis along which the parts fill these extents, and the parts in their order.
private func joined(_ parts: [(input: Int, pad: Pad)], _ graph: Graph, extents: [Int]) -> (
  axis: Int, inputs: [Int]
)? {
  func isPadded(_ pad: Pad, _ axis: Int) -> Bool { pad.low[axis] != 0 || pad.high[axis] != 0 }
  guard let axis = extents.indices.first(where: { isPadded(parts[0].pad, $0) }) else { return nil }
  var end = 0
  let ordered = parts.sorted { $0.pad.low[axis] < $1.pad.low[axis] }
  for (input, pad) in ordered {
    guard pad.low[axis] == end, pad.interior.allSatisfy({ $0 == 0 }),
      extents.indices.allSatisfy({ $0 == axis || !isPadded(pad, $0) })
    else { return nil }
    end += graph.specs[input].shape.dimensions[axis]
  }
  return end == extents[axis] ? (axis, ordered.map(\.input)) : nil
}

/// (a b)^T = b^T a^T: the transposes of operands are views, that of a product would be a copy.
package func transposeOperands(_ graph: Graph) -> Graph {
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  var result = graph
  result.instructions = []
  for (index, instruction) in graph.instructions.enumerated() {
    guard let op = instruction.op as? Transpose, isMatrixTranspose(op.permutation),
      let place = producers[instruction.inputs[0]], graph.instructions[place].op is MatMul,
      users[instruction.inputs[0]] == [index], !wanted.contains(instruction.inputs[0])
    else {
      result.instructions.append(instruction)
      continue
    }
    let operands = graph.instructions[place].inputs.reversed().map { operand -> Int in
      var value = operand, permutation = matrixTranspose(graph.specs[operand].shape.rank)
      if let producer = producers[operand], let inner = graph.instructions[producer].op as? Transpose {
        value = graph.instructions[producer].inputs[0]
        permutation = permutation.map { inner.permutation[$0] }
      }
      if permutation == permutation.sorted() { return value }
      let source = graph.specs[value]
      let shape = Shape(permutation.map { source.shape.dimensions[$0] })
      return result.append(Transpose(permutation: permutation), [value], [Spec(shape, source.dtype)])[0]
    }
    result.instructions.append(
      .init(op: graph.instructions[place].op, inputs: operands, outputs: instruction.outputs))
  }
  result.removeDeadInstructions()
  return result
}

/// The cast of a transposed matrix becomes the transpose of a cast, which reads and writes whole rows, where products
/// read the result: they take it either way.
package func castBeforeTransposing(_ graph: Graph) -> Graph {
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  var result = graph
  result.instructions = []
  for var instruction in graph.instructions {
    if let cast = instruction.op as? Cast, let place = producers[instruction.inputs[0]],
      let transpose = graph.instructions[place].op as? Transpose, isMatrixTranspose(transpose.permutation),
      !wanted.contains(instruction.outputs[0]),
      users[instruction.outputs[0]].allSatisfy({ isProductOrTranspose(graph.instructions[$0].op) })
    {
      let source = graph.instructions[place].inputs[0]
      let dense = result.append(cast, [source], [Spec(graph.specs[source].shape, cast.dtype)])
      instruction.op = transpose
      instruction.inputs = dense
    }
    result.instructions.append(instruction)
  }
  result.removeDeadInstructions()
  return result
}

private func isProductOrTranspose(_ op: any Op) -> Bool {
  op is MatMul || (op as? Transpose).map { isMatrixTranspose($0.permutation) } ?? false
}

private func matrixTranspose(_ rank: Int) -> [Int] { Array(0..<rank - 2) + [rank - 1, rank - 2] }

private func isMatrixTranspose(_ permutation: [Int]) -> Bool {
  permutation.count >= 2 && permutation == matrixTranspose(permutation.count)
}

/// y + scatter(updates) scatters its updates into y: of a large embedding's gradient only the rows of the batch change.
package func scatterIntoSums(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  for (index, instruction) in graph.instructions.enumerated() {
    guard (instruction.op as? Binary)?.kind == .add, instruction.inputs[0] != instruction.inputs[1] else {
      continue
    }
    for (scattered, base) in [(1, 0), (0, 1)].map({ (instruction.inputs[$0], instruction.inputs[$1]) }) {
      guard let place = producers[scattered], users[scattered] == [index], !wanted.contains(scattered),
        let op = graph.instructions[place].op as? ScatterAdd, !op.hasBase,
        graph.specs[base] == graph.specs[instruction.outputs[0]],
        graph.specs[base] == graph.specs[scattered], producers[base] != nil
      else { continue }
      result.instructions[index].op = ScatterAdd(axis: op.axis, extent: op.extent, hasBase: true)
      result.instructions[index].inputs = graph.instructions[place].inputs + [base]
      break
    }
  }
  result.removeDeadInstructions()
  return result
}
