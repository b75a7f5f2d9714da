import Logging
import ArgumentParser
import Kalsae
import KalsaePipelines
import KalsaeRuntime
import KalsaeTraining

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a run's model as a folder in the layout of diffusers, or of transformers.",
    discussion: """
      Python opens it with DDPMPipeline, ViTForImageClassification or BertForSequenceClassification .from_pretrained(FOLDER). \
      Runs of ddpm and classifier can be written.
      """)

  @Argument(help: ArgumentHelp("The run folder.", valueName: "run")) var source: String
  @Option(name: [.short, .long], help: ArgumentHelp("The model folder to write.", valueName: "folder"))
  var output: String
  @Option(help: "The averaged weights or those being trained.") var weights = RunWeights.ema
  @Option(help: "The checkpoint; the newest when not given.") var step: Int?
  @OptionGroup var outputOptions: OutputOptions

  func run() throws {
    try Backends.with(.cpu()) {
      let run = RunFolder(source)
      if run.task == ClassifierConfiguration.task {
        try run.exportClassifier(to: output, weights: weights, step: step)
      } else {
        try DDPMPipeline(run: run, weights: weights, step: step).save(to: output)
      }
    }
    Console.result(output)
  }
}
