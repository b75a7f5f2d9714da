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
  @Flag(help: "Run the step a few times and print how long each part of it takes.") var time = false
  @Flag(help: "Print every step of the plan with the shapes of its operands.") var steps = false
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
        precision: compute.precision?.autocast, threads: threads, timedRuns: time ? 5 : 0)
    }
    if json {
      Console.result(JSON.object(report.json).prettyText)
      return
    }
    for module in report.modules { Console.result(column(module.path, 28) + "\(module.parameters)") }
    Console.result(column("parameters", 28) + "\(report.parameterCount)\n")
    Console.result("one training step, batch \(report.batchSize):")
    printPlan(report.plan, steps: steps)
  }
}

/// The kernels of a plan, or each of its steps, and what they are together.
func printPlan(_ plan: PlanReport, steps: Bool) {
  func milliseconds(_ seconds: Double?) -> String {
    seconds.map { column(fixed($0 * 1e3, 2) + " ms", 12) } ?? ""
  }
  if steps {
    for step in plan.steps { Console.result("  " + milliseconds(step.seconds) + step.description) }
  } else {
    for kernel in plan.kernels {
      Console.result("  " + column("\(kernel.count)", 6) + milliseconds(kernel.seconds) + kernel.kernel)
    }
  }
  Console.result(
    "  \(plan.steps.count) steps, arena \(plan.arenaBytes >> 20) MiB, \(plan.bytesMoved >> 20) MiB moved, "
      + "\(fixed(plan.flops / 1e9, 1)) GFLOP"
      + (plan.seconds.map { ", \(fixed($0, 4)) s, \(fixed(plan.flops / $0 / 1e9, 0)) GFLOPS" } ?? ""))
}

/// Text padded with spaces to a width.
func column(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(width - text.count, 1))
}
