import KalsaeCheckpoints
import KalsaeModels

/// A run that pre-trains an encoder on text; `model` has the keys of `BertConfig`.
public struct MaskedLanguageModelConfiguration: EvaluatedConfiguration {
  public static let task = "masked-language-model"

  /// The text files, as `Corpus` reads them.
  public var text: [String] = []
  /// A tokenizer's file or folder.
  public var tokenizer = ""
  /// Also predicts whether one text follows another, in pairs of texts instead of single ones.
  public var nextSentence = false
  /// Fills the context with neighbouring lines of a document, instead of one line an example.
  public var packing = false
  /// The share of the tokens that are to be predicted.
  public var maskProbability = 0.15
  /// The last part of the text, held out: of the lines, or of the documents with next sentences.
  public var validationFraction = 0.05
  /// Tokens that the model sees at once, special ones included; longer texts are cut into several.
  public var contextLength = 128
  public var evaluateEvery = 500
  public var steps = 8000
  public var batchSize = 64
  public var learningRate = 1e-3
  public var warmup = 500
  public var finalLearningRate = 0.05
  public var weightDecay = 0.01
  public var beta2 = 0.98
  public var precision = Precision.float32
  public var recompute = false
  public var ema = 0.999
  public var gradientClip = 1.0
  public var dropout = 0.0
  public var seed: UInt64 = 0
  public var threads: Int? = nil
  public var checkpointEvery = 1000
  public var keep = 2
  public var model: BertConfig? = nil

  public init() {}

  /// The model that suits small texts when none is configured. Its first weights are larger than those of wide networks,
  /// whose sums have more terms; and there is no dropout inside attention.
  public static func standardModel(context: Int, dropout: Double) -> BertConfig {
    var model = BertConfig()
    model.max_position_embeddings = context
    (model.num_hidden_layers, model.num_attention_heads) = (4, 4)
    (model.hidden_size, model.intermediate_size) = (256, 1024)
    model.initializer_range = 0.04
    (model.hidden_dropout_prob, model.attention_probs_dropout_prob) = (dropout, 0)
    return model
  }
}

extension MaskedLanguageModelConfiguration {
  public init(_ c: ConfigJSON, over standard: MaskedLanguageModelConfiguration = .init()) throws(ConfigError)
  {
    self = standard
    try readEvaluated(c)
    text = try c("text", or: text)
    tokenizer = try c("tokenizer", or: tokenizer)
    nextSentence = try c("next_sentence", or: nextSentence)
    packing = try c("packing", or: packing)
    maskProbability = try c("mask_probability", or: maskProbability)
    validationFraction = try c("validation_fraction", or: validationFraction)
    contextLength = try c("context_length", or: contextLength)
    if let nested = try c.nested("model") { model = try BertConfig(nested) }
    try c.finish()
    if let problem { throw c.invalid(problem.key, problem.reason) }
  }

  public var json: JSONObject {
    var object = evaluatedJSON
    object["text"] = .array(text.map { .string($0) })
    object["tokenizer"] = .string(tokenizer)
    object["next_sentence"] = .bool(nextSentence)
    object["packing"] = .bool(packing)
    object["mask_probability"] = .double(maskProbability)
    object["validation_fraction"] = .double(validationFraction)
    object["context_length"] = .integer(contextLength)
    if let model { object["model"] = .object(model.json) }
    return object
  }

  public var problem: (key: String, reason: String)? {
    if let evaluatedProblem { return evaluatedProblem }
    let shortest = nextSentence ? 5 : 3
    if contextLength < shortest {
      return (
        "context_length",
        "must be at least \(shortest), not \(contextLength): special tokens take \(shortest / 2 + 1)"
      )
    }
    if !(0..<1).contains(validationFraction) {
      return ("validation_fraction", "must be in [0, 1), not \(validationFraction)")
    }
    if !(maskProbability > 0 && maskProbability < 1) {
      return ("mask_probability", "must be above 0 and below 1, not \(maskProbability)")
    }
    if packing, nextSentence {
      return ("packing", "has no meaning with next_sentence, whose pairs fill the context already")
    }
    guard let model else { return nil }
    if model.max_position_embeddings < contextLength {
      return (
        "context_length",
        "is \(contextLength), but model.max_position_embeddings is \(model.max_position_embeddings)"
      )
    }
    if nextSentence, model.type_vocab_size < 2 {
      return (
        "next_sentence", "needs two kinds of segment, but model.type_vocab_size is \(model.type_vocab_size)"
      )
    }
    return nil
  }
}
