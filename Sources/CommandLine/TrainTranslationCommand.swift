import ArgumentParser
import Foundation
import Kalsae
import KalsaeTraining

struct TrainTranslation: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "translation",
    abstract: "Train a translator (the Transformer) on pairs of sentences.",
    discussion: """
      Line n of one file is the translation of line n of the other. With validation files the loss, the perplexity and \
      the BLEU of the most probable translations are measured as training goes on.

        kalsae train translation --source train.de --target train.en \\
          --validation-source val.de --validation-target val.en --output runs/german-english
        kalsae translate runs/german-english "Zwei Hunde spielen im Schnee."

      \(defaults(TranslationConfiguration.self, ", a vocabulary of \(standard.vocabularySize), at most \(standard.maximumLength) tokens a side, label smoothing \(standard.labelSmoothing), schedule \(standard.schedule.rawValue), \(evaluationDefaults(standard))"))
      """)
  private static let standard = TranslationConfiguration()

  @Option(help: ArgumentHelp("Sentences to translate, one a line (UTF-8, also .gz).", valueName: "file"))
  var source: String?
  @Option(help: ArgumentHelp("Their translations.", valueName: "file")) var target: String?
  @Option(help: ArgumentHelp("Sentences that are not learned from.", valueName: "file"))
  var validationSource: String?
  @Option(help: ArgumentHelp("Their translations.", valueName: "file")) var validationTarget: String?
  @OptionGroup var training: TrainingArguments
  @Option(help: "A tokenizer's file or folder; a byte-level BPE is trained on both sides when not given.")
  var tokenizer: String?
  @Option(help: "Tokens of the tokenizer that is trained.") var vocabularySize: Int?
  @Option(help: "Pairs with more tokens on a side are left out.") var maximumLength: Int?
  @Option(help: "The share of probability that is spread over all words.") var labelSmoothing: Double?
  @Option(help: "How the learning rate falls after its warm-up.") var schedule:
    TranslationConfiguration.Schedule?
  @OptionGroup var evaluation: EvaluationArguments
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if training.isFromNothing, source == nil || target == nil {
      throw ValidationError(
        "--source and --target are both needed: line n of one translates line n of the other.")
    }
  }

  func run() throws {
    try training.train(TranslationTask.self, try resolved(), outputOptions) { trainer in
      let task = trainer.task
      return "\(task.training.count) pairs to learn from, \(task.validation?.batches.count ?? 0) held out, "
        + "vocabulary \(task.tokenizer.vocabularySize)"
    }
  }

  private func resolved() throws -> TranslationConfiguration {
    var c: TranslationConfiguration = try training.configuration()
    func set<T>(_ path: WritableKeyPath<TranslationConfiguration, T>, _ value: T?) {
      if let value { c[keyPath: path] = value }
    }
    set(\.source, source)
    set(\.target, target)
    set(\.validationSource, validationSource)
    set(\.validationTarget, validationTarget)
    set(\.tokenizer, tokenizer)
    set(\.vocabularySize, vocabularySize)
    set(\.maximumLength, maximumLength)
    set(\.labelSmoothing, labelSmoothing)
    set(\.schedule, schedule)
    evaluation.apply(to: &c)
    if let dropout = training.dropout { c.model?.dropout = dropout }
    return c
  }
}
