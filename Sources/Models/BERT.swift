import KalsaeCheckpoints
import KalsaeNeural
import KalsaeTensors

// The encoder of "BERT: Pre-training of Deep Bidirectional Transformers" (Devlin et al. 2018, arXiv 1810.04805) with the
// names, keys and numbers of transformers' `BertModel` and its heads: layer normalisation after each part, learned
// positions, two kinds of segment.
//
// B sequences, T tokens, C features, V words of the vocabulary.

/// `config.json` of transformers' BERT: its keys and its defaults.
public struct BertConfig: TransformersConfig {
  public static let identity = (key: "model_type", name: "bert")
  /// What Google's own files say of the pooler, which has no such options here.
  public static let ownUnusedKeys: Set<String> = [
    "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
    "pooler_size_per_head", "pooler_type",
  ]

  public var architectures = ["BertForPreTraining"]
  public var vocab_size = 30522
  public var hidden_size = 768
  public var num_hidden_layers = 12
  public var num_attention_heads = 12
  public var intermediate_size = 3072
  public var hidden_act = HiddenActivation.gelu
  public var hidden_dropout_prob = 0.1
  public var attention_probs_dropout_prob = 0.1
  public var max_position_embeddings = 512
  public var type_vocab_size = 2
  public var initializer_range = 0.02
  public var layer_norm_eps = 1e-12
  public var pad_token_id: Int? = 0
  /// hidden_dropout_prob when nil.
  public var classifier_dropout: Double? = nil
  public var tie_word_embeddings = true
  public var position_embedding_type = PositionEmbedding.absolute
  public var id2label = LabelNames(count: 2)
  public var is_decoder = false
  public var add_cross_attention = false

  public enum PositionEmbedding: String, CaseIterable, ConfigField { case absolute }

  public init() {}

  public mutating func fields(_ field: inout ConfigFields) throws(ConfigError) {
    try field("architectures", &architectures)
    try field("vocab_size", &vocab_size)
    try field("hidden_size", &hidden_size)
    try field("num_hidden_layers", &num_hidden_layers)
    try field("num_attention_heads", &num_attention_heads)
    try field("intermediate_size", &intermediate_size)
    try field("hidden_act", &hidden_act)
    try field("hidden_dropout_prob", &hidden_dropout_prob)
    try field("attention_probs_dropout_prob", &attention_probs_dropout_prob)
    try field("max_position_embeddings", &max_position_embeddings)
    try field("type_vocab_size", &type_vocab_size)
    try field("initializer_range", &initializer_range)
    try field("layer_norm_eps", &layer_norm_eps)
    try field("pad_token_id", &pad_token_id)
    try field("classifier_dropout", &classifier_dropout)
    try field("tie_word_embeddings", &tie_word_embeddings)
    try field("position_embedding_type", &position_embedding_type)
    try field("id2label", &id2label)
    try field("is_decoder", &is_decoder)
    try field("add_cross_attention", &add_cross_attention)
  }

  public var problem: (key: String, reason: String)? {
    if let found = firstNotPositive([
      "vocab_size": vocab_size, "hidden_size": hidden_size, "num_hidden_layers": num_hidden_layers,
      "num_attention_heads": num_attention_heads, "intermediate_size": intermediate_size,
      "max_position_embeddings": max_position_embeddings, "type_vocab_size": type_vocab_size,
    ])
      ?? firstNoProbability([
        "hidden_dropout_prob": hidden_dropout_prob,
        "attention_probs_dropout_prob": attention_probs_dropout_prob,
        "classifier_dropout": classifier_dropout ?? 0,
      ])
      ?? headProblem("num_attention_heads", num_attention_heads, "hidden_size", hidden_size)
      ?? firstUnsupported(["is_decoder": is_decoder, "add_cross_attention": add_cross_attention])
    {
      return found
    }
    if let pad = pad_token_id, !(0..<vocab_size).contains(pad) {
      return ("pad_token_id", "\(pad) is not in the vocabulary of \(vocab_size)")
    }
    return id2label.names.isEmpty ? ("id2label", "must name at least one class") : nil
  }

  fileprivate var initializer: Initializer { .normal(standardDeviation: initializer_range) }

  func linear(_ inputs: Int, _ outputs: Int) -> Linear {
    Linear(inputs, outputs, initializer: initializer, biasInitializer: .zeros)
  }

