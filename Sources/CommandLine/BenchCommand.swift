import Logging
import ArgumentParser
import Kalsae
import KalsaeCheckpoints
import KalsaeFormats
import KalsaeMeasurement
import KalsaeTraining

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Time a workload on this machine.",
    discussion: "Workloads:\n"
      + Workload.allCases.map { "  " + column($0.rawValue, 22) + $0.summary }.joined(separator: "\n"))

  @Argument(help: "The workload.") var workload: Workload
  @OptionGroup var compute: ComputeOptions
  @Option(
    help: ArgumentHelp("Samples computed at once; the workload's own number when not given.", valueName: "n"))
  var batchSize: Int?
  @Flag(help: "Compute the blocks of the network again for the gradient, in training.") var recompute = false
  @Option(name: [.customLong("repeat")], help: "Counted runs, after two that are not.") var repeats = 5
  @Flag(help: "Then print how long each kernel of one step takes.") var time = false
  @Flag(help: "Then print how long every step of the plan takes, with the shapes of its operands.")
  var steps = false
  @Option(
    help: ArgumentHelp(
      "Write the plan's steps with their times, FLOPs, bytes and floors on a time line for ui.perfetto.dev, and print the ten costliest kinds.",
      valueName: "file"))
  var profile: String?
  @Flag(help: "Print JSON.") var json = false
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if repeats < 1 { throw ValidationError("--repeat must be at least 1, not \(repeats).") }
    if recompute, !workload.isTraining {
      throw ValidationError("\(workload.rawValue) computes no gradient: no --recompute.")
    }
    guard let batchSize else { return }
    if batchSize < 1 { throw ValidationError("--batch-size must be at least 1, not \(batchSize).") }
    if workload.batchSize == nil {
      throw ValidationError("\(workload.rawValue) has one size: no --batch-size.")
    }
  }

  func run() throws {
    let precision = compute.precision ?? .float32
    ComputeOptions.warnAboutPrecision(precision, Console(outputOptions))
    let result = benchmark(
      workload, precision: precision == .bfloat16 ? .bfloat16 : .float32, batchSize: batchSize,
      threads: compute.threads ?? MachineReport.defaultThreads, repeats: repeats,
      recomputes: recompute, timesSteps: time || steps || profile != nil)
    if let profile, let plan = result.plan {
      try writeProfile(plan, result.peaks, name: "\(workload.rawValue) \(precision.rawValue)", to: profile)
    }
    if json {
      var object: JSONObject = [
        "workload": .string(workload.rawValue), "precision": .string(precision.rawValue),
        "recompute": .bool(recompute), "threads": .integer(result.threads), "repeats": .integer(repeats),
        "best_s": .double(result.best),
        "median_s": .double(result.median), "gflop": .double(result.flops / 1e9),
        "gflops_best": .double(result.flops / result.best / 1e9), "floor_s": .double(result.floor),
        "host_s": .double(result.hostSeconds),
        "peak_rss_mib": .double(Double(result.peakResidentBytes) / 1_048_576),
      ]
      if let batch = result.batchSize { object["batch"] = .integer(batch) }
      if let (count, unit) = result.items {
        object["unit"] = .string(unit)
        object["per_second_best"] = .double(Double(count) / result.best)
      }
      if let plan = result.plan { object["plan"] = .object(plan.json) }
      Console.result(JSON.object(object).text)
      return
    }
    let speed = result.items.map { ", \(fixed(Double($0.count) / result.best, 1)) \($0.unit)/s" } ?? ""
    Console.result(
      "\(workload.rawValue) \(precision.rawValue)\(recompute ? " recomputing" : ""), \(result.threads) threads: best \(fixed(result.best, 4)) s, "
        + "median \(fixed(result.median, 4)) s\(speed), \(fixed(result.flops / result.best / 1e9, 0)) GFLOPS, "
        + "\(fixed(result.best / result.floor, 2)) x the floor of \(fixed(result.floor, 4)) s, "
        + "peak \(result.peakResidentBytes >> 20) MiB, host \(fixed(result.hostSeconds * 1e3, 2)) ms a step")
    guard let plan = result.plan else { return }
    if time || steps { printPlan(plan, steps: steps) }
    if profile != nil { costliestLines(plan, result.peaks).forEach(Console.result) }
  }
}

/// Writes a timed plan for ui.perfetto.dev.
func writeProfile(_ plan: PlanReport, _ peaks: Peaks, name: String, to path: String) throws {
  try AtomicFile.write(JSON.object(PlanTrace(plan, peaks: peaks, name: name).json).text.utf8, to: path)
}

/// The ten costliest kinds of step: their time, its share of the plan's, and how far it is from the floor.
func costliestLines(_ plan: PlanReport, _ peaks: Peaks) -> [String] {
  plan.costliest(10, peaks).map { kind in
    let share = 100 * kind.seconds / max(plan.seconds ?? 0, .leastNonzeroMagnitude)
    let ratio = kind.floor > 0 ? "\(fixed(kind.seconds / kind.floor, 2)) x floor" : ""
    return "  " + column(fixed(kind.seconds * 1e3, 2) + " ms", 12) + column(fixed(share, 1) + " %", 8)
      + column(ratio, 16) + column("\(kind.count)", 6) + kind.kernel
  }
}
