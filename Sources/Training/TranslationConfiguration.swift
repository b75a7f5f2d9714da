import KalsaeCheckpoints
import KalsaeModels
import KalsaeNeural

/// A run that trains a translator on pairs of sentences; `model` has the keys of `TransformerConfig`.
public struct TranslationConfiguration: EvaluatedConfiguration {
  public static let task = "translation"

  /// How the learning rate falls after its warm-up.
  public enum Schedule: String, Sendable, CaseIterable {
    /// The paper's: with the inverse square root of the step.
    case inverseSquareRoot = "inverse-square-root"
    /// Half a cosine, down to `finalLearningRate`.
    case cosine
  }

  /// Line n of one file is the translation of line n of the other.
  public var source = "", target = ""
  public var validationSource: String? = nil, validationTarget: String? = nil
  /// A tokenizer's file or folder; a byte-level BPE is trained on both languages when nil.
  public var tokenizer: String? = nil
  /// Tokens of the tokenizer that is trained.
  public var vocabularySize = 8000
  /// Pairs with more tokens on a side are left out.
  public var maximumLength = 128
  public var labelSmoothing = 0.1
  public var schedule = Schedule.inverseSquareRoot
  public var finalLearningRate = 0.02
  public var weightDecay = 0.0
  public var beta2 = 0.98
  public var evaluateEvery = 500
  public var steps = 8000
  /// Pairs.
  public var batchSize = 128
  public var learningRate = 1e-3
  public var warmup = 800
  public var precision = Precision.float32
  public var recompute = false
  public var ema = 0.999
  public var gradientClip = 1.0
  public var dropout = 0.3
  public var seed: UInt64 = 0
  public var threads: Int? = nil
  public var checkpointEvery = 1000
  public var keep = 2
  public var model: TransformerConfig? = nil

  public init() {}

  /// The model that suits some ten thousand sentences when none is configured.
  public static func standardModel(dropout: Double) -> TransformerConfig {
    var model = TransformerConfig()
    (model.d_model, model.nhead, model.dim_feedforward) = (256, 4, 1024)
    (model.num_encoder_layers, model.num_decoder_layers) = (3, 3)
    (model.dropout, model.attention_dropout) = (dropout, 0)
    (model.norm_first, model.batch_first) = (true, true)
    model.max_position_embeddings = 512
    return model
  }
}

extension TranslationConfiguration {
  public init(_ c: ConfigJSON, over standard: TranslationConfiguration = .init()) throws(ConfigError) {
    self = standard
    try readEvaluated(c)
    source = try c("source", or: source)
    target = try c("target", or: target)
    validationSource = try c("validation_source", or: validationSource)
    validationTarget = try c("validation_target", or: validationTarget)
    tokenizer = try c("tokenizer", or: tokenizer)
    vocabularySize = try c("vocabulary_size", or: vocabularySize)
    maximumLength = try c("maximum_length", or: maximumLength)
    labelSmoothing = try c("label_smoothing", or: labelSmoothing)
    schedule = try c.option("schedule", or: schedule)
    if let nested = try c.nested("model") { model = try TransformerConfig(nested) }
    try c.finish()
    if let problem { throw c.invalid(problem.key, problem.reason) }
  }

  public var json: JSONObject {
    var object = evaluatedJSON
    object["source"] = .string(source)
    object["target"] = .string(target)
    object["validation_source"] = validationSource.json
    object["validation_target"] = validationTarget.json
    object["tokenizer"] = tokenizer.json
    object["vocabulary_size"] = .integer(vocabularySize)
    object["maximum_length"] = .integer(maximumLength)
    object["label_smoothing"] = .double(labelSmoothing)
    object["schedule"] = .string(schedule.rawValue)
    if let model { object["model"] = .object(model.json) }
    return object
  }

  public var problem: (key: String, reason: String)? {
    if let evaluatedProblem { return evaluatedProblem }
    if (validationSource == nil) != (validationTarget == nil) {
      return (
        validationSource == nil ? "validation_source" : "validation_target",
        "is missing: a validation needs both sides"
      )
    }
    if vocabularySize < 300 {
      return ("vocabulary_size", "must be at least 300 (256 bytes and some words), not \(vocabularySize)")
    }
    if maximumLength < 2 { return ("maximum_length", "must be at least 2, not \(maximumLength)") }
    if !(0..<1).contains(labelSmoothing) {
      return ("label_smoothing", "must be in [0, 1), not \(labelSmoothing)")
    }
    guard let model else { return nil }
    if model.max_position_embeddings < maximumLength {
      return (
        "maximum_length",
        "is \(maximumLength), but model.max_position_embeddings is \(model.max_position_embeddings)"
      )
    }
    return nil
  }
}