  fileprivate var norm: LayerNorm { LayerNorm(hidden_size, epsilon: layer_norm_eps) }
}

/// Words, positions and segments: tokens (B, T) -> (B, T, C).
public struct BertEmbeddings: Module {
  let word_embeddings: Embedding, position_embeddings: Embedding, token_type_embeddings: Embedding
  let LayerNorm: LayerNorm
  private let dropout: Dropout

  init(_ c: BertConfig) {
    func table(_ count: Int, padding: Int? = nil) -> Embedding {
      Embedding(count, c.hidden_size, paddingIndex: padding, initializer: c.initializer)
    }
    word_embeddings = table(c.vocab_size, padding: c.pad_token_id)
    position_embeddings = table(c.max_position_embeddings)
    token_type_embeddings = table(c.type_vocab_size)
    LayerNorm = c.norm
    dropout = Dropout(c.hidden_dropout_prob)
  }

  func callAsFunction(_ tokens: Tensor, _ segments: Tensor?, _ positions: Tensor?) -> Tensor {
    let segments = segments ?? .zeros([tokens.shape[1]], dtype: .int32)
    let x = word_embeddings(tokens) + token_type_embeddings(segments)
    return dropout(LayerNorm(x + position_embeddings(positions ?? .iota(tokens.shape[1]))))
  }
}

/// Bidirectional multi-head attention, without its output projection.
public struct BertSelfAttention: Module {
  let query: Linear, key: Linear, value: Linear
  private let heads: Int, dropout: Double

  init(_ c: BertConfig) {
    query = c.linear(c.hidden_size, c.hidden_size)
    key = c.linear(c.hidden_size, c.hidden_size)
    value = c.linear(c.hidden_size, c.hidden_size)
    (heads, dropout) = (c.num_attention_heads, c.attention_probs_dropout_prob)
  }

  func callAsFunction(_ x: Tensor, mask: Tensor?) -> Tensor {
    multiHeadAttention(query(x), key(x), value(x), heads: heads, mask: mask, dropout: dropout)
  }
}

/// A projection whose result is added to `residual` and normalised.
public struct BertOutput: Module {
  let dense: Linear, LayerNorm: LayerNorm
  private let dropout: Dropout

  init(_ c: BertConfig, inputs: Int) {
    dense = c.linear(inputs, c.hidden_size)
    LayerNorm = c.norm
    dropout = Dropout(c.hidden_dropout_prob)
  }

  func callAsFunction(_ x: Tensor, residual: Tensor) -> Tensor {
    LayerNorm(dropout(dense(x)).cast(to: residual.dtype) + residual)
  }
}

/// Attention and what follows it: (B, T, C) -> (B, T, C).
public struct BertAttention: Module {
  let `self`: BertSelfAttention
  let output: BertOutput

  init(_ c: BertConfig) {
    self.`self` = BertSelfAttention(c)
    output = BertOutput(c, inputs: c.hidden_size)
  }

  func callAsFunction(_ x: Tensor, mask: Tensor?) -> Tensor {
    output(self.`self`(x, mask: mask), residual: x)
  }
}

/// A linear layer and the activation: (..., C) -> (..., inner).
public struct BertIntermediate: Module {
  let dense: Linear
  private let activation: HiddenActivation

  init(_ c: BertConfig) {
    dense = c.linear(c.hidden_size, c.intermediate_size)
    activation = c.hidden_act
  }

  func callAsFunction(_ x: Tensor) -> Tensor { activation(dense(x)) }
}

/// Attention, then the position-wise network: (B, T, C) -> (B, T, C).
public struct BertLayer: Module {
  let attention: BertAttention, intermediate: BertIntermediate, output: BertOutput

  init(_ c: BertConfig) {
    attention = BertAttention(c)
    intermediate = BertIntermediate(c)
    output = BertOutput(c, inputs: c.intermediate_size)
  }

  func callAsFunction(_ x: Tensor, mask: Tensor?, observe: (String, Tensor) -> Void) -> Tensor {
    let x = attention(x, mask: mask)
    observe("attention", x)
    return output(intermediate(x), residual: x)
  }
}

public struct BertEncoder: Module {
  let layer: [BertLayer]
}

/// What the first token knows: (B, T, C) -> tanh of a projection, (B, C).
public struct BertPooler: Module {
  let dense: Linear

