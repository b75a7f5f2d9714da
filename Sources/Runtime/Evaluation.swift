import KalsaeCompiler
import KalsaeTensors
import Synchronization

/// Computes tensors, and commits the pending values of slots, as one plan.
///
/// The plan is compiled when a graph of this structure is first seen, and reused afterwards.
public func evaluate(_ tensors: Tensor..., slots: [Slot] = []) { evaluate(tensors, slots: slots) }

/// Computes tensors, and commits the pending values of slots, as one plan.
public func evaluate(_ tensors: [Tensor], slots: [Slot] = []) {
  Evaluator.shared.evaluate(tensors, slots: slots, backend: Backends.current)
}

/// Compiles and runs graphs, and keeps their plans.
package final class Evaluator: Sendable {
  package static let shared = Evaluator()
  /// Few enough that a program which never repeats a graph does not keep every plan it ever made.
  private let plans = Mutex(RecentlyUsed<PlanKey, Plan>(limit: 512))
  /// Used on the evaluation thread only.
  private let arena = Arena()
  private let nanoseconds = Atomic<Int>(0)

  /// The seconds that the plans of this process have run; what else an evaluation takes is the host's.
  package var secondsInPlans: Double { Double(nanoseconds.load(ordering: .relaxed)) / 1e9 }

  private struct PlanKey: Hashable {
    let backend: String
    let words: [UInt32]
  }

  /// Computes tensors and commits slots; `excluded` passes are left out, for tests, and such a plan is not kept.
  package func evaluate(
    _ tensors: [Tensor], slots: [Slot] = [], backend: any Backend, without excluded: OptionalPasses = []
  ) {
    let keepsGraph = GradientTrace.isActive
    EvaluationThread.shared.run {
      let request = Request(tensors, slots)
      guard !request.roots.isEmpty else { return }
      let recording = Recording(request.roots)
      let plan = self.plan(for: recording, backend: backend, without: excluded)
      run(plan, recording, request, backend: backend, keepsGraph: keepsGraph)
    }
  }

  /// Evaluates as usual, and says how to do so again with other values of `inputs`; nil when nothing was to be done, when
  /// two inputs are one tensor, or when it depends on what waits to be committed.
  func evaluateToRepeat(
    _ tensors: [Tensor], slots: [Slot], inputs: [Tensor], backend: any Backend
  ) -> Replay? {
    EvaluationThread.shared.run {
      let request = Request(tensors, slots)
      // Repeating makes one new tensor for each of `tensors`.
      let results = tensors.compactMap { tensor in
        request.roots.firstIndex {
          $0.slot == nil && $0.tensor.node === tensor.node && $0.tensor.index == tensor.index
        }
      }
      guard !request.roots.isEmpty else { return nil }
      let recording = Recording(request.roots, inputs: inputs)
      let isRepeatable =
        results.count == tensors.count && !recording.readsPending(request.roots)
        && Set(inputs.map { ObjectIdentifier($0.node) }).count == inputs.count
      let plan = self.plan(for: recording, backend: backend, without: [])
      run(plan, recording, request, backend: backend, keepsGraph: false)
      guard isRepeatable else { return nil }
      return Replay(plan, recording, outputs: request.roots.map(\.slot), results: results, slots: slots)
    }
  }

  /// The plan that evaluating these tensors and slots would run.
  package func plan(
    for tensors: [Tensor], slots: [Slot] = [], backend: any Backend, without excluded: OptionalPasses = []
  ) -> Plan {
    EvaluationThread.shared.run {
      plan(for: Recording(Request(tensors, slots).roots), backend: backend, without: excluded)
    }
  }

  /// Evaluates as usual, and says how many seconds each step of the plan took.
  package func timings(
    of tensors: [Tensor], slots: [Slot] = [], backend: any Backend
  ) -> (plan: Plan, seconds: [Double]) {
    EvaluationThread.shared.run {
      let request = Request(tensors, slots)
      let recording = Recording(request.roots)
      let plan = self.plan(for: recording, backend: backend, without: [])
      var seconds = [Double](repeating: 0, count: plan.steps.count)
      run(plan, recording, request, backend: backend, keepsGraph: false) { seconds[$0] = $1 }
      return (plan, seconds)
    }
  }

  private struct Request {
    var roots: [(tensor: Tensor, slot: Slot?)] = []

    init(_ tensors: [Tensor], _ slots: [Slot]) {
      var seen: Set<ObjectIdentifier> = []
      for slot in slots where seen.insert(ObjectIdentifier(slot)).inserted {
        if let pending = slot.pending { roots.append((pending, slot)) }
      }
      for tensor in tensors where tensor.node.storage == nil {
        if case .buffer = tensor.node.leaf { continue }
        guard tensor.node.specs.count > 1 else {
          roots.append((tensor, nil))
          continue
        }
        // All outputs of the node, so that it is complete and lets go of what is below it.
        guard seen.insert(ObjectIdentifier(tensor.node)).inserted else { continue }
        for index in tensor.node.specs.indices {
          roots.append((Tensor(node: tensor.node, index: index), nil))
        }
      }
    }
  }

  private func plan(for recording: Recording, backend: any Backend, without excluded: OptionalPasses) -> Plan
  {
    guard excluded.isEmpty else {
      return Plan(recording.graph(), backend: backend, verifying: true, without: excluded)
    }
    let key = PlanKey(backend: backend.name, words: recording.words)
    if let known = plans.withLock({ $0.value(for: key) }) { return known }
    #if DEBUG
      let verifying = true
    #else
      let verifying = false
    #endif
    let fresh = Plan(recording.graph(), backend: backend, verifying: verifying)
    plans.withLock { $0.insert(fresh, for: key) }
    return fresh
  }

  private func run(
    _ plan: Plan, _ recording: Recording, _ request: Request, backend: any Backend, keepsGraph: Bool,
    timed: ((_ step: Int, _ seconds: Double) -> Void)? = nil
  ) {
    let outputs = run(plan, recording.bindings, backend: backend, timed: timed)
    commit(request, outputs, keepsGraph: keepsGraph)
  }

  /// Runs a plan with its arguments, on the evaluation thread; what it computes.
  func run(
    _ plan: Plan, _ bindings: [Recording.Binding], backend: any Backend,
    timed: ((_ step: Int, _ seconds: Double) -> Void)? = nil
  ) -> [Buffer] {
    let scalars = UnsafeMutableRawPointer.allocate(byteCount: bindings.count * 8 + 8, alignment: 8)
    defer { scalars.deallocate() }
    var slotBuffers: [Int: Buffer] = [:]
    let arguments = bindings.enumerated().map { index, binding -> UnsafeMutableRawPointer in
      switch binding {
      case .buffer(let buffer): return buffer.pointer
      case .scalar(let value, let dtype):
        writeScalar(value, dtype, to: scalars + index * 8)
        return scalars + index * 8
      case .slot(let slot):
        let buffer = slot.buffer!
        slotBuffers[index] = buffer
        return buffer.pointer
      }
    }
    let outputs = zip(plan.outputSpecs, plan.inPlaceArguments).map { spec, argument in
      argument.map { slotBuffers[$0]! } ?? Buffer(byteCount: spec.byteCount)
    }
    backend.prepare()
    let kept = plan.kept.map { value in
      guard case .slot(let slot) = bindings[value.argument] else {
        fatalError("a value is kept with argument \(value.argument), which is no slot")
      }
      return value.buffer(of: slot, arguments[value.argument])
    }
    let start = ContinuousClock.now
    withExtendedLifetime(kept) {
      plan.run(
        arguments: arguments, kept: kept.map(\.pointer), outputs: outputs.map(\.pointer),
        arena: arena.reserve(plan.arenaBytes, backend: backend), timed: timed)
    }
    nanoseconds.add(Int((ContinuousClock.now - start) / .nanoseconds(1)), ordering: .relaxed)
    return outputs
  }

  private func commit(_ request: Request, _ outputs: [Buffer], keepsGraph: Bool) {
    var storages: [ObjectIdentifier: (node: Node, parts: [Int: Buffer])] = [:]
    for (root, buffer) in zip(request.roots, outputs) {
      if let slot = root.slot {
        slot.commit(buffer, pending: root.tensor)
      } else {
        storages[ObjectIdentifier(root.tensor.node), default: (root.tensor.node, [:])].parts[
          root.tensor.index] = buffer
      }
    }
    for (node, parts) in storages.values {
      node.complete(node.specs.indices.map { parts[$0]! }, keepingInputs: keepsGraph)
    }
  }
}

/// The memory that the plans of the process share, one at a time.
private final class Arena: @unchecked Sendable {
  private var block: (base: UnsafeMutableRawPointer, byteCount: Int, owner: any Backend)?

  func reserve(_ bytes: Int, backend: any Backend) -> UnsafeMutableRawPointer {
    if let block {
      if bytes <= block.byteCount, block.owner.name == backend.name { return block.base }
      // Memory goes back to the backend that made it.
      block.owner.freeArena(block.base, byteCount: block.byteCount)
    }
    let byteCount = max(bytes, 64)
    let base = backend.makeArena(byteCount: byteCount)
    block = (base, byteCount, backend)
    return base
  }
}
