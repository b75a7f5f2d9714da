import Synchronization

/// A named place for a value that changes over time: a parameter, a running statistic, optimizer state.
///
/// Assigning `value` is pending until `evaluate` commits it, in place where nothing else needs the old value.
/// Tensors read from an older version must not be evaluated afterwards; doing so traps.
public final class Slot: Sendable {
  public let spec: Spec
  private let state: Mutex<State>

  private struct State {
    var buffer: Buffer?
    var version = 0
    var pending: Tensor?
    weak var leaf: Node?
    /// What was computed from the present value alone.
    var kept: [[Int]: Buffer] = [:]
  }

  /// A slot whose first value is `initial`.
  public init(_ initial: Tensor) {
    spec = initial.spec
    state = Mutex(State(pending: initial))
    initial.node.addWaitingSlots(1)
  }

  /// The current value. Assigning traps when the shape or the element type differs.
  public var value: Tensor {
    get {
      state.withLock { state in
        if let pending = state.pending { return pending }
        if let node = state.leaf { return Tensor(node: node, index: 0) }
        let leaf = Tensor(self, version: state.version)
        state.leaf = leaf.node
        return leaf
      }
    }
    set {
      require(newValue.spec == spec, "Slot: \(newValue.spec) assigned to a slot of \(spec)")
      newValue.node.addWaitingSlots(1)
      let before = state.withLock { state in
        defer { state.pending = newValue }
        return state.pending
      }
      before?.node.addWaitingSlots(-1)
    }
  }

  /// Grows by one with each committed value.
  public var version: Int { state.withLock { $0.version } }

  package var pending: Tensor? { state.withLock { $0.pending } }

  /// The committed memory, nil before the first commit.
  package var buffer: Buffer? { state.withLock { $0.buffer } }

  /// What `make` computes from the present value alone, made once for each value and key; on the evaluation thread.
  package func kept(_ key: [Int], _ make: () -> Buffer) -> Buffer {
    if let known = state.withLock({ $0.kept[key] }) { return known }
    let made = make()
    state.withLock { $0.kept[key] = made }
    return made
  }

  /// Makes `buffer` the committed value and forgets the pending one, if it is still `pending`.
  package func commit(_ buffer: Buffer, pending: Tensor?) {
    state.withLock { state in
      state.buffer = buffer
      state.kept = [:]
      state.version += 1
      state.leaf = nil
      if let current = state.pending, let pending, current.node === pending.node,
        current.index == pending.index
      {
        pending.node.addWaitingSlots(-1)
        state.pending = nil
      }
    }
  }
}
