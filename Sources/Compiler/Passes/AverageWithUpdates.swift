import KalsaeTensors

/// Lets an update keep the moving averages of its parameters, which are then not read again for that.
package func averageWithUpdates(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users()
  var replaced: [Int: [Graph.Instruction]] = [:]
  for (index, average) in graph.instructions.enumerated() {
    guard let op = average.op as? AverageUpdate else { continue }
    let lists = average.inputs[AverageUpdate.scalarCount...]
    let averages = Array(lists.prefix(op.count)), sources = lists.suffix(op.count)
    let pairs = Dictionary(zip(sources, 0...)) { first, _ in first }
    var left = Set(averages.indices)
    var updates: [Graph.Instruction] = []
    for (place, update) in graph.instructions[..<index].enumerated() where replaced[place] == nil {
      guard let adam = update.op as? AdamUpdate,
        update.inputs[AdamUpdate.conditionIndex] == average.inputs[1],
        update.outputs.allSatisfy({ users[$0].allSatisfy { $0 >= index } })
      else { continue }
      let taken = update.outputs[..<adam.count].compactMap { pairs[$0] }
      guard taken.count == adam.count, left.isSuperset(of: taken) else { continue }
      left.subtract(taken)
      updates.append(
        .init(
          op: AveragedAdamUpdate(adam: adam),
          inputs: update.inputs + [average.inputs[0]] + taken.map { averages[$0] },
          outputs: update.outputs + taken.map { average.outputs[$0] }))
      replaced[place] = []
    }
    guard !updates.isEmpty else { continue }
    let others = left.sorted()
    if !others.isEmpty {
      updates.append(
        .init(
          op: AverageUpdate(count: others.count),
          inputs: average.inputs.prefix(AverageUpdate.scalarCount) + others.map { averages[$0] }
            + others.map { lists[lists.startIndex + op.count + $0] },
          outputs: others.map { average.outputs[$0] }))
    }
    replaced[index] = updates
  }
  result.instructions = graph.instructions.enumerated().flatMap { replaced[$0.offset] ?? [$0.element] }
  return result
}
