import KalsaeCheckpoints
import KalsaeData
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// Trains a model in a run folder from which it can continue, bit for bit.
public final class Trainer<Task: TrainingTask> {
  public let task: Task
  public let run: RunFolder
  public var configuration: Task.Configuration { task.configuration }
  public var step: Int { state.step }
  public var parameterCount: Int { state.contents.parameterCount }

  /// Sees the plan of each step and how many seconds each part of it took, until it returns false.
  package var timing: ((Plan, [Double]) -> Bool)?

  private var state: TrainingState<Task.Model>
  private var repeated = RepeatedStep()
  /// The steps so far whose graph was built.
  package var graphCount: Int { repeated.graphCount }
  private let threads: Int
  private let isResuming: Bool

  /// Prepares a new run, or the continuation of one.
  ///
  /// - Parameter report: receives single lines for the log: skipped pictures, what is resumed, warnings.
  public init(
    _ given: Task.Configuration, in run: RunFolder, resuming: Bool, threads: Int,
    report: @escaping @Sendable (String) -> Void
  ) throws {
    // Reading the data may take long: what can be refused before is.
    if !resuming { try run.checkIsFree() }
    task = try Task(given, report: report)
    let configuration = task.configuration
    if let problem = configuration.problem { throw RunError("\(problem.key) \(problem.reason)") }
    self.run = run
    self.threads = threads
    isResuming = resuming
    let newest = resuming ? run.checkpoints().last : nil
    state = try TrainingState(
      seed: configuration.seed, ema: configuration.ema, model: task.makeModel,
      // A checkpoint replaces all weights, and what they came from may be gone.
      initialize: newest == nil ? task.initialize : { _ in }, optimizer: task.makeOptimizer)
    if resuming {
      try run.sweep()
      if let newest {
        let before = try state.load(from: run, step: newest)
        report("resuming from step \(newest)")
        if newest >= configuration.steps {
          report("all \(configuration.steps) steps are done: give more --steps to train on")
        }
        if before != threads {
          report("the run used \(before) threads, now \(threads): results will not repeat bit for bit")
        }
      } else {
        report("no checkpoint yet: starting from step 0")
      }
    }
  }

  /// Trains until the configured step, or until `shouldStop` says so; saves in both cases.
  public func train(
    shouldStop: () -> Bool = { false }, progress: (TrainingProgress) -> Void = { _ in }
  ) throws -> TrainingOutcome {
    let next = try task.makeLoader(at: state.position)
    if !isResuming {
      try run.create(configuration)
      try task.addFiles(to: run)
    } else if state.step < configuration.steps {
      try run.write(configuration)
    }
    let log = try RunLog(run, resumingAfter: isResuming ? state.step : nil)
    evaluate([], slots: state.slots)
    var saved = run.checkpoints().last ?? -1
    var speed = Speed()
    var outcome = TrainingOutcome.finished
    while state.step < configuration.steps {
      if shouldStop() {
        outcome = .interrupted
        break
      }
      let (batch, position) = try next()
      let (loss, norm) = try advance(batch)
      state.position = position
      speed.tick(task.count(batch))
      try log.add(
        step: state.step, loss: loss, gradientNorm: norm, learningRate: task.learningRate(state.step - 1),
        speed: (Task.unit, speed.perSecond))
      let before = ContinuousClock.now
      let measured = try task.inspect(
        state.averaged, step: state.step, run: run, log: log, shouldStop: shouldStop)
      if !measured.isEmpty { try log.add(step: state.step, measured) }
      progress(
        TrainingProgress(
          step: state.step, steps: configuration.steps, loss: loss, gradientNorm: norm, unit: Task.unit,
          perSecond: speed.perSecond,
          secondsLeft: Double(configuration.steps - state.step) * speed.secondsPerStep, measured: measured))
      if state.step % configuration.checkpointEvery == 0, state.step < configuration.steps {
        try save(log)
        saved = state.step
      }
      speed.skip(ContinuousClock.now - before)
    }
    if saved != state.step, state.step > 0 { try save(log) }
    return outcome
  }

