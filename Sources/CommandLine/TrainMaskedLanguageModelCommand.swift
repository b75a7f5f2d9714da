import ArgumentParser
import Foundation
import Kalsae
import KalsaeTraining

struct TrainMaskedLanguageModel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "masked-language-model",
    abstract: "Pre-train an encoder (BERT's architecture) on text: it learns to fill in hidden words.",
    discussion: """
      Each line is an example; of a table (.tsv, or a header with the columns document, text, review or sentence, and \
      label) each row's text. With --next-sentence a line is a sentence, empty lines separate documents, and the \
      model also learns whether one text follows another. The last part is held out, to measure the loss in nats for \
      each hidden token and how many of them are found.

        kalsae tokenizer train --type wordpiece --vocab-size 8000 --cased --output tokenizer.json reviews.tsv
        kalsae train masked-language-model --text reviews.tsv --tokenizer tokenizer.json --output runs/reviews
        kalsae fill-mask runs/reviews "What a [MASK] film!"

      \(defaults(MaskedLanguageModelConfiguration.self, ", context \(standard.contextLength), mask probability \(standard.maskProbability), validation fraction \(standard.validationFraction), \(evaluationDefaults(standard)); 4 layers of 256 features, 4 heads"))
      """)
  private static let standard = MaskedLanguageModelConfiguration()

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("Text files or tables (UTF-8, also .gz).", valueName: "file"))
  var text: [String] = []
  @Option(help: "A tokenizer's file or folder, with the tokens [CLS], [SEP], [PAD] and [MASK].")
  var tokenizer: String?
  @OptionGroup var training: TrainingArguments
  @Flag(help: "Also learn whether one text follows another.") var nextSentence = false
  @Flag(help: "Fill the context with neighbouring lines of a document.") var packing = false
  @Option(help: "The share of the tokens that are to be predicted.") var maskProbability: Double?
  @Option(
    help: "The last part of the lines (of the documents with --next-sentence), held out; 0: none.")
  var validationFraction: Double?
  @Option(help: "Tokens that the model sees at once; longer texts are cut.") var contextLength: Int?
  @OptionGroup var evaluation: EvaluationArguments
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    guard training.isFromNothing else { return }
    if text.isEmpty { throw ValidationError("--text is missing: name a text file.") }
    if tokenizer == nil {
      throw ValidationError(
        "--tokenizer is missing: make one with kalsae tokenizer train --type wordpiece.")
    }
  }

  func run() throws {
    try training.train(MaskedLanguageModelTask.self, try resolved(), outputOptions) { trainer in
      let task = trainer.task, c = task.configuration
      return
        "\(task.training.count) \(c.nextSentence ? "runs of sentences" : "examples") of "
        + "\(task.training.tokenCount) tokens to learn from, \(task.validation?.count ?? 0) held out, vocabulary "
        + "\(task.tokenizer.vocabularySize)"
    }
  }

  private func resolved() throws -> MaskedLanguageModelConfiguration {
    var c: MaskedLanguageModelConfiguration = try training.configuration()
    func set<T>(_ path: WritableKeyPath<MaskedLanguageModelConfiguration, T>, _ value: T?) {
      if let value { c[keyPath: path] = value }
    }
    if training.resume, nextSentence, !c.nextSentence {
      throw ValidationError("the run has no next sentences: start another one with --next-sentence.")
    }
    if !text.isEmpty { c.text = text }
    set(\.tokenizer, tokenizer)
    if nextSentence { c.nextSentence = true }
    if packing { c.packing = true }
    set(\.maskProbability, maskProbability)
    set(\.validationFraction, validationFraction)
    set(\.contextLength, contextLength)
    evaluation.apply(to: &c)
    if let dropout = training.dropout {
      c.model?.hidden_dropout_prob = dropout
      // Inside attention there is at most as much.
      if let model = c.model {
        c.model?.attention_probs_dropout_prob = min(model.attention_probs_dropout_prob, dropout)
      }
    }
    return c
  }
}
