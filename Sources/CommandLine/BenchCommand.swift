import Logging
import ArgumentParser
import Kalsae
import KalsaeCheckpoints
import KalsaeMeasurement
import KalsaeTraining

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Time a workload on this machine.",
    discussion: "Workloads:\n"
      + Workload.allCases.map { "  " + column($0.rawValue, 22) + $0.summary }.joined(separator: "\n"))

  @Argument(help: "The workload.") var workload: Workload
  @OptionGroup var compute: ComputeOptions
  @Option(name: [.customLong("repeat")], help: "Counted runs, after two that are not.") var repeats = 5
  @Flag(help: "Print JSON.") var json = false
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if repeats < 1 { throw ValidationError("--repeat must be at least 1, not \(repeats).") }
  }

  func run() throws {
    let precision = compute.precision ?? .float32
    ComputeOptions.warnAboutPrecision(precision, Console(outputOptions))
    let result = benchmark(
      workload, precision: precision == .bfloat16 ? .bfloat16 : .float32,
      threads: compute.threads ?? MachineReport.defaultThreads, repeats: repeats)
    if json {
      let object: JSONObject = [
        "workload": .string(workload.rawValue), "precision": .string(precision.rawValue),
        "threads": .integer(result.threads), "repeats": .integer(repeats), "best_s": .double(result.best),
        "median_s": .double(result.median), "gflop": .double(result.flops / 1e9),
        "gflops_best": .double(result.flops / result.best / 1e9), "floor_s": .double(result.floor),
        "peak_rss_mib": .double(Double(result.peakResidentBytes) / 1_048_576),
      ]
      Console.result(JSON.object(object).text)
    } else {
      Console.result(
        "\(workload.rawValue) \(precision.rawValue), \(result.threads) threads: best \(fixed(result.best, 4)) s, "
          + "median \(fixed(result.median, 4)) s, \(fixed(result.flops / result.best / 1e9, 0)) GFLOPS, "
          + "\(fixed(result.best / result.floor, 2)) x the floor of \(fixed(result.floor, 4)) s, "
          + "peak \(result.peakResidentBytes >> 20) MiB")
    }
  }
}
