import KalsaeTensors

/// Orders instructions so that little memory is live at once.
///
/// The graph's own order runs the gradients of weights last, when all activations and their gradients would still be
/// alive. Whatever only feeds updates and wanted values is therefore run as soon as its operands exist: first what leads
/// to the gradient of one parameter alone, which then lets go of its operands, then what leads to others. So are updates of
/// a cache: the keys and values of a prompt are at hand when they are stored, and their layer's memory is the next one's.
package func schedule(_ graph: Graph) -> Graph {
  let users = graph.users(), producers = graph.producers()
  let count = graph.instructions.count
  var isEager = [Bool](repeating: false, count: count)
  for index in (0..<count).reversed() {
    let instruction = graph.instructions[index]
    if instruction.op is UpdateSlice {
      // Into a cache whose old contents nothing else reads: what it copies need not wait for the end.
      isEager[index] = users[instruction.inputs[0]] == [index]
      continue
    }
    if readsGradients(instruction.op) { continue }
    isEager[index] = instruction.outputs.allSatisfy { output in
      users[output].allSatisfy { readsGradients(graph.instructions[$0].op) || isEager[$0] }
    }
  }

  let isLast = leadsToOneUpdate(graph, users)
  var missing = graph.instructions.map { Set($0.inputs.compactMap { producers[$0] }).count }
  var done = [Bool](repeating: false, count: count)
  var order: [Int] = []
  order.reserveCapacity(count)
  func run(_ first: Int) {
    var ready = [first]
    while let index = ready.popLast() {
      if done[index] { continue }
      done[index] = true
      order.append(index)
      var readers: Set<Int> = []
      for output in graph.instructions[index].outputs { readers.formUnion(users[output]) }
      for reader in readers.sorted(by: { (isLast[$0] ? 1 : 0, $1) < (isLast[$1] ? 1 : 0, $0) }) {
        missing[reader] -= 1
        if missing[reader] == 0, isEager[reader] { ready.append(reader) }
      }
    }
  }
  for index in 0..<count where !done[index] {
    require(missing[index] == 0, "schedule: instruction \(index) before its operands")
    run(index)
  }
  var result = graph
  result.instructions = order.map { graph.instructions[$0] }
  return result
}

/// Whether the op reads the gradients of many parameters at the end.
private func readsGradients(_ op: any Op) -> Bool {
  op is any InPlaceOp || op is SumOfSquares || op is SumOfSquaresAndTerms
}

/// Takes the sum of squares of a gradient of 256 KiB or more as soon as it is computed, while it is in the caches, and adds it to that of
/// the others later.
package func squareEarly(_ graph: Graph) -> Graph {
  var result = graph
  let producers = graph.producers()
  for index in graph.instructions.indices.reversed() where graph.instructions[index].op is SumOfSquares {
    let inputs = graph.instructions[index].inputs
    let large = inputs.filter { graph.specs[$0].byteCount >= 1 << 18 && producers[$0] != nil }
    guard inputs.count > 1, !large.isEmpty else { continue }
    let terms = large.map { _ in result.addValue(Spec([], .float32)) }
    result.instructions[index].op = SumOfSquaresAndTerms(termCount: terms.count)
    result.instructions[index].inputs = inputs.filter { !large.contains($0) } + terms
    result.instructions.insert(
      contentsOf: zip(large, terms).map { .init(op: SquaresOfOne(), inputs: [$0], outputs: [$1]) }, at: index)
  }
  return result
}

/// For each instruction, whether a single value that an update reads depends on it.
private func leadsToOneUpdate(_ graph: Graph, _ users: [[Int]]) -> [Bool] {
  /// The one value; -1: several, or what is no update's.
  var target = [Int?](repeating: nil, count: graph.instructions.count)
  for (index, instruction) in graph.instructions.enumerated().reversed() {
    var reached: Int?
    for output in instruction.outputs {
      for user in users[output] {
        let op = graph.instructions[user].op
        let next = readsGradients(op) || op is SquaresOfOne ? output : target[user] ?? -1
        reached = reached == nil || reached == next ? next : -1
      }
    }
    target[index] = reached
  }
  return target.map { $0 != nil && $0 != -1 }
}
