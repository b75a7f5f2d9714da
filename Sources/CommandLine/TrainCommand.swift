import Logging
import ArgumentParser
import Foundation
import Kalsae
import KalsaeCheckpoints
import KalsaeDiffusion
import KalsaeMeasurement
import KalsaeRuntime
import KalsaeTraining

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a model from nothing.", subcommands: [TrainDDPM.self])
}

/// A default, as help texts show it.
private func standard<Value>(_ key: KeyPath<RunConfiguration, Value>) -> String {
  "; \(RunConfiguration()[keyPath: key]) when not given"
}

struct TrainDDPM: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ddpm",
    abstract: "Train a diffusion model (DDPM) on pictures.",
    discussion: """
      Everything goes into the run folder: config.json, metrics.jsonl, TensorBoard events, sample pictures and \
      checkpoints. Ctrl-C saves and stops; --resume continues bit for bit.

        kalsae train ddpm --data fashion-mnist --output runs/fashion
        kalsae train ddpm --output runs/fashion --resume
      """)

  @Option(help: "fashion-mnist, shapes, cifar10:FOLDER, or a folder of PNG and JPEG pictures.")
  var data: String?
  @Option(name: [.short, .long], help: ArgumentHelp("The run folder.", valueName: "run"))
  var output: String
  @Option(help: ArgumentHelp("A run's config.json; options given here win.", valueName: "file"))
  var config: String?
  @Option(help: "Training steps\(standard(\.steps)).") var steps: Int?
  @Option(help: "Pictures in a step\(standard(\.batchSize)).") var batchSize: Int?
  @Option(help: "Adam's learning rate\(standard(\.learningRate)).") var learningRate: Double?
  @Option(help: "Steps in which the learning rate rises from 0\(standard(\.warmup)).") var warmup: Int?
  @Option(help: "Height and width in pixels; pictures are resized and cropped.") var imageSize: Int?
  @Option(
    help:
      "Precision of products and convolutions; weights stay float32. When not given, bfloat16 where the processor has it."
  )
  var precision: RunConfiguration.Precision?
  @Option(help: "What the network predicts\(standard(\.prediction.rawValue)).") var prediction: Prediction?
  @Option(help: "The variance of the DDPM sampler\(standard(\.variance.rawValue)).") var variance:
    DDPMSampler.Variance?
  @Option(help: "Timesteps of the diffusion process\(standard(\.timesteps)).") var timesteps: Int?
  @Option(help: "The noise schedule\(standard(\.schedule.rawValue)).") var schedule: NoiseSchedule.Kind?
  @Option(help: "The schedule's first beta\(standard(\.betaStart)).") var betaStart: Double?
  @Option(help: "The schedule's last beta\(standard(\.betaEnd)).") var betaEnd: Double?
  @Option(help: "The distance between prediction and target\(standard(\.loss.rawValue)).") var loss:
    TrainingLoss.Distance?
  @Option(help: "gamma of the min-SNR loss weighting; 5 is usual.") var minSnrGamma: Double?
  @Option(help: "The largest decay of the averaged weights\(standard(\.ema)).") var ema: Double?
  @Option(help: "The largest norm of the gradient\(standard(\.gradientClip)).") var gradientClip: Double?
  @Option(help: "Dropout in the network.") var dropout: Double?
  @Flag(inversion: .prefixedNo, help: "Mirror pictures at random.") var flip: Bool?
  @Option(help: "Decides every random number of the run.") var seed: UInt64?
  @Option(help: "Threads; all processors when not given.") var threads: Int?
  @Option(help: "Steps between checkpoints\(standard(\.checkpointEvery)).") var checkpointEvery: Int?
  @Option(help: "How many of the newest checkpoints are kept\(standard(\.keep)).") var keep: Int?
  @Option(help: "Steps between sample pictures; 0: none\(standard(\.sampleEvery)).") var sampleEvery: Int?
  @Flag(help: "Continue the run in the output folder with its stored options.") var resume = false
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if resume, config != nil {
      throw ValidationError("--resume continues with the stored options: leave out --config.")
    }
    if !resume, config == nil, data == nil {
      throw ValidationError(
        "--data is missing: fashion-mnist, shapes, cifar10:FOLDER or a folder of pictures.")
    }
  }

  func run() throws {
    let console = Console(outputOptions)
    let folder = RunFolder(output)
    let configuration = try resolved(folder)
    // A file's values were checked when it was read, so what is wrong now was given here.
    if let problem = configuration.problem {
      let option = "--" + problem.key.replacing("_", with: "-")
      throw ValidationError("\(option) \(problem.reason)")
    }
    ComputeOptions.warnAboutPrecision(configuration.precision, console)
    let threads = configuration.threads ?? MachineReport.defaultThreads
    Interruption.install()
    let outcome = try Backends.with(.cpu(threads: threads)) {
      let trainer = try DDPMTrainer(configuration, in: folder, resuming: resume, threads: threads) {
        console.log($0, .warning)
      }
      console.log(
        "\(trainer.dataset.count) pictures of \(trainer.dataset.size) x \(trainer.dataset.size) x "
          + "\(trainer.dataset.channels), \(trainer.parameterCount) parameters, \(threads) threads, "
          + configuration.precision.rawValue)
      var line = ProgressLine(console)
      return try trainer.train(shouldStop: { Interruption.isRequested }) { progress in
        line.show(Double(progress.step) / Double(progress.steps), isLast: progress.step == progress.steps) {
          "step \(progress.step)/\(progress.steps)  loss \(fixed(progress.loss, 4))  "
            + "\(fixed(progress.imagesPerSecond, 1)) images/s  \(durationText(progress.secondsLeft)) left"
        }
      }
    }
    guard outcome == .finished else {
      console.endLine()
      let saved = folder.checkpoints().last.map { "saved step \($0)" } ?? "there was nothing to save"
      console.log("stopped, \(saved); continue with: kalsae train ddpm -o \(output) --resume")
      throw ExitCode(130)
    }
    Console.result(folder.checkpointPath(try folder.checkpoint()))
  }

  /// The stored options when resuming, those of `--config`, or the defaults; what is given here wins.
  private func resolved(_ folder: RunFolder) throws -> RunConfiguration {
    var c = RunConfiguration()
    c.precision = MachineReport.hasFastBFloat16 ? .bfloat16 : .float32
    if resume {
      c = try folder.configuration()
    } else if let config {
      c = try RunConfiguration(ConfigJSON(path: config), over: c)
    }
    func set<T>(_ path: WritableKeyPath<RunConfiguration, T>, _ value: T?) {
      if let value { c[keyPath: path] = value }
    }
    set(\.data, data)
    set(\.steps, steps)
    set(\.batchSize, batchSize)
    set(\.learningRate, learningRate)
    set(\.warmup, warmup)
    set(\.precision, precision)
    set(\.prediction, prediction)
    set(\.variance, variance)
    set(\.timesteps, timesteps)
    set(\.schedule, schedule)
    set(\.betaStart, betaStart)
    set(\.betaEnd, betaEnd)
    set(\.loss, loss)
    set(\.minSNRGamma, minSnrGamma)
    set(\.ema, ema)
    set(\.gradientClip, gradientClip)
    set(\.seed, seed)
    set(\.checkpointEvery, checkpointEvery)
    set(\.keep, keep)
    set(\.sampleEvery, sampleEvery)
    if let imageSize {
      c.imageSize = imageSize
      if !resume { c.model?.sample_size = ImageSize(imageSize) }
    }
    if let dropout {
      c.dropout = dropout
      c.model?.dropout = dropout
    }
    if let threads { c.threads = threads }
    set(\.flip, flip)
    return c
  }
}
