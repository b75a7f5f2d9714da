import KalsaeTensors

/// Where slices are all that is read of a value, computes nothing else of it: they are taken of its operands.
///
/// So a language model that reads a prompt computes its last layer's queries, products and network for the last position
/// alone, and a classifier those of its class token: nearly one of twelve layers less.
package func takeSlicesEarly(_ graph: Graph) -> Graph {
  // The queries of one position are some columns of its row: slices along one axis, then along the other.
  takeSlicesOnce(takeSlicesOnce(graph))
}

private func takeSlicesOnce(_ graph: Graph) -> Graph {
  var result = graph
  // Against the order of execution: every reader of a value is known when its instruction comes.
  var reversed: [Graph.Instruction] = []
  var readWhole = Set(graph.outputs)
  var slices: [Int: [AxisSlice: Int]] = [:]

  /// The value that is this slice of `value`.
  func sliced(_ value: Int, _ slice: AxisSlice) -> Int {
    if let known = slices[value]?[slice] { return known }
    var spec = graph.specs[value]
    spec.shape.dimensions[slice.axis] = slice.count
    let new = result.addValue(spec)
    slices[value, default: [:]][slice] = new
    return new
  }

  func takeSlices(of value: Int) {
    for (slice, output) in (slices.removeValue(forKey: value) ?? [:]).sorted(by: { $0.value > $1.value }) {
      let op = slice.op(graph.specs[value].shape.dimensions)
      reversed.append(.init(op: op, inputs: [value], outputs: [output]))
    }
  }

  /// The ops that compute the slices of an instruction's first output, if that is less than all of it and nothing else of
  /// the instruction is read.
  func parts(_ instruction: Graph.Instruction) -> [(op: any Op, operands: [AxisSlice?], output: Int)]? {
    let value = instruction.outputs[0]
    guard let wanted = slices[value], instruction.outputs.allSatisfy({ !readWhole.contains($0) }),
      instruction.outputs.dropFirst().allSatisfy({ slices[$0] == nil }),
      wanted.count == 1
        || wanted.values.reduce(0, { $0 + result.specs[$1].shape.count })
          < graph.specs[value].shape.count + (isConvertedSource(instruction) ? 1 : 0)
    else { return nil }
    var parts: [(op: any Op, operands: [AxisSlice?], output: Int)] = []
    for (slice, output) in wanted.sorted(by: { $0.value > $1.value }) {
      guard let (op, operands) = narrowed(instruction, to: slice, graph.specs) else { return nil }
      parts.append((op, operands, output))
    }
    return parts
  }

  /// A bias that was rounded in parts can be found as it was by what adds a part of it.
  func isConvertedSource(_ instruction: Graph.Instruction) -> Bool {
    instruction.op is Cast && graph.sources[instruction.inputs[0]] != nil
  }

  for instruction in graph.instructions.reversed() {
    if let parts = parts(instruction) {
      slices[instruction.outputs[0]] = nil
      for (op, operands, output) in parts {
        let inputs = zip(instruction.inputs, operands).map { input, slice in
          if let slice { return sliced(input, slice) }
          readWhole.insert(input)
          return input
        }
        guard let specs = try? op.outputs(inputs.map { result.specs[$0] }) else {
          fatalError("takeSlicesEarly: \(op) rejects the slices of its operands")
        }
        let others = specs.dropFirst().map { result.addValue($0) }
        reversed.append(.init(op: op, inputs: inputs, outputs: [output] + others))
      }
      continue
    }
    instruction.outputs.forEach(takeSlices)
    if let op = instruction.op as? Slice,
      let slice = AxisSlice(op, graph.specs[instruction.inputs[0]].shape),
      slices[instruction.inputs[0]]?[slice] == nil
    {
      slices[instruction.inputs[0], default: [:]][slice] = instruction.outputs[0]
    } else {
      reversed.append(instruction)
      readWhole.formUnion(instruction.inputs)
    }
  }
  for source in slices.keys.sorted() { takeSlices(of: source) }
  result.instructions = reversed.reversed()
  result.removeDeadInstructions()
  return result
}

/// A slice along one axis.
private struct AxisSlice: Hashable {
  var axis: Int, start: Int, step: Int, count: Int
}

