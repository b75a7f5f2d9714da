import KalsaeTensors

/// A pending graph read once: its structure as exact words, and what its leaves are bound to.
///
/// Two recordings with equal words compile to the same plan, whatever memory and numbers they are bound to.
package struct Recording {
  package enum Binding {
    case buffer(Buffer)
    case scalar(Double, DType)
    case slot(Slot)
  }

  package private(set) var words: [UInt32] = []
  package private(set) var bindings: [Binding] = []
  private var nodes: [Node] = []
  private var places: [ObjectIdentifier: Int] = [:]
  private var slotArguments: [ObjectIdentifier: Int] = [:]
  private let inputs: [ObjectIdentifier: Int]
  /// The binding of each input; nil when nothing reads it.
  package private(set) var inputBindings: [Int?]
  private var roots: [Tensor]
  private var replaced: [Int?] = []

  /// Walks what `roots` need; each root that replaces a slot's value names the slot. `inputs` are leaves to find again.
  package init(_ roots: [(tensor: Tensor, slot: Slot?)], inputs: [Tensor] = []) {
    inputBindings = Array(repeating: nil, count: inputs.count)
    self.inputs = Dictionary(
      inputs.enumerated().map { (ObjectIdentifier($1.node), $0) }, uniquingKeysWith: { first, _ in first })
    self.roots = roots.map(\.tensor)
    // Evaluated nodes are leaves: their inputs are gone or not needed again.
    nodes = postOrder(self.roots) { $0.storage != nil }
    places.reserveCapacity(nodes.count)
    words.reserveCapacity(nodes.count * 4)
    for node in nodes { record(node) }
    for root in roots {
      words.append(UInt32(places[ObjectIdentifier(root.tensor.node)]!))
      words.append(UInt32(root.tensor.index))
      let argument = root.slot.flatMap { slotArguments[ObjectIdentifier($0)] }
      words.append(argument.map { UInt32($0) } ?? .max)
      replaced.append(argument)
    }
  }

  private mutating func record(_ node: Node) {
    defer { places[ObjectIdentifier(node)] = places.count }
    if let storage = node.storage {
      if storage.count == 1 {
        // What was computed and what was given are the same to a plan.
        words.append(OpTable.shared.identifier(of: Leaf(spec: node.specs[0], kind: .buffer)))
        return bind(.buffer(storage[0]), node)
      }
      words.append(.max)
      words.append(UInt32(storage.count))
      for (buffer, spec) in zip(storage, node.specs) {
        words.append(OpTable.shared.identifier(of: Leaf(spec: spec, kind: .buffer)))
        bindings.append(.buffer(buffer))
      }
      return
    }
    words.append(node.opID)
    switch node.leaf {
    case .none:
      for input in node.inputs {
        words.append(
          UInt32(places[ObjectIdentifier(input.node)]!) << 8 | UInt32(truncatingIfNeeded: input.index & 0xFF))
        if input.index > 0xFF { words.append(UInt32(input.index)) }
      }
    case .buffer(let buffer): bind(.buffer(buffer), node)
    case .scalar(let value): bind(.scalar(value, node.specs[0].dtype), node)
    case .slot(let slot, let version):
      require(
        slot.version == version,
        "a tensor of an earlier version of a slot is evaluated: read `value` again after `evaluate`")
      // Two leaves of one slot are one argument, or an update in place could overwrite what the other reads.
      if let known = slotArguments[ObjectIdentifier(slot)] {
        words.append(UInt32(known))
      } else {
        slotArguments[ObjectIdentifier(slot)] = bindings.count
        words.append(UInt32(bindings.count))
        bindings.append(.slot(slot))
      }
    }
  }

  /// Whether it reads what waits to be committed to a slot, other than the values of the roots' own slots: the slot is
  /// then no binding, and another value of it is another graph.
  package func readsPending(_ roots: [(tensor: Tensor, slot: Slot?)]) -> Bool {
    var own: [ObjectIdentifier: Int] = [:]
    for root in roots where root.slot != nil { own[ObjectIdentifier(root.tensor.node), default: 0] += 1 }
    return nodes.contains { $0.waitingSlots > own[ObjectIdentifier($0), default: 0] }
  }

  private mutating func bind(_ binding: Binding, _ leaf: Node) {
    if !inputs.isEmpty, let input = inputs[ObjectIdentifier(leaf)] { inputBindings[input] = bindings.count }
    bindings.append(binding)
  }

  /// The graph of this recording; called only when no plan for its words is known.
  package func graph() -> Graph {
    var graph = Graph()
    var values: [[Int]] = []
    var argument = 0
    var slotValues: [Int: Int] = [:]
    for node in nodes {
      if node.storage != nil {
        values.append(
          node.specs.map { spec in
            defer { argument += 1 }
            return graph.addSource(.argument(argument), spec)
          })
        continue
      }
      switch node.leaf {
      case .none:
        let inputs = node.inputs.map { values[places[ObjectIdentifier($0.node)]!][$0.index] }
        values.append(graph.append(node.op, inputs, node.specs))
      case .slot(let slot, _):
        let place = slotArguments[ObjectIdentifier(slot)]!
        if let known = slotValues[place] {
          values.append([known])
        } else {
          let value = graph.addSource(.argument(place), node.specs[0])
          slotValues[place] = value
          values.append([value])
          argument += 1
        }
      case .buffer, .scalar:
        values.append([graph.addSource(.argument(argument), node.specs[0])])
        argument += 1
      }
    }
    graph.outputs = roots.map { values[places[ObjectIdentifier($0.node)]!][$0.index] }
    graph.replacedArguments = replaced
    graph.slotArguments = Set(slotArguments.values)
    return graph
  }
}
