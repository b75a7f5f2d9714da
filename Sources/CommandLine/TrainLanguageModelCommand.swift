import ArgumentParser
import Foundation
import Kalsae
import KalsaeTraining

struct TrainLanguageModel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "language-model",
    abstract: "Train a language model (GPT-2's architecture) on text.",
    discussion: """
      The last part of the text is held out; its loss, in nats for each token, is the validation loss.

        kalsae train language-model --text shakespeare.txt --output runs/shakespeare
        kalsae generate runs/shakespeare --prompt "ROMEO:"

      \(defaults(LanguageModelConfiguration.self, ", context \(standard.contextLength), validation fraction \(standard.validationFraction), \(evaluationDefaults(standard))"))
      """)
  private static let standard = LanguageModelConfiguration()

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("Text files (UTF-8, also .gz), one after the other.", valueName: "file"))
  var text: [String] = []
  @OptionGroup var training: TrainingArguments
  @Option(help: "char, or a tokenizer's file or folder.") var tokenizer: String?
  @Option(help: "The last part of the text, held out; 0: none.") var validationFraction: Double?
  @Option(help: "Tokens that the model sees at once.") var contextLength: Int?
  @OptionGroup var evaluation: EvaluationArguments
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if training.isFromNothing, text.isEmpty { throw ValidationError("--text is missing: name a text file.") }
  }

  func run() throws {
    try training.train(LanguageModelTask.self, try resolved(), outputOptions) { trainer in
      let task = trainer.task
      return
        "\(task.training.count) tokens to learn from, \(task.validation?.count ?? 0) held out, vocabulary "
        + "\(task.tokenizer.vocabularySize)"
    }
  }

  private func resolved() throws -> LanguageModelConfiguration {
    var c: LanguageModelConfiguration = try training.configuration()
    func set<T>(_ path: WritableKeyPath<LanguageModelConfiguration, T>, _ value: T?) {
      if let value { c[keyPath: path] = value }
    }
    if !text.isEmpty { c.text = text }
    set(\.tokenizer, tokenizer)
    set(\.validationFraction, validationFraction)
    set(\.contextLength, contextLength)
    evaluation.apply(to: &c)
    if let dropout = training.dropout {
      c.model?.resid_pdrop = dropout
      c.model?.embd_pdrop = dropout
      c.model?.attn_pdrop = dropout
    }
    return c
  }
}
