import KalsaeCompiler
import KalsaeTensors

/// A step of a loop whose graph is built only until it has proved to be the same each time.
///
///     var step = RepeatedStep()
///     for token in tokens {
///       let logits = step([token, position], slots: cache) { [network(token, position)] }
///     }
///
/// Building a graph takes longer than a small network may take for one token. When the graphs of two calls in succession
/// differ in nothing but the values of the inputs, further calls run their plan at once. The graph is built again when
/// something assigns to a slot that it reads, or when precision, mode or backend are others.
public struct RepeatedStep {
  private var last: Replay?
  private var isProven = false
  private var context: Context?

  public init() {}

  /// Evaluates what `graph` builds and commits `slots`, as `evaluate` does.
  ///
  /// - Parameters:
  ///   - inputs: tensors made from numbers, whose values change from call to call.
  ///   - graph: builds the tensors; not called once it is known what they are.
  public mutating func callAsFunction(
    _ inputs: [Tensor], slots: [Slot] = [], _ graph: () -> [Tensor]
  ) -> [Tensor] {
    let present = Context()
    if isProven, present == context, let known = last?(inputs, slots: slots) { return known }
    let tensors = graph()
    guard !GradientTrace.isActive else {
      evaluate(tensors, slots: slots)
      return tensors
    }
    let fresh = Evaluator.shared.evaluateToRepeat(
      tensors, slots: slots, inputs: inputs, backend: Backends.current)
    isProven = if let fresh, let last { present == context && fresh.repeats(last) } else { false }
    (last, context) = (fresh, present)
    return tensors
  }

  /// What decides about a graph besides the code that builds it.
  private struct Context: Equatable {
    let backend = Backends.current.name
    let precision = Autocast.precision
    let random = Mode.random.map(ObjectIdentifier.init)
  }
}

/// What an evaluation did, to be done again with other inputs.
struct Replay: Sendable {
  private let plan: Plan
  private let words: [UInt32]
  private let bindings: [Recording.Binding]
  /// The binding of each input, nil when nothing reads it, and what it is.
  private let places: [Int?], specs: [Spec]
  /// For each output the slot that it replaces.
  private let outputs: [Slot?]
  private let slots: [Slot]

  init(_ plan: Plan, _ recording: Recording, inputs: [Tensor], outputs: [Slot?], slots: [Slot]) {
    (self.plan, words, bindings) = (plan, recording.words, recording.bindings)
    (places, specs) = (recording.inputBindings, inputs.map(\.spec))
    (self.outputs, self.slots) = (outputs, slots)
  }

  /// Whether nothing but the values of the inputs tells this evaluation from an earlier one.
  func repeats(_ other: Replay) -> Bool {
    guard plan === other.plan, words == other.words, places == other.places, specs == other.specs,
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

  /// The tensors for other inputs; nil when the graph would be another one by now.
  func callAsFunction(_ values: [Tensor], slots: [Slot]) -> [Tensor]? {
    guard specs.elementsEqual(values, by: { $0 == $1.spec }), slots.elementsEqual(self.slots, by: ===) else {
      return nil
    }
    var arguments = bindings
    for (value, place) in zip(values, places) {
      guard let place else { continue }
      switch (bindings[place], value.node.leaf) {
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
      var results: [Tensor] = []
      let buffers = Evaluator.shared.run(plan, arguments, backend: backend)
      for ((buffer, spec), slot) in zip(zip(buffers, plan.outputSpecs), outputs) {
        if let slot { slot.commit(buffer, pending: nil) } else { results.append(Tensor(buffer, spec)) }
      }
      return results
    }
  }
}
