import KalsaeCheckpoints
import KalsaeModels

/// A run that trains a causal language model on text; `model` has the keys of `GPT2Config`.
public struct LanguageModelConfiguration: EvaluatedConfiguration {
  public static let task = "language-model"

  /// The text files, one after the other.
  public var text: [String] = []
  /// `char`, or a tokenizer's file or folder.
  public var tokenizer = "char"
  /// The last part of the text, held out.
  public var validationFraction = 0.1
  /// Tokens that the model sees at once.
  public var contextLength = 128
  public var evaluateEvery = 250
  public var steps = 2000
  public var batchSize = 32
  public var learningRate = 2e-3
  public var warmup = 100
  public var finalLearningRate = 0.1
  public var weightDecay = 0.01
  public var beta2 = 0.99
  public var precision = Precision.float32
  public var recompute = false
  public var ema = 0.99
  public var gradientClip = 1.0
  public var dropout = 0.0
  public var seed: UInt64 = 0
  public var threads: Int? = nil
  public var checkpointEvery = 1000
  public var keep = 2
  public var model: GPT2Config? = nil

  public init() {}

  /// The model that suits small texts when none is configured.
  public static func standardModel(vocabulary: Int, context: Int, dropout: Double) -> GPT2Config {
    var model = GPT2Config()
    (model.vocab_size, model.n_positions) = (vocabulary, context)
    (model.n_layer, model.n_head, model.n_embd) = (4, 4, 192)
    (model.resid_pdrop, model.embd_pdrop, model.attn_pdrop) = (dropout, dropout, dropout)
    (model.bos_token_id, model.eos_token_id) = (nil, nil)
    return model
  }
}

extension LanguageModelConfiguration {
  public init(_ c: ConfigJSON, over standard: LanguageModelConfiguration = .init()) throws(ConfigError) {
    self = standard
    try readEvaluated(c)
    text = try c("text", or: text)
    tokenizer = try c("tokenizer", or: tokenizer)
    validationFraction = try c("validation_fraction", or: validationFraction)
    contextLength = try c("context_length", or: contextLength)
    if let nested = try c.nested("model") { model = try GPT2Config(nested) }
    try c.finish()
    if let problem { throw c.invalid(problem.key, problem.reason) }
  }

  public var json: JSONObject {
    var object = evaluatedJSON
    object["text"] = .array(text.map { .string($0) })
    object["tokenizer"] = .string(tokenizer)
    object["validation_fraction"] = .double(validationFraction)
    object["context_length"] = .integer(contextLength)
    if let model { object["model"] = .object(model.json) }
    return object
  }

  public var problem: (key: String, reason: String)? {
    if let evaluatedProblem { return evaluatedProblem }
    if contextLength < 1 { return ("context_length", "must be at least 1, not \(contextLength)") }
    if !(0..<1).contains(validationFraction) {
      return ("validation_fraction", "must be in [0, 1), not \(validationFraction)")
    }
    guard let model else { return nil }
    if model.n_positions < contextLength {
      return ("context_length", "is \(contextLength), but model.n_positions is \(model.n_positions)")
    }
    return nil
  }
}
