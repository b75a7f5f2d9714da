import KalsaeTensors

/// Takes casts of slots out of the plan, if it leaves the slots as they are: the converted value is kept with the slot
/// until that changes, so that weights are not converted anew by every call of a network.
///
/// A slice or another movement between the slot and the cast goes behind it: all of them then read one conversion. So it
/// does where the plan changes the slot and all of it is converted: as it lies in memory, not across its rows.
package func keepConversions(_ graph: Graph) -> Graph {
  var result = graph
  result.instructions = []
  let producers = graph.producers()
  var keptOf: [Key: Int] = [:], replacements: [Int: Int] = [:]
  for instruction in graph.instructions {
    guard let cast = instruction.op as? Cast else {
      result.instructions.append(instruction)
      continue
    }
    var movements: [Graph.Instruction] = []
    var value = instruction.inputs[0]
    while let place = producers[value], graph.instructions[place].op.isMovement {
      movements.append(graph.instructions[place])
      value = graph.instructions[place].inputs[0]
    }
    let unchanged = graph.unchangedSlot(value)
    let isWhole = graph.specs[value].shape.count == graph.specs[instruction.inputs[0]].shape.count
    guard let argument = unchanged ?? (isWhole ? graph.slot(value) : nil) else {
      result.instructions.append(instruction)
      continue
    }
    let key = Key(argument: argument, dtype: cast.dtype)
    if keptOf[key] == nil {
      let slot = graph.specs[value], spec = Spec(slot.shape, cast.dtype)
      if unchanged == nil {
        keptOf[key] = result.append(cast, [value], [spec])[0]
      } else {
        keptOf[key] = result.addSource(.kept(result.kept.count), spec)
        result.kept.append(Graph.Kept(op: cast, argument: argument, input: slot, output: spec))
      }
    }
    var moved = keptOf[key]!
    for movement in movements.reversed() {
      let spec = Spec(graph.specs[movement.outputs[0]].shape, cast.dtype)
      moved = result.append(movement.op, [moved], [spec])[0]
    }
    replacements[instruction.outputs[0]] = moved
  }
  result.substitute(replacements)
  return result
}

private struct Key: Hashable {
  let argument: Int, dtype: DType
}

extension Graph {
  /// The argument that `value` is, if that is a slot which the plan leaves as it is.
  func unchangedSlot(_ value: Int) -> Int? {
    slot(value).flatMap { replacedArguments.contains($0) ? nil : $0 }
  }

  /// The argument that `value` is, if that is a slot.
  fileprivate func slot(_ value: Int) -> Int? {
    guard case .argument(let argument) = sources[value], slotArguments.contains(argument) else { return nil }
    return argument
  }
}

extension Op {
  /// Whether the result has the elements of the only operand, and a view of it.
  var isMovement: Bool { self is Reshape || self is Transpose || self is Slice }
}