extension AxisSlice {
  /// Nil when `slice` narrows no axis, or more than one.
  init?(_ slice: Slice, _ shape: Shape) {
    let narrowed = shape.dimensions.indices.filter {
      slice.end[$0] - slice.start[$0] < shape[$0] || slice.step[$0] > 1
    }
    guard narrowed.count == 1, let axis = narrowed.first else { return nil }
    let (start, step) = (slice.start[axis], slice.step[axis])
    self.init(axis: axis, start: start, step: step, count: (slice.end[axis] - start + step - 1) / step)
  }

  func op(_ extents: [Int]) -> Slice {
    var start = extents.map { _ in 0 }, end = extents, step = extents.map { _ in 1 }
    (start[axis], step[axis]) = (self.start, self.step)
    end[axis] = count == 0 ? self.start : self.start + (count - 1) * self.step + 1
    return Slice(start: start, end: end, step: step)
  }

  func along(_ axis: Int) -> AxisSlice { AxisSlice(axis: axis, start: start, step: step, count: count) }
}

/// The op that computes this slice of the instruction's first output, and the slice that it reads of each operand (nil for
/// all of one); nil when it must compute the output whole.
private func narrowed(
  _ instruction: Graph.Instruction, to slice: AxisSlice, _ specs: [Spec]
) -> (op: any Op, operands: [AxisSlice?])? {
  let inputs = instruction.inputs.map { specs[$0].shape }, output = specs[instruction.outputs[0]].shape
  var first = [AxisSlice?](repeating: nil, count: inputs.count)
  switch instruction.op {
  case let op as any ElementwiseOp:
    let operands = inputs.map { shape -> AxisSlice? in
      let axis = slice.axis - (output.rank - shape.rank)
      return axis < 0 || shape[axis] == 1 ? nil : slice.along(axis)
    }
    return (op, operands)
  case let op as MatMul:
    // Rows of the product are products of rows, and columns of columns.
    guard slice.axis >= output.rank - 2 else { return nil }
    let operand = slice.axis - (output.rank - 2)
    first[operand] = slice.along(inputs[operand].rank - 2 + operand)
    return (op, first)
  case is LayerNormalization, is RMSNormalization, is Softmax, is LogSoftmax:
    guard slice.axis < output.rank - 1 else { return nil }
    first[0] = slice
    return (instruction.op, first)
  case let op as ScaledDotProductAttention:
    // Causal queries are the last ones of the keys' positions.
    let isEnd = slice.step == 1 && slice.start + slice.count == output[1]
    guard slice.axis == 1, op.dropout == nil, isEnd || !op.isCausal else { return nil }
    first[0] = slice
    if let mask = inputs.dropFirst(3).first, mask.rank >= 2, mask[-2] > 1 {
      first[3] = slice.along(mask.rank - 2)
    }
    return (op, first)
  case let op as Transpose:
    return (op, [slice.along(op.permutation[slice.axis])])
  case let op as Slice:
    guard op.start[slice.axis] == 0, output[slice.axis] == inputs[0][slice.axis] else { return nil }
    var end = op.end
    end[slice.axis] = slice.count
    return (Slice(start: op.start, end: end, step: op.step), [slice])
  case is Reshape:
    guard let source = beforeReshape(slice, from: inputs[0].dimensions, to: output.dimensions) else {
      return nil
    }
    var shape = output
    shape.dimensions[slice.axis] = slice.count
    return (Reshape(shape: shape), [source])
  default: return nil
  }
}

/// The slice of a tensor of extents `before` that holds the same elements as `slice` of it reshaped to `after`.
private func beforeReshape(_ slice: AxisSlice, from before: [Int], to after: [Int]) -> AxisSlice? {
  let extent = after[slice.axis]
  let inner = after[(slice.axis + 1)...].reduce(1, *)  // elements that one index of the axis stands for
  for axis in before.indices {
    let elements = before[(axis + 1)...].reduce(1, *)
    guard elements == inner else { continue }
    if before[axis] == extent { return slice.along(axis) }
    // (B, T, ...) was (B T, ...): one of T is every T-th of B T.
    if slice.count == 1, before[axis] % extent == 0, before[axis] > extent {
      return AxisSlice(axis: axis, start: slice.start, step: extent, count: before[axis] / extent)
    }
    // (B T, ...) was (B, T, ...): every T-th of B T is one of T.
    if before[axis] == slice.step, slice.start < slice.step, slice.count * slice.step == extent {
      return AxisSlice(axis: axis, start: slice.start, step: 1, count: 1)
    }
  }
  return nil
}
