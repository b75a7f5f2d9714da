import ArgumentParser
import Foundation
import Kalsae
import KalsaeCheckpoints
import KalsaeMeasurement
import KalsaeRuntime
import KalsaeTraining
import Logging

/// The options that every `kalsae train` has.
struct TrainingArguments: ParsableArguments {
  @Option(name: [.short, .long], help: ArgumentHelp("The run folder.", valueName: "run"))
  var output: String
  @Option(help: ArgumentHelp("A run's config.json; options given here win.", valueName: "file"))
  var config: String?
  @Option(help: "Training steps.") var steps: Int?
  @Option(help: "Examples in a step.") var batchSize: Int?
  @Option(help: "The learning rate after the warm-up.") var learningRate: Double?
  @Option(help: "Steps in which the learning rate rises from 0.") var warmup: Int?
  @Option(
    help:
      "Precision of products and convolutions; weights stay float32. When not given, bfloat16 where the processor has it."
  )
  var precision: Precision?
  @Flag(
    inversion: .prefixedNo,
    help: "Compute the blocks of the network again for the gradient: less memory, more time.")
  var recompute: Bool?
  @Option(help: "The largest decay of the averaged weights.") var ema: Double?
  @Option(help: "The largest norm of the gradient.") var gradientClip: Double?
  @Option(help: "Dropout in the network.") var dropout: Double?
  @Option(help: "Decides every random number of the run.") var seed: UInt64?
  @Option(help: "Threads; all processors when not given.") var threads: Int?
  @Option(help: "Steps between checkpoints.") var checkpointEvery: Int?
  @Option(help: "How many of the newest checkpoints are kept.") var keep: Int?
  @Flag(help: "Continue the run in the output folder with its stored options.") var resume = false
  @Option(
    help: ArgumentHelp(
      "Time the parts of some early steps, and write them on a time line for ui.perfetto.dev.",
      valueName: "file"))
  var profile: String?

  func validate() throws {
    if resume, config != nil {
      throw ValidationError("--resume continues with the stored options: leave out --config.")
    }
  }

  /// Whether the options come from nowhere but the command line.
  var isFromNothing: Bool { !resume && config == nil }

  /// The stored options when resuming, those of `--config`, or the defaults; what is given here wins.
  func configuration<C: TrainingConfiguration>(over standard: C = C()) throws -> C {
    var c = standard
    c.precision = MachineReport.hasFastBFloat16 ? .bfloat16 : .float32
    if resume {
      c = try RunFolder(output).configuration()
    } else if let config {
      c = try C(ConfigJSON(path: config), over: c)
    }
    func set<T>(_ path: WritableKeyPath<C, T>, _ value: T?) {
      if let value { c[keyPath: path] = value }
    }
    set(\.steps, steps)
    set(\.batchSize, batchSize)
    set(\.learningRate, learningRate)
    set(\.warmup, warmup)
    set(\.precision, precision)
    set(\.recompute, recompute)
    set(\.ema, ema)
    set(\.gradientClip, gradientClip)
    set(\.dropout, dropout)
    set(\.seed, seed)
    set(\.checkpointEvery, checkpointEvery)
    set(\.keep, keep)
    if let threads { c.threads = threads }
    return c
  }

  /// Writes a profile and says where the time goes. Training goes on where it cannot be written.
  private func show(
    _ report: PlanReport, _ precision: Precision, _ threads: Int, _ console: Console, _ path: String
  ) {
    let peaks = Peaks.measured(precision: precision.autocast ?? .float32, threads: threads)
    do {
      try writeProfile(report, peaks, name: "a training step, \(precision.rawValue)", to: path)
      costliestLines(report, peaks).forEach { console.log($0) }
      console.log("\(path): a step of \(fixed(report.seconds ?? 0, 4)) s")
    } catch {
      console.log("no profile: \(error)", .warning)
    }
  }

  /// Trains and reports; `describe` says in one line what is trained on what.
  func train<Task: TrainingTask>(
    _ task: Task.Type, _ configuration: Task.Configuration, _ outputOptions: OutputOptions,
    describe: (Trainer<Task>) -> String
  ) throws {
    let console = Console(outputOptions)
    // A file's values were checked when it was read, so what is wrong now was given here.
    if let problem = configuration.problem {
      let option = "--" + problem.key.replacing("_", with: "-")
      throw ValidationError("\(option) \(problem.reason)")
    }
    ComputeOptions.warnAboutPrecision(configuration.precision, console)
    let folder = RunFolder(output)
    let threads = configuration.threads ?? MachineReport.defaultThreads
    Interruption.install()
    let outcome = try Backends.with(.cpu(threads: threads)) {
      let trainer = try Trainer<Task>(configuration, in: folder, resuming: resume, threads: threads) {
        console.log($0, .warning)
      }
      console.log(
        describe(trainer) + ", \(trainer.parameterCount) parameters, \(threads) threads, "
          + configuration.precision.rawValue)
      var line = ProgressLine(console)
      var timings = PlanTimings(), profiled: PlanReport?
      if profile != nil {
        trainer.timing = { plan, seconds in
          profiled = timings.add(plan, seconds)
          return profiled == nil
        }
      }
      return try trainer.train(shouldStop: { Interruption.isRequested }) { progress in
        line.show(Double(progress.step) / Double(progress.steps), isLast: progress.step == progress.steps) {
          "step \(progress.step)/\(progress.steps)  loss \(fixed(progress.loss, 4))  "
            + "\(fixed(progress.perSecond, progress.perSecond < 1000 ? 1 : 0)) \(progress.unit)/s  "
            + "\(durationText(progress.secondsLeft)) left"
        }
        if let profile, let report = profiled {
          profiled = nil
          console.endLine()
          show(report, configuration.precision, threads, console, profile)
        }
        guard !progress.measured.isEmpty else { return }
        console.endLine()
        let values = progress.measured.map { "\($0.name) \(fixed($0.value, 4))" }
        console.log("step \(progress.step): " + values.joined(separator: ", "))
      }
    }
    guard outcome == .finished else {
      console.endLine()
      let saved = folder.checkpoints().last.map { "saved step \($0)" } ?? "there was nothing to save"
      console.log(
        "stopped, \(saved); continue with: kalsae train \(Task.Configuration.task) -o \(output) --resume")
      throw ExitCode(130)
    }
    Console.result(folder.checkpointPath(try folder.checkpoint()))
  }
}

/// The defaults that a command's help lists.
func defaults<C: TrainingConfiguration>(_ type: C.Type, _ more: String = "") -> String {
  let c = C()
  return "Defaults: \(c.steps) steps, batch size \(c.batchSize), learning rate \(c.learningRate), warm-up "
    + "\(c.warmup), ema \(c.ema), gradient clip \(c.gradientClip), dropout \(c.dropout), a checkpoint every "
    + "\(c.checkpointEvery) steps of which \(c.keep) are kept\(more)."
}
