import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One op applied to its inputs: a vertex of the graph.
///
/// Immutable but for two set-once facts: an evaluated node holds its outputs' storage, and lets go of its inputs.
package final class Node: Sendable {
  package let op: any Op
  /// Equal ops have equal identifiers, so that graphs are compared by integers.
  package let opID: UInt32
  package let specs: [Spec]
  /// Creation order; tells what was built inside a `checkpointed` closure.
  package let serial: UInt64
  package let leaf: LeafValue
  private let waiting = Atomic<Int>(0)
  private let state: Mutex<State>

  package enum LeafValue: Sendable {
    case none
    case buffer(Buffer)
    case scalar(Double)
    case slot(Slot, version: Int)
  }

  private struct State {
    var inputs: [Tensor]
    var storage: [Buffer]?

    mutating func moveInputs(to nodes: inout [Node]) {
      guard !inputs.isEmpty else { return }
      for input in inputs { nodes.append(input.node) }
      inputs = []
    }
  }

  init(_ op: any Op, opID: UInt32, _ inputs: [Tensor], _ specs: [Spec], leaf: LeafValue = .none) {
    self.op = op
    self.opID = opID
    self.specs = specs
    self.leaf = leaf
    state = Mutex(State(inputs: inputs, storage: nil))
    serial = NodeCensus.shared.enter()
  }

  /// Empty once the node has been evaluated outside a gradient.
  package var inputs: [Tensor] { state.withLock { $0.inputs } }

  /// The outputs' memory, once evaluated.
  package var storage: [Buffer]? { state.withLock { $0.storage } }

  /// The slots for which an output waits to be committed.
  package var waitingSlots: Int { waiting.load(ordering: .relaxed) }
  func addWaitingSlots(_ count: Int) { waiting.add(count, ordering: .relaxed) }

  /// Records the evaluated outputs; `keepingInputs` while a gradient is being traced through the node.
  package func complete(_ storage: [Buffer], keepingInputs: Bool) {
    var released: [Node] = []
    state.withLock { state in
      if state.storage == nil { state.storage = storage }
      if !keepingInputs { state.moveInputs(to: &released) }
    }
    Self.releaseIteratively(released)
  }

  deinit {
    NodeCensus.shared.leave()
    var released: [Node] = []
    state.withLock { $0.moveInputs(to: &released) }
    if !released.isEmpty { Self.releaseIteratively(released) }
  }

  /// Releasing a long chain node by node; the recursion of plain ARC overflows the stack at some 20,000 nodes.
  ///
  /// The array must be the only one that holds the nodes: what somebody else holds is not released here.
  private static func releaseIteratively(_ nodes: consuming [Node]) {
    var pending = consume nodes
    while var node = pending.popLast() {
      guard isKnownUniquelyReferenced(&node) else { continue }
      node.state.withLock { $0.moveInputs(to: &pending) }
    }
  }
}

/// Numbers nodes and notices a loop that builds a graph and never evaluates it.
final class NodeCensus: Sendable {
  static let shared = NodeCensus()
  private static let warning = 4_000_000, limit = 40_000_000
  private let next = Atomic<UInt64>(0), live = Atomic<Int>(0), warned = Atomic<Bool>(false)

  func enter() -> UInt64 {
    let count = live.add(1, ordering: .relaxed).newValue
    if count > Self.warning {
      if warned.exchange(true, ordering: .relaxed) == false {
        let advice = "call evaluate(...) once per step of your loop"
        var line = "kalsae: \(count) unevaluated tensors are alive: \(advice)\n"
        line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
      }
      require(
        count < Self.limit, "\(count) unevaluated tensors are alive: call evaluate(...) in your loop")
    }
    return next.add(1, ordering: .relaxed).newValue
  }

  func leave() { live.subtract(1, ordering: .relaxed) }
}

/// Gives equal ops equal numbers for the life of the process.
package final class OpTable: Sendable {
  package static let shared = OpTable()
  private let identifiers = Mutex<[Key: UInt32]>([:])

  private struct Key: Hashable {
    let op: any Op
    func hash(into hasher: inout Hasher) {
      hasher.combine(ObjectIdentifier(type(of: op)))
      op.hash(into: &hasher)
    }
    static func == (a: Key, b: Key) -> Bool { equal(a.op, b.op) }
    /// A dynamic cast would cost as much as the rest of a look-up.
    private static func equal<A: Op, B: Op>(_ a: A, _ b: B) -> Bool {
      guard A.self == B.self else { return false }
      return withUnsafePointer(to: b) { UnsafeRawPointer($0).assumingMemoryBound(to: A.self).pointee == a }
    }
  }

  package func identifier(of op: any Op) -> UInt32 {
    let key = Key(op: op)
    return identifiers.withLock { table in
      if let known = table[key] { return known }
      let fresh = UInt32(table.count)
      table[key] = fresh
      return fresh
    }
  }
}
