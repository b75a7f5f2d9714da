import KalsaeCompiler
import KalsaeTensors

/// A step of a loop whose graph is built only until it has proved to be the same each time.
///
///     var step = RepeatedStep()
///     for token in tokens {
///       let logits = step([token, position], slots: cache) { [network(token, position)] }
///     }
///
/// Building a graph takes longer than a small network may take for one token, and a part of each training step. When the
/// graphs of two calls with inputs of the same shapes differ in nothing but the values of the inputs, further such calls
/// run their plan at once. The graph is built again when something assigns to a slot that it reads, when precision,
/// recomputation or backend are others, and always within `Mode.training`, whose random numbers go on from call to call.
public struct RepeatedStep {
  private var known = RecentlyUsed<Setting, Known>(limit: 16)
  /// How many graphs were built so far.
  package private(set) var graphCount = 0

  public init() {}

  /// Evaluates what `graph` builds and commits `slots`, as `evaluate` does.
  ///
  /// - Parameters:
  ///   - inputs: what changes from call to call: tensors made from numbers, or evaluated before.
  ///   - graph: builds the tensors; not called once it is known what they are.
  public mutating func callAsFunction(
    _ inputs: [Tensor], slots: [Slot] = [], _ graph: () -> [Tensor]
  ) -> [Tensor] {
    guard Mode.random == nil, !GradientTrace.isActive else {
      graphCount += 1
      let tensors = graph()
      evaluate(tensors, slots: slots)
      return tensors
    }
    for (place, input) in inputs.enumerated() {
      require(input.number != nil, "RepeatedStep: input \(place) is still to be computed: evaluate it first")
    }
    let setting = Setting(specs: inputs.map(\.spec)), before = known.value(for: setting)
    if let before, before.isProven, let results = before.replay(inputs, slots: slots) { return results }
    graphCount += 1
    let tensors = graph()
    let fresh = Evaluator.shared.evaluateToRepeat(
      tensors, slots: slots, inputs: inputs, backend: Backends.current)
    if let fresh {
      known.insert(
        Known(replay: fresh, isProven: before.map { fresh.repeats($0.replay) } ?? false), for: setting)
    } else {
      known.remove(setting)
    }
    return tensors
  }

  private struct Known {
    let replay: Replay
    let isProven: Bool
  }

  /// What decides about a graph besides the code that builds it.
  private struct Setting: Hashable {
    let specs: [Spec]
    let backend = Backends.current.name
    let precision = Autocast.precision
    let recomputes = Recomputation.isOn
  }
}

extension Tensor {
  /// What an input is bound to: nil for a tensor that is still to be computed, or was computed together with others.
  fileprivate var number: Node.LeafValue? {
    if node.specs.count == 1, let storage = node.storage { return .buffer(storage[0]) }
    return switch node.leaf {
    case .buffer, .scalar: node.leaf
    case .none, .slot: nil
    }
  }
}

/// What an evaluation did, to be done again with other inputs.
struct Replay: Sendable {
  private let plan: Plan
  private let words: [UInt32]
  private let bindings: [Recording.Binding]
  /// The binding of each input, nil when nothing reads it.
  private let places: [Int?]
  /// For each output the slot that it replaces.
  private let outputs: [Slot?]
  /// The outputs that were asked for.
  private let results: [Int]
  private let slots: [Slot]

  init(_ plan: Plan, _ recording: Recording, outputs: [Slot?], results: [Int], slots: [Slot]) {
    (self.plan, words, bindings) = (plan, recording.words, recording.bindings)
    (places, self.outputs, self.slots) = (recording.inputBindings, outputs, slots)
    self.results = results
  }

  /// Whether nothing but the values of the inputs tells this evaluation from an earlier one.
  func repeats(_ other: Replay) -> Bool {
    guard plan === other.plan, words == other.words, places == other.places, results == other.results,
      slots.elementsEqual(other.slots, by: ===), outputs.elementsEqual(other.outputs, by: ===)
    else { return false }
    let free = Set(places.compactMap(\.self))
    return bindings.indices.allSatisfy { index in
      if free.contains(index) { return true }
      return switch (bindings[index], other.bindings[index]) {
      case (.buffer(let a), .buffer(let b)): a === b
      case (.scalar(let a, _), .scalar(let b, _)): a == b
      case (.slot(let a), .slot(let b)): a === b
      default: false
      }
    }
  }

  /// The tensors for other inputs of the same specs; nil when the graph would be another one by now.
  func callAsFunction(_ values: [Tensor], slots: [Slot]) -> [Tensor]? {
    guard slots.elementsEqual(self.slots, by: ===) else { return nil }
    var arguments = bindings
    for (value, place) in zip(values, places) {
      guard let place else { continue }
      switch (bindings[place], value.number) {
      case (.buffer, .buffer(let buffer)): arguments[place] = .buffer(buffer)
      case (.scalar, .scalar(let number)): arguments[place] = .scalar(number, value.dtype)
      default: return nil
      }
    }
    let backend = Backends.current
    return EvaluationThread.shared.run {
      // An assignment that waits to be committed is a graph of its own.
      let isPending = arguments.contains {
        if case .slot(let slot) = $0 { slot.pending != nil } else { false }
      }
      guard !isPending, slots.allSatisfy({ $0.pending == nil }) else { return nil }
      let buffers = Evaluator.shared.run(plan, arguments, backend: backend)
      for (buffer, slot) in zip(buffers, outputs) { slot?.commit(buffer, pending: nil) }
      return results.map { Tensor(buffers[$0], plan.outputSpecs[$0]) }
    }
  }
}
