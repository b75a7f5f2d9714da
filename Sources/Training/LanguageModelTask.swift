import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import KalsaeTokenizers

/// A decoder that predicts each next token of a text ("Formal Algorithms for Transformers", algorithm 13, DTraining).
public struct LanguageModelTask: TrainingTask {
  public static let unit = "tokens"
  public let configuration: LanguageModelConfiguration
  public let tokenizer: Tokenizer
  /// Tokens to learn from, and held out ones.
  public let training: TokenStream, validation: TokenStream?
  private let model: GPT2Config

  public init(_ given: LanguageModelConfiguration, report: @escaping @Sendable (String) -> Void) throws {
    var configuration = given
    guard !configuration.text.isEmpty else { throw RunError("no text: give --text FILE...") }
    func full(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
    configuration.text = configuration.text.map(full)
    let text = try configuration.text.map { try TextFile.read($0) }.joined()
    if configuration.tokenizer == "char" {
      tokenizer = Tokenizer.characters(of: text)
    } else {
      configuration.tokenizer = full(configuration.tokenizer)
      tokenizer = try Tokenizer(path: configuration.tokenizer)
    }
    var model =
      configuration.model
      ?? LanguageModelConfiguration.standardModel(
        vocabulary: tokenizer.vocabularySize, context: configuration.contextLength,
        dropout: configuration.dropout)
    // Left out, the size of the vocabulary follows from the tokenizer.
    if configuration.model?.vocab_size == GPT2Config().vocab_size {
      model.vocab_size = tokenizer.vocabularySize
    }
    guard model.vocab_size >= tokenizer.vocabularySize else {
      throw RunError(
        "the tokenizer has \(tokenizer.vocabularySize) tokens, but model.vocab_size is \(model.vocab_size)")
    }
    configuration.model = model
    if let problem = model.problem { throw RunError("model.\(problem.key) \(problem.reason)") }
    let name = configuration.text.count == 1 ? configuration.text[0] : "\(configuration.text.count) files"
    let stream = try TokenStream(
      tokenizer.encode(text, addsSpecialTokens: false).ids, name: name, vocabulary: model.vocab_size)
    if configuration.validationFraction > 0 {
      let parts = try stream.split(validationFraction: configuration.validationFraction)
      (training, validation) = (parts.training, parts.validation)
    } else {
      (training, validation) = (stream, nil)
    }
    (self.configuration, self.model) = (configuration, model)
  }

  public func makeModel() -> GPT2LMHeadModel { GPT2LMHeadModel(model) }

  public func makeOptimizer(_ contents: ModuleContents) -> any Optimizer {
    AdamW(contents, beta2: configuration.beta2, weightDecay: configuration.weightDecay)
  }

  public var learningRate: LearningRate { configuration.cosineLearningRate }

  public func makeLoader(
    at position: LoaderPosition
  ) throws -> () throws -> (batch: LanguageModelBatch, positionAfter: LoaderPosition) {
    let windows = try LanguageModelWindows(
      training, length: configuration.contextLength, batchSize: configuration.batchSize)
    let loader = try TokenLoader(windows, seed: configuration.seed, position: position)
    return {
      let step = try loader.next()
      return (step.batch, step.positionAfter)
    }
  }

  public func count(_ batch: LanguageModelBatch) -> Int { batch.inputs.count }

  /// Tokens and those that follow them, (B, T) each.
  public func inputs(_ batch: LanguageModelBatch) -> [Tensor] { [batch.inputTensor, batch.labelTensor] }

  public func loss(
    of model: GPT2LMHeadModel, on inputs: [Tensor], key: RandomKey,
    observe: @escaping (String, Tensor) -> Void
  ) -> Tensor { losses(model, inputs, observe).mean() }

  /// The cross-entropy of each next token, (B, T).
  private func losses(
    _ model: GPT2LMHeadModel, _ inputs: [Tensor], _ observe: @escaping (String, Tensor) -> Void
  ) -> Tensor {
    let x = model.transformer(inputs[0]) { observe("transformer." + $0, $1) }
    return linearCrossEntropies(
      x, weight: model.lm_head.weight.value, labels: inputs[1], ignoredLabel: Int(ignoredTokenLabel))
  }

  /// The tokenizer, so that the run can be used without the files it came from.
  public func addFiles(to run: RunFolder) throws { try tokenizer.save(to: run.tokenizerPath) }

  public func inspect(
    _ model: GPT2LMHeadModel, step: Int, run: RunFolder, log: RunLog, shouldStop: () -> Bool
  ) throws -> [(name: String, value: Double)] {
    guard configuration.isTimeToEvaluate(step),
      let loss = try validationLoss(of: model, shouldStop: shouldStop)
    else { return [] }
    return [("validation_loss", loss), ("validation_perplexity", exp(loss))]
  }

  /// The mean cross-entropy of the held-out tokens in nats, each predicted once from at most a window's tokens before
  /// it; nil without held-out text, or when it should stop.
  public func validationLoss(
    of model: GPT2LMHeadModel, shouldStop: () -> Bool = { false }
  ) throws -> Double? {
    guard let validation else { return nil }
    let windows = try LanguageModelWindows(
      validation, length: min(configuration.contextLength, validation.count - 1),
      batchSize: configuration.batchSize, order: .sequential)
    var sum = 0.0, count = 0
    for batch in try windows.batches() {
      if shouldStop() { return nil }
      let total = Mode.evaluation {
        Autocast.with(configuration.precision.autocast) { losses(model, inputs(batch)) { _, _ in }.sum() }
      }
      sum += total.item()
      count += batch.labels.count { $0 != ignoredTokenLabel }
    }
    return sum / Double(count)
  }
}

extension RunFolder {
  /// The tokenizer of a run on text.
  public var tokenizerPath: String { path + "/tokenizer.json" }
}
