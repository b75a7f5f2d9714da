import ArgumentParser
import Foundation
import Kalsae
import KalsaeCheckpoints
import KalsaeData
import KalsaeRuntime
import KalsaeTensors
import KalsaeTraining

struct Classify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Put pictures or texts into classes.",
    discussion: """
      Prints a line for each input: the most probable classes with their probabilities.

        kalsae classify runs/fashion shoe.png coat.jpg
        kalsae classify runs/reviews "a fine film" --top 1
        kalsae classify runs/fashion --data fashion-mnist
      """)

  @Argument(
    help: ArgumentHelp(
      "A run of kalsae train classifier, or a model folder with config.json and model.safetensors.",
      valueName: "run-or-model"))
  var model: String
  @Argument(help: ArgumentHelp("PNG or JPEG files, or texts.", valueName: "input")) var inputs: [String] = []
  @Option(
    help: ArgumentHelp("Take the inputs from this file too: one path or text a line.", valueName: "file"))
  var input: String?
  @Option(
    help: ArgumentHelp(
      "Print how well it does on a labelled set instead: fashion-mnist, cifar10:FOLDER, a folder by class, or a table of texts.",
      valueName: "data"))
  var data: String?
  @Option(help: "How many classes are printed.") var top = 3
  @Option(help: "A run's averaged weights or those being trained.") var weights = RunWeights.ema
  @Option(help: "The run's checkpoint; the newest when not given.") var step: Int?
  @Flag(help: "Print JSON, a line for each input.") var json = false
  @OptionGroup var compute: ComputeOptions
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if top < 1 { throw ValidationError("--top must be at least 1, not \(top).") }
    if data != nil, !inputs.isEmpty || input != nil {
      throw ValidationError("--data measures a labelled set: give no other input.")
    }
    if data == nil, inputs.isEmpty, input == nil {
      throw ValidationError("there is nothing to classify: name pictures or texts, --input FILE or --data.")
    }
  }

  func run() throws {
    ComputeOptions.warnAboutPrecision(compute.precision ?? .float32, Console(outputOptions))
    let inputs = try inputs + (input.map { try TextFile.lines($0) } ?? [])
    try Backends.with(.cpu(threads: compute.threads)) {
      let classifier = try Classifier(runOrModel: model, weights: weights, step: step)
      try Autocast.with((compute.precision ?? .float32).autocast) {
        if let data {
          show(try classifier.evaluate(data))
        } else {
          for (input, answers) in zip(inputs, try classifier.classify(inputs)) {
            show(input, Array(answers.prefix(top)))
          }
        }
      }
    }
  }

  private func show(_ score: ClassificationScore) {
    guard !json else {
      let object: JSONObject = [
        "examples": .integer(score.count), "accuracy": .double(score.accuracy),
        "macro_f1": .double(score.macroF1), "loss": .double(score.loss),
      ]
      Console.result(JSON.object(object).text)
      return
    }
    Console.result(
      "accuracy \(fixed(score.accuracy, 4)), macro F1 \(fixed(score.macroF1, 4)), loss \(fixed(score.loss, 4)), "
        + "\(score.count) examples")
  }

  private func show(_ input: String, _ answers: [Classifier.Answer]) {
    guard !json else {
      let classes = answers.map { answer -> JSON in
        .object([
          "label": .integer(answer.label), "name": .string(answer.name),
          "probability": .double(answer.probability),
        ])
      }
      Console.result(JSON.object(["input": .string(input), "classes": .array(classes)]).text)
      return
    }
    Console.result(
      input + ": " + answers.map { "\($0.name) \(fixed($0.probability, 4))" }.joined(separator: ", "))
  }
}