  /// One step: value and gradient, clip, update, evaluate. Returns loss and gradient norm.
  private func advance(_ batch: Task.Batch) throws -> (loss: Double, norm: Double) {
    let key = RandomKey(seed: configuration.seed, step: UInt64(state.step))
    let rate = Tensor(task.learningRate(state.step)), inputs = task.inputs(batch)
    func graph() -> [Tensor] {
      let (loss, gradients) = valueAndGradient(inputs, key) { _, _ in }
      let clipped = gradients.clipped(toNorm: configuration.gradientClip)
      state.optimizer.update(clipped, learningRate: rate)
      state.average.update(if: clipped.isFinite)
      return [loss, clipped.norm]
    }
    let results: [Tensor]
    if let timing {
      results = graph()
      let (plan, seconds) = Evaluator.shared.timings(
        of: results, slots: state.slots, backend: Backends.current)
      if !timing(plan, seconds) { self.timing = nil }
    } else {
      results = repeated([key.tensor, rate] + inputs, slots: state.slots, graph)
    }
    let (loss, norm) = (results[0].item(), results[1].item())
    guard loss.isFinite, norm.isFinite else { throw diagnose(inputs, key) }
    state.step += 1
    return (loss, norm)
  }

  private func valueAndGradient(
    _ inputs: [Tensor], _ key: RandomKey, observe: @escaping (String, Tensor) -> Void
  ) -> (Tensor, Gradients) {
    KalsaeNeural.valueAndGradient(state.contents) {
      Mode.training(key) {
        Autocast.with(configuration.precision.autocast) {
          Recomputation.with(configuration.recompute) {
            task.loss(of: state.model, on: inputs, key: key, observe: observe)
          }
        }
      }
    }
  }

  /// Runs the failed step again block by block: the weights are those before it, since the update did not happen.
  private func diagnose(_ inputs: [Tensor], _ key: RandomKey) -> RunError {
    var seen = state.contents.parameters.map { (name: $0.path, tensor: $0.parameter.value) }
    let (_, gradients) = valueAndGradient(inputs, key) { seen.append(($0, $1)) }
    for (parameter, gradient) in zip(state.contents.parameters, gradients.tensors).reversed() {
      seen.append(("the gradient of " + parameter.path, gradient))
    }
    let culprit = seen.first { isFinite($0.tensor).cast(to: .int32).min().item() == 0 }?.name ?? "the loss"
    let last =
      run.checkpoints().last.map { "the last good checkpoint is step-\($0)" } ?? "no checkpoint was saved yet"
    return RunError(
      "step \(state.step + 1): the first non-finite tensor is \(culprit); \(last). "
        + "Try a lower --learning-rate, a longer --warmup, or --precision float32")
  }

  private func save(_ log: RunLog) throws {
    try state.save(to: run, threads: threads)
    try run.keepNewest(configuration.keep)
    try log.synchronize()
  }
}

/// What a caller sees after each step.
public struct TrainingProgress: Sendable {
  public let step: Int, steps: Int
  public let loss: Double, gradientNorm: Double
  /// What speed counts: "images", "tokens".
  public let unit: String
  public let perSecond: Double
  public let secondsLeft: Double
  /// What a validation after this step found.
  public let measured: [(name: String, value: Double)]
}

public enum TrainingOutcome: Sendable { case finished, interrupted }

/// Speed over the recent past, without pauses for samples and checkpoints.
private struct Speed {
  private var last = ContinuousClock.now
  private var ticks = 0
  private(set) var secondsPerStep = 0.0
  private var itemsPerStep = 0.0

  var perSecond: Double { itemsPerStep / max(secondsPerStep, 1e-9) }

  /// Leaves out a pause.
  mutating func skip(_ pause: Duration) { last += pause }

  mutating func tick(_ items: Int) {
    let now = ContinuousClock.now
    let seconds = (now - last) / .seconds(1)
    last = now
    ticks += 1
    // The first step compiles the plan and says nothing about those that follow.
    let weight = ticks > 2 ? 0.05 : 1
    secondsPerStep += weight * (seconds - secondsPerStep)
    itemsPerStep += weight * (Double(items) - itemsPerStep)
  }
}
