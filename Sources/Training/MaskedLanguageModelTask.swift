import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeGeneration
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import KalsaeTokenizers

/// An encoder that learns to fill in hidden tokens, and whether one text follows another (Devlin et al. 2018, section
/// 3.1; "Formal Algorithms for Transformers", algorithm 12, ETraining).
public struct MaskedLanguageModelTask: TrainingTask {
  public static let unit = "tokens"
  public let configuration: MaskedLanguageModelConfiguration
  public let tokenizer: Tokenizer
  /// Examples to learn from, and held out ones.
  public let training: PreTrainingTexts, validation: PreTrainingTexts?
  private let model: BertConfig
  private let tokens: EncoderTokens
  private let masking: TokenMasking

  public init(
    _ given: MaskedLanguageModelConfiguration, report: @escaping @Sendable (String) -> Void
  ) throws {
    var configuration = given
    guard !configuration.text.isEmpty else { throw RunError("no text: give --text FILE...") }
    guard !configuration.tokenizer.isEmpty else { throw RunError("no tokenizer: give --tokenizer FILE") }
    func full(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
    configuration.text = configuration.text.map(full)
    configuration.tokenizer = full(configuration.tokenizer)
    tokenizer = try Tokenizer(path: configuration.tokenizer)
    do {
      tokens = try EncoderTokens(tokenizer)
    } catch {
      throw RunError("\(configuration.tokenizer): \(error)")
    }
    let model = try Self.completed(configuration, tokenizer, tokens)
    configuration.model = model

    let special = (0..<Int32(tokenizer.vocabularySize)).filter(tokenizer.isSpecial)
    masking = try TokenMasking(
      mask: tokens.mask, vocabulary: tokenizer.vocabularySize, special: tokens.all.union(special),
      probability: configuration.maskProbability)
    var corpus = try Corpus(contentsOf: configuration.text), heldOut: Corpus?
    if configuration.validationFraction > 0 {
      (corpus, heldOut) = try corpus.split(
        validationFraction: configuration.validationFraction, wholeDocuments: configuration.nextSentence)
    }
    let (tokens, tokenizer) = (tokens, tokenizer)
    func texts(_ corpus: Corpus, _ name: String) throws -> PreTrainingTexts {
      try PreTrainingTexts(
        corpus, name: name, tokenizer: tokenizer, tokens: tokens, length: configuration.contextLength,
        arePairs: configuration.nextSentence, arePacked: configuration.packing)
    }
    training = try texts(corpus, corpus.name)
    validation = try heldOut.map { try texts($0, "\($0.name), the held-out part (--validation-fraction)") }
    (self.configuration, self.model) = (configuration, model)
  }

  /// The model with what follows from the tokenizer and the task.
  private static func completed(
    _ configuration: MaskedLanguageModelConfiguration, _ tokenizer: Tokenizer, _ tokens: EncoderTokens
  ) throws -> BertConfig {
    var model =
      configuration.model
      ?? MaskedLanguageModelConfiguration.standardModel(
        context: configuration.contextLength, dropout: configuration.dropout)
    // Left out, the size of the vocabulary follows from the tokenizer.
    if model.vocab_size == BertConfig().vocab_size { model.vocab_size = tokenizer.vocabularySize }
    guard model.vocab_size >= tokenizer.vocabularySize else {
      throw RunError(
        "the tokenizer has \(tokenizer.vocabularySize) tokens, but model.vocab_size is \(model.vocab_size): leave "
          + "it out, or choose the tokenizer that belongs to it")
    }
    model.pad_token_id = Int(tokens.padding)
    model.architectures = [configuration.nextSentence ? "BertForPreTraining" : "BertForMaskedLM"]
    if let problem = model.problem { throw RunError("model.\(problem.key) \(problem.reason)") }
    return model
  }

  public func makeModel() -> BertPreTrainingModel {
    BertPreTrainingModel(model, predictsNextSentence: configuration.nextSentence)
  }

  public func makeOptimizer(_ contents: ModuleContents) -> any Optimizer {
    AdamW(contents, beta2: configuration.beta2, weightDecay: configuration.weightDecay)
  }

  public var learningRate: LearningRate { configuration.cosineLearningRate }

  public func makeLoader(
    at position: LoaderPosition
  ) throws -> () throws -> (batch: SequenceBatch, positionAfter: LoaderPosition) {
    let loader = try TokenLoader(
      try batches(of: training, isShuffled: true), seed: configuration.seed, position: position)
    return {
      let step = try loader.next()
      return (step.batch, step.positionAfter)
    }
  }

  private func batches(
    of texts: PreTrainingTexts, isShuffled: Bool
  ) throws -> SequenceBatches<PreTrainingTexts> {
    try SequenceBatches(
      texts, limit: .examples(configuration.batchSize), padding: tokens.padding,
      maximumLength: configuration.contextLength, masking: masking, isShuffled: isShuffled)
  }

  public func count(_ batch: SequenceBatch) -> Int { batch.mask.count { $0 } }

  /// Tokens and where there are any, (B, T); places and originals of the hidden ones; with pairs of texts also which of
  /// the two a token belongs to, (B, T), and which pairs are real, (B).
  public func inputs(_ batch: SequenceBatch) -> [Tensor] {
    // Batches of one shape have as many places.
    let hidden = batch.maskedPlaces(count: batch.rows * masking.mostHidden(of: batch.length))
    let words = [batch.tokenTensor, batch.maskTensor, Tensor(hidden.places), Tensor(hidden.labels)]
    guard configuration.nextSentence, let classes = batch.labelTensor else { return words }
    return words + [batch.segmentTensor, classes]
  }

  public func loss(
    of model: BertPreTrainingModel, on inputs: [Tensor], key: RandomKey,
    observe: @escaping (String, Tensor) -> Void
  ) -> Tensor {
    let output = predict(model, inputs, observe)
    let words = model.wordLoss(output.features, inputs[3], ignored: Int(ignoredTokenLabel))
    guard let relationship = output.relationship, inputs.count > 5 else { return words }
    return words + crossEntropy(relationship.cast(to: .float32), inputs[5])
  }

  /// What the model says of a batch's hidden tokens.
  private func predict(
    _ model: BertPreTrainingModel, _ inputs: [Tensor], _ observe: @escaping (String, Tensor) -> Void
  ) -> BertPreTrainingModel.Output {
    model(
      inputs[0], at: inputs[2], attentionMask: inputs[1], segments: inputs.count > 4 ? inputs[4] : nil,
      observe: observe)
  }

  /// The tokenizer, so that the run can be used without the files it came from.
  public func addFiles(to run: RunFolder) throws { try tokenizer.save(to: run.tokenizerPath) }

  public func inspect(
    _ model: BertPreTrainingModel, step: Int, run: RunFolder, log: RunLog, shouldStop: () -> Bool
  ) throws -> [(name: String, value: Double)] {
    guard configuration.isTimeToEvaluate(step) else { return [] }
    return try validate(model, shouldStop: shouldStop) ?? []
  }

  /// On held-out text, hidden the same way each time: the mean cross-entropy of the hidden tokens in nats, the share of
  /// them that is the most probable one, and of the pairs that are told right; nil without such text or when it should
  /// stop.
  public func validate(
    _ model: BertPreTrainingModel, shouldStop: () -> Bool = { false }
  ) throws -> [(name: String, value: Double)]? {
    guard let validation else { return nil }
    var loss = 0.0, right = 0.0, hidden = 0, pairsRight = 0.0, pairs = 0
    for batch in try batches(of: validation, isShuffled: false).batches() {
      if shouldStop() { return nil }
      let sums: [Tensor] = Mode.evaluation {
        Autocast.with(configuration.precision.autocast) { self.sums(model, self.inputs(batch)) }
      }
      evaluate(sums)
      let count = batch.maskedLabels!.count { $0 != ignoredTokenLabel }
      loss += sums[0].item() * Double(count)
      right += sums[1].item()
      hidden += count
      if sums.count > 2 {
        pairsRight += sums[2].item()
        pairs += batch.rows
      }
    }
    guard hidden > 0 else { return nil }
    var measured = [
      ("validation_loss", loss / Double(hidden)), ("validation_accuracy", right / Double(hidden)),
    ]
    if pairs > 0 { measured.append(("validation_next_sentence_accuracy", pairsRight / Double(pairs))) }
    return measured
  }

  /// Of a batch: the mean loss of its hidden tokens, how many are told right, and how many pairs.
  private func sums(_ model: BertPreTrainingModel, _ inputs: [Tensor]) -> [Tensor] {
    let output = predict(model, inputs) { _, _ in }, labels = inputs[3]
    let logits = model.wordLogits(output.features)
    func countRight(_ logits: Tensor, _ labels: Tensor) -> Tensor {
      (logits.argMax() .== labels).cast(to: .float32).sum()
    }
    var sums = [
      maskedTokenLoss(logits, labels, ignored: Int(ignoredTokenLabel)), countRight(logits, labels),
    ]
    if let relationship = output.relationship, inputs.count > 5 {
      sums.append(countRight(relationship, inputs[5]))
    }
    return sums
  }
}
