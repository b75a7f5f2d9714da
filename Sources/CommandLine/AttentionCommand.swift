import ArgumentParser
import Foundation
import Kalsae
import KalsaeInspection
import KalsaeRuntime
import KalsaeTensors
import KalsaeTraining

struct AttentionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attention",
    abstract: "Show what each token of a text, or each patch of a picture, attends to.",
    discussion: """
      The name of the output says what is written, of every layer and head or of those chosen:
      .html, a page to explore; .png, a heat map each, a row a layer; .safetensors, the numbers, a tensor a layer.

        kalsae attention runs/shakespeare "To be, or not to be" --output attention.html
        kalsae attention vit-base-patch16-224 cat.jpg --output cat.html
      """)

  @Argument(
    help: ArgumentHelp(
      "A run folder, or a model folder: config.json, model.safetensors and, for text, a tokenizer.",
      valueName: "run-or-model"))
  var model: String
  @Argument(
    help: ArgumentHelp("The text; for a model of pictures a PNG or JPEG file.", valueName: "text-or-image"))
  var input: String
  @Option(
    name: [.short, .long],
    help: ArgumentHelp("The file to write: .html, .png or .safetensors.", valueName: "file"))
  var output: String
  @Option(help: "With a translator: the translation to look at; its own when not given.")
  var target: String?
  @Option(help: "Only this layer, counted from 0.") var layer: Int?
  @Option(help: "Only this head of each layer, counted from 0.") var head: Int?
  @Option(help: "A run's averaged weights or those being trained.") var weights = RunWeights.ema
  @Option(help: "The step of a run's checkpoint; the newest when not given.") var step: Int?
  @OptionGroup var compute: ComputeOptions
  @OptionGroup var outputOptions: OutputOptions

  func run() throws {
    ComputeOptions.warnAboutPrecision(compute.precision ?? .float32, Console(outputOptions))
    let output = try AttentionOutput(path: output)
    try Backends.with(.cpu(threads: compute.threads)) {
      let model = try AttentionModel(runOrModel: model, weights: weights, step: step)
      let record = try Autocast.with((compute.precision ?? .float32).autocast) {
        try model.attention(to: input, target: target).choosing(layer: layer, head: head)
      }
      let title = record.picture == nil ? input : URL(fileURLWithPath: input).lastPathComponent
      try output.write(record, title: title)
      Console.result(self.output)
    }
  }
}
