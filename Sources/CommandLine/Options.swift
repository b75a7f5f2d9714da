import Logging
import ArgumentParser
import Foundation
import KalsaeDiffusion
import KalsaeMeasurement
import KalsaeRuntime
import KalsaeTensors
import KalsaeTraining
import Kalsae

extension Precision: ExpressibleByArgument {}
extension Prediction: ExpressibleByArgument {}
extension DDPMSampler.Variance: ExpressibleByArgument {}
extension NoiseSchedule.Kind: ExpressibleByArgument {}
extension TrainingLoss.Distance: ExpressibleByArgument {}
extension SamplerKind: ExpressibleByArgument {}
extension RunWeights: ExpressibleByArgument {}
extension TranslationConfiguration.Schedule: ExpressibleByArgument {}
extension Workload: ExpressibleByArgument {}
extension ClassifierKind: ExpressibleByArgument {}

/// Where and how precisely to compute.
struct ComputeOptions: ParsableArguments {
  @Option(help: "Precision of products and convolutions; weights and losses stay float32.")
  var precision: Precision?
  @Option(help: ArgumentHelp("Threads; all processors when not given.", valueName: "n"))
  var threads: Int?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1, not \(threads).") }
  }

  /// Says once when the processor has no fast bfloat16.
  static func warnAboutPrecision(_ precision: Precision, _ console: Console) {
    if precision == .bfloat16, !MachineReport.hasFastBFloat16 {
      console.log("this processor has no bfloat16 arithmetic: it works, but slower than float32", .warning)
    }
  }
}