  init(_ c: BertConfig) { dense = c.linear(c.hidden_size, c.hidden_size) }

  func callAsFunction(_ x: Tensor) -> Tensor { tanh(dense(x.at(0, axis: 1))) }
}

/// The encoder: tokens (B, T) -> what the last layer knows of each, (B, T, C), and, with a pooler, of the sequence, (B, C)
/// ("Formal Algorithms for Transformers", algorithm 9, ETransformer, without its head).
public struct BertModel: PretrainedModel {
  public let config: BertConfig
  public let embeddings: BertEmbeddings, encoder: BertEncoder, pooler: BertPooler?

  /// Old names of the normalisations' weights; positions 0, 1, 2, ..., which some files hold, are no weights.
  public static let keyMap: KeyMap = [
    "cls.**": nil, "classifier.*": nil, "**.position_ids": nil,
    "bert.**.LayerNorm.gamma": "**.LayerNorm.weight", "bert.**.LayerNorm.beta": "**.LayerNorm.bias",
    "**.LayerNorm.gamma": "**.LayerNorm.weight", "**.LayerNorm.beta": "**.LayerNorm.bias",
    "bert.**": "**",
  ]

  /// Traps when the configuration contradicts itself; one that was read from a file has been checked.
  public init(_ config: BertConfig) { self.init(config, pooler: true) }

  init(_ config: BertConfig, pooler: Bool) {
    if let problem = config.problem { fatalError("BERT: '\(problem.key)' \(problem.reason)") }
    self.config = config
    embeddings = BertEmbeddings(config)
    encoder = BertEncoder(layer: (0..<config.num_hidden_layers).map { _ in BertLayer(config) })
    self.pooler = pooler ? BertPooler(config) : nil
  }

  /// `attentionMask` (B, T) is not 0 where there is a token; `segments` (B, T) are 0 for the first text and 1 for the
  /// second; `positions` (T) or (B, T) count from 0 when nil. `observe` sees the output of each block under its key.
  public func callAsFunction(
    _ tokens: Tensor, attentionMask: Tensor? = nil, segments: Tensor? = nil, positions: Tensor? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> (hidden: Tensor, pooled: Tensor?) {
    require(
      tokens.rank == 2 && (positions != nil || tokens.shape[1] <= config.max_position_embeddings),
      "BERT: needs tokens (B, T) with T at most \(config.max_position_embeddings), not \(tokens.shape)")
    var x = embeddings(tokens, segments, positions)  // (B, T, C)
    observe("embeddings", x)
    let mask = attentionMask.map(paddingMask)
    for (i, layer) in encoder.layer.enumerated() {
      x = Recomputation.block { layer(x, mask: mask) { observe("encoder.layer.\(i)." + $0, $1) } }
      observe("encoder.layer.\(i)", x)
    }
    let pooled = pooler?(x)
    if let pooled { observe("pooler", pooled) }
    return (x, pooled)
  }
}

// MARK: - Heads

/// The masked-language-model head: (..., C) -> logits (..., V); its matrix is the table of words.
public struct BertPredictions: Module {
  public struct Transform: Module {
    let dense: Linear, LayerNorm: LayerNorm
  }

  /// (V), the decoder's too unless nothing is tied; it then changes nothing, and files have it all the same.
  let bias: Parameter
  let transform: Transform
  let decoder: Linear
  private let activation: HiddenActivation

  init(_ c: BertConfig, words: Parameter) {
    bias = Parameter(.zeros([c.vocab_size]))
    transform = Transform(dense: c.linear(c.hidden_size, c.hidden_size), LayerNorm: c.norm)
    decoder =
      c.tie_word_embeddings
      ? Linear(weight: words, bias: bias) : c.linear(c.hidden_size, c.vocab_size)
    activation = c.hidden_act
  }

  /// (..., C) -> (..., C), of which the decoder makes logits.
  func features(_ x: Tensor) -> Tensor { transform.LayerNorm(activation(transform.dense(x))) }

