import Logging
import ArgumentParser
import Kalsae
import KalsaeCheckpoints
import KalsaeMeasurement

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what this machine offers, and what is missing.")

  @Flag(help: "Print JSON.") var json = false
  @OptionGroup var outputOptions: OutputOptions

  func run() throws {
    Console(outputOptions).log("measuring for a few seconds ...", .debug)
    let report = MachineReport.measured()
    if json {
      Console.result(JSON.object(report.json(version: Version.number)).prettyText)
      return
    }
    Console.result(Version.description)
    for (name, value) in report.lines { Console.result(column(name, 22) + value) }
    for problem in report.missing { Console.result("missing: \(problem.what)  ->  \(problem.remedy)") }
    if report.missing.isEmpty { Console.result("nothing is missing") }
  }
}
