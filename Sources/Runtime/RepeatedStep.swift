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
/// graphs of two calls with inputs of the same shapes differ in nothing but the values of the inputs and which slots they
/// are given, further such calls run their plan at once, on other slots too. The graph is built again when something
/// assigns to a slot that it reads, when precision, recomputation or backend are others, and always within
/// `Mode.training`, whose random numbers go on from call to call.
public struct RepeatedStep: Sendable {
  private var known = RecentlyUsed<Setting, Known>(limit: 16)
  /// How many graphs were built so far.
  package private(set) var graphCount = 0

  public init() {}

  /// Evaluates what `graph` builds and commits `slots`, as `evaluate` does.
  ///
  /// - Parameters:
  ///   - inputs: what changes from call to call: tensors made from numbers, or evaluated before.
  ///   - slots: what the graph assigns to: others may be given in another call, in the same order and of the same specs.
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

  private struct Known: Sendable {
    let replay: Replay
    let isProven: Bool
  }

  /// What decides about a graph besides the code that builds it.
  private struct Setting: Hashable, Sendable {
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

/// What an evaluation did, to be done again with other inputs and slots.
struct Replay: Sendable {
  private let plan: Plan
  private let words: [UInt32]
  private let arguments: [Argument]
  /// For each output what it replaces.
  private let outputs: [Target?]
  /// The outputs that were asked for.
  private let results: [Int]
  private let slotSpecs: [Spec]

  /// What the plan reads: the same each time, or what is given by its place among inputs or slots. Nothing that is given is
  /// kept.
  private enum Argument {
    case fixed(Recording.Binding)
    case buffer(input: Int)
    case scalar(input: Int)
    case slot(Int)
  }

  private enum Target {
    case fixed(Slot)
    case slot(Int)
  }

  init(_ plan: Plan, _ recording: Recording, outputs: [Slot?], results: [Int], slots: [Slot]) {
    (self.plan, words, self.results, slotSpecs) = (plan, recording.words, results, slots.map(\.spec))
    let inputs = Dictionary(
      uniqueKeysWithValues: recording.inputBindings.enumerated().compactMap { input, binding in
        binding.map { ($0, input) }
      })
    let given = Dictionary(
      slots.enumerated().map { (ObjectIdentifier($1), $0) }, uniquingKeysWith: { first, _ in first })
    arguments = recording.bindings.enumerated().map { index, binding in
      switch (inputs[index], binding) {
      case (let input?, .buffer): return .buffer(input: input)
      case (let input?, .scalar): return .scalar(input: input)
      case (_, .slot(let slot)):
        if let place = given[ObjectIdentifier(slot)] { return .slot(place) }
        return .fixed(binding)
      default: return .fixed(binding)
      }
    }
    self.outputs = outputs.map { slot in
      slot.map { slot in given[ObjectIdentifier(slot)].map { .slot($0) } ?? .fixed(slot) }
    }
  }

  /// Whether nothing but what is given tells this evaluation from an earlier one.
  func repeats(_ other: Replay) -> Bool {
    plan === other.plan && words == other.words && results == other.results && slotSpecs == other.slotSpecs
      && arguments.elementsEqual(other.arguments, by: Self.isSame)
      && outputs.elementsEqual(other.outputs, by: Self.isSame)
  }

  private static func isSame(_ a: Argument, _ b: Argument) -> Bool {
    switch (a, b) {
    case (.buffer(let a), .buffer(let b)), (.scalar(let a), .scalar(let b)), (.slot(let a), .slot(let b)):
      a == b
    case (.fixed(.buffer(let a)), .fixed(.buffer(let b))): a === b
    case (.fixed(.scalar(let a, _)), .fixed(.scalar(let b, _))): a == b
    case (.fixed(.slot(let a)), .fixed(.slot(let b))): a === b
    default: false
    }
  }

  private static func isSame(_ a: Target?, _ b: Target?) -> Bool {
    switch (a, b) {
    case (nil, nil): true
    case (.fixed(let a), .fixed(let b)): a === b
    case (.slot(let a), .slot(let b)): a == b
    default: false
    }
  }

  /// The tensors for other inputs and slots of the same specs; nil when the graph would be another one by now.
  func callAsFunction(_ values: [Tensor], slots: [Slot]) -> [Tensor]? {
    guard slots.count == slotSpecs.count, zip(slots, slotSpecs).allSatisfy({ $0.spec == $1 }) else {
      return nil
    }
    // A slot that is given twice, or is read anyway, makes another graph.
    let given = Set(slots.lazy.map { ObjectIdentifier($0) })
    guard given.count == slots.count else { return nil }
    var bindings: [Recording.Binding] = []
    bindings.reserveCapacity(arguments.count)
    for argument in arguments {
      switch argument {
      case .fixed(let binding):
        if case .slot(let slot) = binding, given.contains(ObjectIdentifier(slot)) { return nil }
        bindings.append(binding)
      case .slot(let place): bindings.append(.slot(slots[place]))
      case .buffer(let input):
        guard case .buffer(let buffer) = values[input].number else { return nil }
        bindings.append(.buffer(buffer))
      case .scalar(let input):
        guard case .scalar(let number) = values[input].number else { return nil }
        bindings.append(.scalar(number, values[input].dtype))
      }
    }
    let backend = Backends.current
    return EvaluationThread.shared.run {
      // An assignment that waits to be committed is a graph of its own.
      let isPending = bindings.contains {
        if case .slot(let slot) = $0 { slot.pending != nil } else { false }
      }
      guard !isPending, slots.allSatisfy({ $0.pending == nil }) else { return nil }
      let buffers = Evaluator.shared.run(plan, bindings, backend: backend)
      for (buffer, target) in zip(buffers, outputs) {
        switch target {
        case .fixed(let slot): slot.commit(buffer, pending: nil)
        case .slot(let place): slots[place].commit(buffer, pending: nil)
        case nil: break
        }
      }
      return results.map { Tensor(buffers[$0], plan.outputSpecs[$0]) }
    }
  }
}
