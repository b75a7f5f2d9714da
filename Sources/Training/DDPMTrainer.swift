import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeDiffusion
import KalsaeModels
import KalsaeNeural
import KalsaePipelines
import KalsaeRuntime
import KalsaeTensors

/// Trains a DDPM on pictures (arXiv 2006.11239, algorithm 1) in a run folder from which it can continue.
public final class DDPMTrainer {
  public let configuration: RunConfiguration
  public let run: RunFolder
  public let dataset: any ImageDataset
  public var step: Int { state.step }
  public var parameterCount: Int { state.contents.parameterCount }

  private var state: TrainingState
  private let objective: TrainingLoss
  private let rate: LearningRate
  private let threads: Int
  private let isResuming: Bool

  /// What a caller sees after each step.
  public struct Progress: Sendable {
    public let step: Int, steps: Int
    public let loss: Double, gradientNorm: Double
    public let imagesPerSecond: Double
    public let secondsLeft: Double
  }

  public enum Outcome: Sendable { case finished, interrupted }

  /// Prepares a new run, or the continuation of one.
  ///
  /// - Parameter report: receives single lines for the log: skipped pictures, what is resumed, warnings.
  public init(
    _ given: RunConfiguration, in run: RunFolder, resuming: Bool, threads: Int,
    report: @escaping @Sendable (String) -> Void
  ) throws {
    // Reading the pictures may take long: what can be refused before is.
    if !resuming { try run.checkIsFree() }
    var configuration = given
    let source = try DataSource.parse(configuration.data).absolute
    // The run can then be continued from any folder.
    configuration.data = source.description
    dataset = try source.open(imageSize: configuration.imageSize) { report("skipped \($0.line)") }
    if let skipped = (dataset as? ImageFolder)?.skipped.count, skipped > 0 {
      report("\(skipped) of \(dataset.count + skipped) pictures were skipped")
    }
    var model =
      configuration.model
      ?? RunConfiguration.standardModel(
        size: dataset.size, channels: dataset.channels, dropout: configuration.dropout)
    model.sample_size = model.sample_size ?? ImageSize(dataset.size)
    configuration.model = model
    if let problem = configuration.problem ?? model.problem {
      throw RunError("\(problem.key) \(problem.reason)")
    }
    if let problem = model.misfit(to: dataset, timesteps: configuration.timesteps) { throw problem }
    self.configuration = configuration
    self.run = run
    self.threads = threads
    isResuming = resuming
    objective = TrainingLoss(
      configuration.diffusion.noiseSchedule, configuration.prediction, distance: configuration.loss,
      minSNRGamma: configuration.minSNRGamma)
    rate = LearningRate(peak: configuration.learningRate, warmup: configuration.warmup)
    state = TrainingState(model, seed: configuration.seed, ema: configuration.ema)
    if resuming {
      try run.sweep()
      if let newest = run.checkpoints().last {
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
    shouldStop: () -> Bool = { false }, progress: (Progress) -> Void = { _ in }
  ) throws -> Outcome {
    let loader = try BatchLoader(
      dataset: dataset, batchSize: configuration.batchSize, seed: configuration.seed,
      flip: configuration.flip,
      position: state.position)
    if !isResuming {
      try run.create(configuration)
    } else if state.step < configuration.steps {
      try run.write(configuration)
    }
    let log = try RunLog(run, resumingAfter: isResuming ? state.step : nil)
    evaluate([], slots: state.slots)
    var saved = run.checkpoints().last ?? -1
    var speed = Speed(batchSize: configuration.batchSize)
    var outcome = Outcome.finished
    while state.step < configuration.steps {
      if shouldStop() {
        outcome = .interrupted
        break
      }
      let batch = try loader.next()
      let (loss, norm) = try advance(batch)
      let perSecond = speed.tick()
      let left = Double((configuration.steps - state.step) * configuration.batchSize) / perSecond
      progress(
        Progress(
          step: state.step, steps: configuration.steps, loss: loss, gradientNorm: norm,
          imagesPerSecond: perSecond,
          secondsLeft: left))
      try log.add(
        step: state.step, loss: loss, gradientNorm: norm, learningRate: rate(state.step - 1),
        imagesPerSecond: perSecond)
      if configuration.sampleEvery > 0, state.step % configuration.sampleEvery == 0 {
        try drawSamples(log, shouldStop: shouldStop)
        speed.pause()
      }
      if state.step % configuration.checkpointEvery == 0, state.step < configuration.steps {
        try save(log)
        saved = state.step
        speed.pause()
      }
    }
    if saved != state.step, state.step > 0 { try save(log) }
    return outcome
  }

  /// One step: value and gradient, clip, update, evaluate. Returns loss and gradient norm.
  private func advance(_ batch: Batch) throws -> (loss: Double, norm: Double) {
    let key = RandomKey(seed: configuration.seed, step: UInt64(state.step))
    let x0 = pictures(batch)
    let (loss, gradients) = valueAndGradient(state.contents) {
      Mode.training(key) {
        Autocast.with(configuration.precision.autocast) { objective(x0, key: key) { state.model($0, $1) } }
      }
    }
    let clipped = gradients.clipped(toNorm: configuration.gradientClip)
    state.optimizer.update(clipped, learningRate: rate(state.step))
    state.average.update(if: clipped.isFinite)
    evaluate([loss, clipped.norm], slots: state.slots)
    let (value, norm) = (loss.item(), clipped.norm.item())
    guard value.isFinite, norm.isFinite else { throw diagnose(x0, key) }
    state.step += 1
    state.position = batch.positionAfter
    return (value, norm)
  }

  /// Bytes (N, H, W, C) as numbers in [-1, 1].
  private func pictures(_ batch: Batch) -> Tensor {
    let size = dataset.size
    let bytes = Tensor(batch.pixels, [configuration.batchSize, size, size, dataset.channels])
    return bytes.cast(to: .float32) * (2.0 / 255) - 1
  }

  /// Runs the failed step again block by block: the weights are those before it, since the update did not happen.
  private func diagnose(_ x0: Tensor, _ key: RandomKey) -> RunError {
    var seen: [(name: String, tensor: Tensor)] = []
    let (loss, gradients) = valueAndGradient(state.contents) {
      Mode.training(key) {
        Autocast.with(configuration.precision.autocast) {
          objective(x0, key: key) { x, times in
            state.model(x, times, classLabels: nil) { seen.append(($0, $1)) }
          }
        }
      }
    }
    for (parameter, gradient) in zip(state.contents.parameters, gradients.tensors).reversed() {
      seen.append(("the gradient of " + parameter.path, gradient))
    }
    seen.insert(contentsOf: state.contents.parameters.map { ($0.path, $0.parameter.value) }, at: 0)
    let culprit = seen.first { isFinite($0.tensor).cast(to: .int32).min().item() == 0 }?.name ?? "the loss"
    _ = loss
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

  /// Draws a few pictures into the log; none when training should stop meanwhile.
  private func drawSamples(_ log: RunLog, shouldStop: () -> Bool) throws {
    var options = SamplingOptions()
    options.count = 16
    options.batchSize = 16
    options.steps = min(20, configuration.timesteps)
    options.seed = configuration.seed
    options.precision = configuration.precision.autocast
    options.size = ImageSize(dataset.size)
    let pipeline = DDPMPipeline(unet: state.averaged, diffusion: configuration.diffusion)
    let samples = pixelBytes(try pipeline.sample(options) { _ in !shouldStop() })
    guard !samples.isEmpty else { return }
    let picture = ImageGrid(columns: 4).picture(
      ofBatch: samples, height: dataset.size, width: dataset.size, channels: dataset.channels)
    try picture.writePNG(to: run.samplesPath + "/step-\(state.step).png")
    try log.add(step: state.step, samples: picture)
  }
}

/// Images per second over the recent past, without pauses for samples and checkpoints.
private struct Speed {
  let batchSize: Int
  private var last = ContinuousClock.now
  private var average = 0.0
  private var ticks = 0

  init(batchSize: Int) { self.batchSize = batchSize }

  mutating func pause() { last = .now }

  mutating func tick() -> Double {
    let now = ContinuousClock.now
    let seconds = max((now - last) / .seconds(1), 1e-9)
    last = now
    ticks += 1
    // The first step compiles the plan and says nothing about those that follow.
    let smoothed = ticks > 2 ? average * 0.95 + seconds * 0.05 : seconds
    average = smoothed
    return Double(batchSize) / smoothed
  }
}
