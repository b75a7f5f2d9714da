import Logging
import ArgumentParser
import Foundation
import Kalsae
import KalsaeCheckpoints
import KalsaeDiffusion
import KalsaeMeasurement
import KalsaeModels
import KalsaePipelines
import KalsaeRuntime
import KalsaeTensors
import KalsaeTraining

struct Sample: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Draw pictures with a trained model.",
    discussion: """
      kalsae sample runs/fashion -o samples.png --count 64 --steps 50 --sampler ddim
      """)

  @Argument(
    help: ArgumentHelp("A run folder, or a model folder in the diffusers layout.", valueName: "run-or-model"))
  var model: String
  @Option(
    name: [.short, .long],
    help: ArgumentHelp(
      "FILE.png (a grid), a folder (a PNG each), FILE.npz (uint8 arr_0) or FILE.safetensors (float32 x).",
      valueName: "path"))
  var output: String
  @Option(help: "How many pictures.") var count = 64
  @Option(help: "Sampling steps.") var steps = 50
  @Option(help: "The sampler.") var sampler = SamplerKind.ddim
  @Option(help: "DDIM's noise, from 0 (deterministic) to 1.") var eta = 0.0
  @Option(help: "Decides every random number.") var seed: UInt64 = 0
  @Option(help: "Pictures drawn at once.") var batchSize = 64
  @Option(help: ArgumentHelp("Also write the way from noise to picture as a PNG.", valueName: "file"))
  var trajectory: String?
  @Option(help: "A run's averaged weights or those being trained.") var weights = RunWeights.ema
  @Option(
    help: ArgumentHelp(
      "The starting noise: key x, float32 (N, H, W, C), in a safetensors file.", valueName: "file"))
  var initial: String?
  @OptionGroup var compute: ComputeOptions
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    for (name, value) in [("--count", count), ("--steps", steps), ("--batch-size", batchSize)] where value < 1
    {
      throw ValidationError("\(name) must be at least 1, not \(value).")
    }
    func ending(_ path: String) -> String { (path as NSString).pathExtension.lowercased() }
    if ["jpg", "jpeg", "gif", "webp", "npy"].contains(ending(output)) {
      throw ValidationError("--output \(output): choose a .png, .npz or .safetensors file, or a folder.")
    }
    if let trajectory, ending(trajectory) != "png" {
      throw ValidationError("--trajectory \(trajectory): choose a .png file.")
    }
    if !(0...1).contains(eta) {
      throw ValidationError("--eta must be from 0 (deterministic) to 1 (as in DDPM), not \(eta).")
    }
  }

  func run() throws {
    let console = Console(outputOptions)
    let precision = compute.precision ?? .float32
    ComputeOptions.warnAboutPrecision(precision, console)
    // Better before an hour of drawing than after it.
    let target = SampleOutput(path: output)
    try target.checkIsWritable()
    try trajectory.map { try SampleOutput.grid($0).checkIsWritable() }
    Interruption.install()
    try Backends.with(.cpu(threads: compute.threads)) {
      let pipeline = try DDPMPipeline(runOrModel: model, weights: weights)
      var options = SamplingOptions()
      (options.count, options.steps, options.sampler, options.eta) = (count, steps, sampler, eta)
      (options.seed, options.batchSize, options.precision) = (seed, batchSize, precision.autocast)
      let start = try initial.map { try SafetensorsFile(path: $0).tensor("x") }
      try start.map(pipeline.checkInitial)
      let total = start?.shape[0] ?? count
      var line = ProgressLine(console), path = Trajectory()
      let channels = pipeline.unet.config.out_channels
      let began = ContinuousClock.now
      let samples = try pipeline.sample(options, initial: start) { progress in
        if trajectory != nil { path.add(progress) }
        let done =
          Double(progress.first) + Double(progress.step) / Double(progress.steps)
          * Double(min(batchSize, total - progress.first))
        line.show(done / Double(total), isLast: done >= Double(total)) {
          "\(Int(done))/\(total) pictures, step \(progress.step)/\(progress.steps)"
        }
        return !Interruption.isRequested
      }
      let size =
        start.map { ImageSize(rows: $0.shape[1], columns: $0.shape[2]) } ?? pipeline.unet.config.sample_size!
      let drawn = samples.count / (size.rows * size.columns * channels)
      if drawn > 0 {
        try target.write(samples, size: size, channels: channels)
        Console.result(target.path)
        if let trajectory {
          try path.write(to: trajectory, size: size, channels: channels)
          Console.result(trajectory)
        }
      }
      if Interruption.isRequested {
        console.endLine()
        console.log("stopped: \(drawn) of \(total) pictures were finished")
        throw ExitCode(130)
      }
      console.log("\(drawn) pictures in \(durationText((ContinuousClock.now - began) / .seconds(1)))", .debug)
    }
  }
}
