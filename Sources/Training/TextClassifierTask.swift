import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import KalsaeTokenizers

/// BERT that learns to which class a text belongs (arXiv 1810.04805, section 4.1).
public struct TextClassifierTask: TrainingTask {
  public static let unit = "texts"
  public let configuration: ClassifierConfiguration
  public let tokenizer: Tokenizer
  /// What is learned from, at most as much of it as was asked for.
  public let training: LabelledText
  public let test: LabelledText?
  private let model: BertConfig
  private let reader: TextReader

  public init(_ given: ClassifierConfiguration, report: @escaping @Sendable (String) -> Void) throws {
    var c = given
    func full(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
    guard case .bert = c.model else { throw RunError("\(c.model.kind.rawValue) reads pictures, not texts") }
    guard !c.data.isEmpty else { throw RunError("no data: give --data FILE.tsv") }
    (c.data, c.from, c.validationData) = (full(c.data), c.from.map(full), c.validationData.map(full))
    guard let path = try c.tokenizer ?? c.from.map({ try ModelSource($0).tokenizerPath }) else {
      throw RunError("no tokenizer: give --tokenizer FILE (kalsae tokenizer train makes one), or --from")
    }
    c.tokenizer = full(path)
    tokenizer = try Tokenizer(path: path)
    let known = try c.pretrainedModel()
    let all = try LabelledText.open(c.data)
    guard all.classes > 1 else {
      throw RunError("\(all.name) has the one label \(all.classNames[0]): a classifier needs two or more")
    }
    var training = all
    if let path = c.validationData {
      test = try LabelledText.open(path, classNames: all.classNames)
    } else if c.validationFraction > 0 {
      let parts = try all.split(fraction: c.validationFraction)
      (training, test) = (parts.training, parts.test)
    } else {
      test = nil
    }
    if let count = c.trainExamples { training = try training.sample(count, seed: c.seed) }
    self.training = training
    let model = try c.completed(known, for: all.classNames, tokenizer)
    c.model = .bert(model)
    if let problem = c.problem { throw RunError("\(problem.key) \(problem.reason)") }
    (configuration, self.model) = (c, model)
    reader = TextReader(tokenizer, model, length: c.contextLength)
  }

  public func makeModel() -> BertForSequenceClassification { BertForSequenceClassification(model) }

  public func initialize(_ model: BertForSequenceClassification) throws {
    if let from = configuration.from { try model.loadBackbone(from: ModelSource(from).weights()) }
  }

  public func makeOptimizer(_ contents: ModuleContents) -> any Optimizer {
    AdamW(contents, beta2: configuration.beta2, weightDecay: configuration.weightDecay)
  }

  public var learningRate: LearningRate { configuration.cosineLearningRate }

  public func makeLoader(
    at position: LoaderPosition
  ) throws -> () throws -> (batch: SequenceBatch, positionAfter: LoaderPosition) {
    let batches = try reader.batches(
      training.texts, labels: training.labels, name: training.name, size: configuration.batchSize,
      isShuffled: true)
    let loader = try TokenLoader(batches, seed: configuration.seed, position: position)
    return {
      let step = try loader.next()
      return (step.batch, step.positionAfter)
    }
  }

  public func count(_ batch: SequenceBatch) -> Int { batch.rows }

  /// Tokens and where there are any, (B, T), and classes, (B).
  public func inputs(_ batch: SequenceBatch) -> [Tensor] {
    [batch.tokenTensor, batch.maskTensor, batch.labelTensor!]
  }

  public func loss(
    of model: BertForSequenceClassification, on inputs: [Tensor], key: RandomKey,
    observe: @escaping (String, Tensor) -> Void
  ) -> Tensor {
    let logits = model(inputs[0], attentionMask: inputs[1], observe: observe).cast(to: .float32)
    return crossEntropy(logits, inputs[2], labelSmoothing: configuration.labelSmoothing)
  }

  /// The tokenizer, so that the run can be used without the files it came from.
  public func addFiles(to run: RunFolder) throws { try tokenizer.save(to: run.tokenizerPath) }

  public func inspect(
    _ model: BertForSequenceClassification, step: Int, run: RunFolder, log: RunLog, shouldStop: () -> Bool
  ) throws -> [(name: String, value: Double)] {
    guard let test, configuration.isTimeToEvaluate(step) else { return [] }
    return try Autocast.with(configuration.precision.autocast) {
      try model.score(on: test, reader, shouldStop: shouldStop)?.measured ?? []
    }
  }
}

/// Texts as the input of an encoder.
struct TextReader: Sendable {
  private let tokenizer: Tokenizer
  private let padding: Int32
  private let length: Int

  /// - Parameter length: the most tokens of a text; what is over is cut off.
  init(_ tokenizer: Tokenizer, _ model: BertConfig, length: Int) {
    var tokenizer = tokenizer
    tokenizer.padding = nil
    tokenizer.truncation = Truncation(maximumLength: length)
    self.tokenizer = tokenizer
    (padding, self.length) = (Int32(model.pad_token_id ?? 0), length)
  }

  func batches(
    _ texts: [String], labels: [Int]? = nil, name: String, size: Int, isShuffled: Bool
  ) throws -> SequenceBatches<FixedSequences> {
    let sequences = try texts.enumerated().map { place, text in
      let ids = tokenizer.encode(text).ids
      guard !ids.isEmpty else { throw RunError("\(name): text \(place + 1) has no tokens") }
      return TokenSequence(ids, label: labels.map { Int32($0[place]) })
    }
    return try SequenceBatches(
      FixedSequences(sequences, name: name), limit: .examples(size), padding: padding, maximumLength: length,
      isShuffled: isShuffled)
  }
}

extension BertForSequenceClassification {
  /// (rows, classes), in float32.
  func logits(_ batch: SequenceBatch) -> Tensor {
    self(batch.tokenTensor, attentionMask: batch.maskTensor).cast(to: .float32)
  }

  /// How well it does on labelled texts; nil when it should stop meanwhile.
  func score(
    on texts: LabelledText, _ reader: TextReader, shouldStop: () -> Bool = { false }
  ) throws -> ClassificationScore? {
    var score = ClassificationScore(classes: texts.classes)
    let batches = try reader.batches(
      texts.texts, labels: texts.labels, name: texts.name, size: 64, isShuffled: false)
    for batch in try batches.batches() {
      if shouldStop() { return nil }
      let logits = Mode.evaluation { self.logits(batch) }
      score.add(logits: logits.floats(), labels: batch.labels!.map(Int.init))
    }
    return score
  }
}

extension LabelledText {
  /// Reads a table; says what is wanted where `path` names a folder or a data set of pictures.
  static func open(_ path: String, classNames: [String]? = nil) throws -> LabelledText {
    var isFolder: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
    guard exists, !isFolder.boolValue else {
      throw RunError(
        "\(path) is no file: bert reads texts, from a table of texts and labels (--data FILE.tsv)")
    }
    return try LabelledText(contentsOf: path, classNames: classNames)
  }
}
