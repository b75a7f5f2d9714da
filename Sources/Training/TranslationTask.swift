import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeGeneration
import KalsaeMetrics
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import KalsaeTokenizers

/// An encoder-decoder that learns to translate ("Formal Algorithms for Transformers", algorithm 11, EDTraining).
public struct TranslationTask: TrainingTask {
  /// Of the target.
  public static let unit = "tokens"
  public let configuration: TranslationConfiguration
  public let tokenizer: Tokenizer
  /// Pairs to learn from, and held out ones with their texts.
  public let training: TranslationBatches
  public let validation: (batches: TranslationBatches, source: [String], target: [String])?
  private let model: TransformerConfig

  public init(_ given: TranslationConfiguration, report: @escaping @Sendable (String) -> Void) throws {
    var configuration = given
    guard !configuration.source.isEmpty, !configuration.target.isEmpty else {
      throw RunError("no sentences: give --source FILE and --target FILE")
    }
    func full(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
    configuration.source = full(configuration.source)
    configuration.target = full(configuration.target)
    configuration.validationSource = configuration.validationSource.map(full)
    configuration.validationTarget = configuration.validationTarget.map(full)
    configuration.tokenizer = configuration.tokenizer.map(full)
    let text = try ParallelText(source: configuration.source, target: configuration.target)
    let tokenizer =
      try configuration.tokenizer.map { try Tokenizer(path: $0) } ?? Self.train(text, configuration)
    let model = try Self.model(configuration, tokenizer)
    configuration.model = model

    func pairs(
      _ text: ParallelText, _ name: String, isShuffled: Bool
    ) throws -> (batches: TranslationBatches, source: [String], target: [String]) {
      let start = Int32(model.bos_token_id), end = model.eos_token_id
      let all = zip(text.source, text.target).map { source, target in
        (
          texts: (source, target), source: Translator.tokens(source, tokenizer, end: end),
          target: [start] + Translator.tokens(target, tokenizer, end: end)
        )
      }
      let longest = configuration.maximumLength
      let kept = all.filter {
        (2...longest).contains($0.source.count) && (3...longest + 1).contains($0.target.count)
      }
      if kept.count < all.count {
        report(
          "\(name): \(all.count - kept.count) of \(all.count) pairs are left out, empty or longer than "
            + "\(longest) tokens")
      }
      let batches = try TranslationBatches(
        source: kept.map(\.source), target: kept.map(\.target), name: name,
        limit: .examples(configuration.batchSize), padding: Int32(model.pad_token_id), isShuffled: isShuffled)
      return (batches, kept.map(\.texts.0), kept.map(\.texts.1))
    }
    training = try pairs(text, configuration.source, isShuffled: true).batches
    if let source = configuration.validationSource, let target = configuration.validationTarget {
      validation = try pairs(ParallelText(source: source, target: target), source, isShuffled: false)
    } else {
      validation = nil
    }
    (self.configuration, self.tokenizer, self.model) = (configuration, tokenizer, model)
  }

  /// One byte-level BPE for both languages, so that they can share a table.
  private static func train(_ text: ParallelText, _ c: TranslationConfiguration) throws -> Tokenizer {
    var trainer = TokenizerTrainer(vocabularySize: c.vocabularySize)
    trainer.specialTokens = ["<pad>", "<s>", "</s>"]
    return try trainer.train(.bytePairs, texts: text.source + text.target)
  }

  /// The configured model, completed by what the tokenizer says.
  private static func model(_ c: TranslationConfiguration, _ tokenizer: Tokenizer) throws -> TransformerConfig
  {
    var model = c.model ?? TranslationConfiguration.standardModel(dropout: c.dropout)
    if let size = model.vocab_size {
      guard size >= tokenizer.vocabularySize else {
        throw RunError(
          "the tokenizer has \(tokenizer.vocabularySize) tokens, but model.vocab_size is \(size)")
      }
    } else {
      model.vocab_size = tokenizer.vocabularySize
      func id(_ names: String...) throws -> Int {
        guard let id = names.lazy.compactMap({ tokenizer.id(of: $0) }).first else {
          throw RunError(
            "the tokenizer has none of the tokens \(names.joined(separator: ", ")): train one with kalsae tokenizer "
              + "train, or leave out --tokenizer")
        }
        return Int(id)
      }
      model.eos_token_id = try id("</s>", "<|endoftext|>", "[SEP]")
      model.bos_token_id = try id("<s>", "<|startoftext|>", "[CLS]", "</s>", "<|endoftext|>")
      model.pad_token_id = try id("<pad>", "[PAD]", "</s>", "<|endoftext|>")
    }
    if let problem = model.problem { throw RunError("model.\(problem.key) \(problem.reason)") }
    return model
  }

  public func makeModel() -> TransformerForTranslation { TransformerForTranslation(model) }

  public func makeOptimizer(_ contents: ModuleContents) -> any Optimizer {
    AdamW(contents, beta2: configuration.beta2, epsilon: 1e-9, weightDecay: configuration.weightDecay)
  }

  public var learningRate: LearningRate {
    configuration.schedule == .cosine
      ? configuration.cosineLearningRate
      : LearningRate(
        peak: configuration.learningRate, warmup: configuration.warmup, decay: .inverseSquareRoot)
  }

  public func makeLoader(
    at position: LoaderPosition
  ) throws -> () throws -> (batch: TranslationBatch, positionAfter: LoaderPosition) {
    let loader = try TokenLoader(training, seed: configuration.seed, position: position)
    return {
      let step = try loader.next()
      return (step.batch, step.positionAfter)
    }
  }

  public func count(_ batch: TranslationBatch) -> Int { batch.labels.count { $0 != ignoredTokenLabel } }

  /// Source tokens and where there are any, (B, S); what the decoder reads and what it shall say, (B, T).
  public func inputs(_ batch: TranslationBatch) -> [Tensor] {
    [batch.sourceTensor, batch.sourceMaskTensor, batch.targetInputTensor, batch.labelTensor]
  }

  public func loss(
    of model: TransformerForTranslation, on inputs: [Tensor], key: RandomKey,
    observe: @escaping (String, Tensor) -> Void
  ) -> Tensor {
    linearCrossEntropy(
      hidden(model, inputs, observe), weight: model.generator.weight.value, labels: inputs[3],
      labelSmoothing: configuration.labelSmoothing, ignoredLabel: Int(ignoredTokenLabel))
  }

  private func hidden(
    _ model: TransformerForTranslation, _ inputs: [Tensor], _ observe: @escaping (String, Tensor) -> Void
  ) -> Tensor {
    let source = model.encode(inputs[0], mask: inputs[1], observe: observe)
    // Padding stands behind the words, where causal attention does not look.
    return model.hidden(inputs[2], source, observe: observe)
  }

  /// The tokenizer, so that the run can be used without the files it came from.
  public func addFiles(to run: RunFolder) throws { try tokenizer.save(to: run.tokenizerPath) }

  public func inspect(
    _ model: TransformerForTranslation, step: Int, run: RunFolder, log: RunLog, shouldStop: () -> Bool
  ) throws -> [(name: String, value: Double)] {
    guard let validation, configuration.isTimeToEvaluate(step) else {
      return []
    }
    var perplexity = Perplexity()
    let weight = model.generator.weight.value
    for batch in try validation.batches.batches() {
      if shouldStop() { return [] }
      let total = Mode.evaluation {
        Autocast.with(configuration.precision.autocast) {
          let inputs = self.inputs(batch)
          return linearCrossEntropies(
            hidden(model, inputs) { _, _ in }, weight: weight, labels: inputs[3],
            ignoredLabel: Int(ignoredTokenLabel)
          ).sum()
        }
      }
      let words = count(batch)
      perplexity.add(loss: total.item() / Double(words), count: words)
    }
    var translator = Translator(model: model, tokenizer: tokenizer)
    // The most probable tokens, for speed; `kalsae translate` searches.
    (translator.beams, translator.batchSize) = (1, 64)
    let found = try Autocast.with(configuration.precision.autocast) {
      try translator.translate(validation.source) { _ in !shouldStop() }
    }
    guard found.count == validation.source.count else { return [] }
    return [
      ("validation_loss", perplexity.loss), ("validation_perplexity", perplexity.perplexity),
      ("validation_bleu", BLEU(found, reference: validation.target).score),
    ]
  }
}

extension Translator {
  /// Opens a run of `kalsae train translation`.
  public init(run path: String, weights: RunWeights = .ema, step: Int? = nil) throws {
    let run = RunFolder(path)
    let configuration: TranslationConfiguration = try run.configuration()
    guard let config = configuration.model else {
      throw RunError("\(run.configPath) has no model: the run has not started training")
    }
    let model = TransformerForTranslation(config)
    try run.load(weights, step: step, into: model.contents)
    self.init(model: model, tokenizer: try Tokenizer(path: run.tokenizerPath))
  }
}
