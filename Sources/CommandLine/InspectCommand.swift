import Logging
import ArgumentParser
import Kalsae
import KalsaeCheckpoints
import KalsaeMeasurement
import KalsaePipelines
import KalsaeRuntime
import KalsaeTraining

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show a model's parameters by module, and the plan of one training step.")

  @Argument(
    help: ArgumentHelp("A run folder, or a model folder in the diffusers layout.", valueName: "run-or-model"))
  var model: String
  @Option(help: "Pictures in the planned step.") var batchSize = 16
  @OptionGroup var compute: ComputeOptions
  @Flag(help: "Print JSON.") var json = false
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if batchSize < 1 { throw ValidationError("--batch-size must be at least 1, not \(batchSize).") }
  }

  func run() throws {
    let threads = compute.threads ?? MachineReport.defaultThreads
    let report = try Backends.with(.cpu(threads: threads)) {
      let pipeline = try DDPMPipeline(runOrModel: model)
      return try ModelReport(
        pipeline.unet, diffusion: pipeline.diffusion, batchSize: batchSize,
        precision: compute.precision?.autocast,
        threads: threads)
    }
    if json {
      Console.result(JSON.object(report.json).prettyText)
      return
    }
    for module in report.modules { Console.result(column(module.path, 28) + "\(module.parameters)") }
    Console.result(column("parameters", 28) + "\(report.parameterCount)\n")
    Console.result("one training step, batch \(report.batchSize):")
    for kernel in report.kernels { Console.result("  " + column("\(kernel.count)", 6) + kernel.kernel) }
    Console.result(
      "  \(report.steps) steps, arena \(report.arenaBytes >> 20) MiB, \(report.bytesMoved >> 20) MiB moved, "
        + "\(fixed(report.flops / 1e9, 1)) GFLOP")
  }
}

/// Text padded with spaces to a width.
func column(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(width - text.count, 1))
}