  func callAsFunction(_ x: Tensor, observe: (String, Tensor) -> Void) -> Tensor {
    let h = features(x)
    observe("predictions.transform", h)
    return decoder(h)
  }
}

public struct BertHeads: Module {
  let predictions: BertPredictions
  /// Whether the second text follows the first: (B, C) -> logits (B, 2), 0 if it does.
  let seq_relationship: Linear?
}

private let prefixedKeys: KeyMap = [
  "bert.**.LayerNorm.gamma": "bert.**.LayerNorm.weight", "bert.**.LayerNorm.beta": "bert.**.LayerNorm.bias",
  "cls.**.LayerNorm.gamma": "cls.**.LayerNorm.weight", "cls.**.LayerNorm.beta": "cls.**.LayerNorm.bias",
  "**.position_ids": nil,
]

/// BERT with both heads of its pre-training: masked words and next sentence (section 3.1).
public struct BertForPreTraining: PretrainedModel {
  public let bert: BertModel
  public let cls: BertHeads

  public static let keyMap = prefixedKeys

  public init(_ config: BertConfig) {
    bert = BertModel(config, pooler: true)
    cls = BertHeads(
      predictions: BertPredictions(config, words: bert.embeddings.word_embeddings.weight),
      seq_relationship: config.linear(config.hidden_size, 2))
  }

  /// Tokens (B, T) -> logits of the words (B, T, V) and of the relationship (B, 2); see `BertModel`.
  public func callAsFunction(
    _ tokens: Tensor, attentionMask: Tensor? = nil, segments: Tensor? = nil, positions: Tensor? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> (words: Tensor, relationship: Tensor) {
    let (x, pooled) = bert(
      tokens, attentionMask: attentionMask, segments: segments, positions: positions
    ) { observe("bert." + $0, $1) }
    return (cls.predictions(x) { observe("cls." + $0, $1) }, cls.seq_relationship!(pooled!))
  }
}

/// BERT that fills in masked words.
public struct BertForMaskedLM: PretrainedModel {
  public let bert: BertModel
  public let cls: BertHeads

  /// Files of the pre-training hold parts that this model lacks.
  public static let keyMap: KeyMap = [
    "bert.pooler.**": nil, "cls.seq_relationship.*": nil,
    "bert.**.LayerNorm.gamma": "bert.**.LayerNorm.weight", "bert.**.LayerNorm.beta": "bert.**.LayerNorm.bias",
    "cls.**.LayerNorm.gamma": "cls.**.LayerNorm.weight", "cls.**.LayerNorm.beta": "cls.**.LayerNorm.bias",
    "**.position_ids": nil,
  ]

  public init(_ config: BertConfig) {
    bert = BertModel(config, pooler: false)
    cls = BertHeads(
      predictions: BertPredictions(config, words: bert.embeddings.word_embeddings.weight),
      seq_relationship: nil)
  }

  /// Tokens (B, T) -> logits (B, T, V); see `BertModel`.
  public func callAsFunction(
    _ tokens: Tensor, attentionMask: Tensor? = nil, segments: Tensor? = nil, positions: Tensor? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    let x = bert(
      tokens, attentionMask: attentionMask, segments: segments, positions: positions
    ) { observe("bert." + $0, $1) }.hidden
    return cls.predictions(x) { observe("cls." + $0, $1) }
  }
}

/// BERT that puts sequences, or pairs of them, into classes (section 4.1).
public struct BertForSequenceClassification: PretrainedModel {
  public let bert: BertModel
  private let dropout: Dropout
  public let classifier: Linear

  public static let keyMap = prefixedKeys

  public init(_ config: BertConfig) {
    bert = BertModel(config, pooler: true)
    dropout = Dropout(config.classifier_dropout ?? config.hidden_dropout_prob)
    classifier = config.linear(config.hidden_size, config.id2label.names.count)
  }

  /// Tokens (B, T) -> logits (B, classes); see `BertModel`.
  public func callAsFunction(
    _ tokens: Tensor, attentionMask: Tensor? = nil, segments: Tensor? = nil, positions: Tensor? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    let pooled = bert(
      tokens, attentionMask: attentionMask, segments: segments, positions: positions
    ) { observe("bert." + $0, $1) }.pooled!
    return classifier(dropout(pooled))
  }
}

extension BertForSequenceClassification {
  /// Takes the encoder from a file of any of this architecture's heads; the classifier, and a pooler that the file lacks,
  /// stay as they are.
  public func loadBackbone(from file: SafetensorsFile) throws(LoadError) {
    let hasPooler = file.names.contains { $0.contains("pooler.") }
    try loadParameters(
      into: bert.contents.filter { hasPooler || !$0.hasPrefix("pooler.") }, from: file,
      keyMap: BertModel.keyMap)
  }
}
