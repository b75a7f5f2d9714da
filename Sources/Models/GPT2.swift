import KalsaeCheckpoints
import KalsaeNeural
import KalsaeTensors

// The decoder of "Language Models are Unsupervised Multitask Learners" (Radford et al. 2019) with the names, keys and
// numbers of transformers' `GPT2Model` and `GPT2LMHeadModel`: layer normalisation before each part, learned positions.
//
// B sequences, T tokens, C features, H heads, V words of the vocabulary.

/// `config.json` of transformers' GPT-2: its keys and its defaults.
public struct GPT2Config: TransformersConfig {
  public static let identity = (key: "model_type", name: "gpt2")
  /// Heads that are not here read these; n_ctx repeats n_positions; the attention is always computed in float32.
  public static let ownUnusedKeys: Set<String> = [
    "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
    "summary_first_dropout",
    "n_ctx", "reorder_and_upcast_attn",
  ]

  public var architectures = ["GPT2LMHeadModel"]
  public var vocab_size = 50257
  public var n_positions = 1024
  public var n_embd = 768
  public var n_layer = 12
  public var n_head = 12
  /// 4 n_embd when nil.
  public var n_inner: Int? = nil
  public var activation_function = HiddenActivation.gelu_new
  public var resid_pdrop = 0.1
  public var embd_pdrop = 0.1
  public var attn_pdrop = 0.1
  public var layer_norm_epsilon = 1e-5
  public var initializer_range = 0.02
  public var scale_attn_weights = true
  /// Whether layer i also divides its scores by i + 1.
  public var scale_attn_by_inverse_layer_idx = false
  public var tie_word_embeddings = true
  public var bos_token_id: Int? = 50256
  /// The token that ends a text.
  public var eos_token_id: Int? = 50256
  public var add_cross_attention = false

  public init() {}

  public mutating func fields(_ field: inout ConfigFields) throws(ConfigError) {
    try field("architectures", &architectures)
    try field("vocab_size", &vocab_size)
    try field("n_positions", &n_positions)
    try field("n_embd", &n_embd)
    try field("n_layer", &n_layer)
    try field("n_head", &n_head)
    try field("n_inner", &n_inner)
    try field("activation_function", &activation_function)
    try field("resid_pdrop", &resid_pdrop)
    try field("embd_pdrop", &embd_pdrop)
    try field("attn_pdrop", &attn_pdrop)
    try field("layer_norm_epsilon", &layer_norm_epsilon)
    try field("initializer_range", &initializer_range)
    try field("scale_attn_weights", &scale_attn_weights)
    try field("scale_attn_by_inverse_layer_idx", &scale_attn_by_inverse_layer_idx)
    try field("tie_word_embeddings", &tie_word_embeddings)
    try field("bos_token_id", &bos_token_id)
    try field("eos_token_id", &eos_token_id)
    try field("add_cross_attention", &add_cross_attention)
  }

  public var problem: (key: String, reason: String)? {
    firstNotPositive([
      "vocab_size": vocab_size, "n_positions": n_positions, "n_embd": n_embd, "n_layer": n_layer,
      "n_head": n_head, "n_inner": n_inner ?? 1,
    ])
      ?? firstNoProbability(["resid_pdrop": resid_pdrop, "embd_pdrop": embd_pdrop, "attn_pdrop": attn_pdrop])
      ?? headProblem("n_head", n_head, "n_embd", n_embd)
      ?? firstUnsupported(["add_cross_attention": add_cross_attention])
  }

  /// Weights start at this spread, those that write into the residual stream at a smaller one (section 2.3).
  fileprivate var initializer: Initializer { .normal(standardDeviation: initializer_range) }
  fileprivate var residualInitializer: Initializer {
    .normal(standardDeviation: initializer_range / (2 * Double(n_layer)).squareRoot())
  }
}

/// `y = x W + b`: (..., in) -> (..., out), with weight (in, out), as GPT-2's checkpoints have it.
public struct Conv1D: Layer {
  public let weight: Parameter, bias: Parameter

  init(_ inputs: Int, _ outputs: Int, initializer: Initializer) {
    weight = Parameter(initializer([inputs, outputs]))
    bias = Parameter(.zeros([outputs]))
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    let y = matmul(x, weight.value)
    return y + bias.value.cast(to: y.dtype)
  }
}

/// Causal multi-head attention ("Formal Algorithms for Transformers", algorithm 5, MHAttention).
public struct GPT2Attention: Module {
  let c_attn: Conv1D, c_proj: Conv1D
  private let heads: Int, scale: Double, dropout: Double, residualDropout: Double

  init(_ c: GPT2Config, layer: Int) {
    c_attn = Conv1D(c.n_embd, 3 * c.n_embd, initializer: c.initializer)
    c_proj = Conv1D(c.n_embd, c.n_embd, initializer: c.residualInitializer)
    heads = c.n_head
    scale =
      (c.scale_attn_weights ? 1 / (Double(c.n_embd / c.n_head)).squareRoot() : 1)
      / (c.scale_attn_by_inverse_layer_idx ? Double(layer + 1) : 1)
    (dropout, residualDropout) = (c.attn_pdrop, c.resid_pdrop)
  }

  func callAsFunction(_ x: Tensor, mask: Tensor?, cache: KeyValueCache.Layer?) -> Tensor {
    let qkv = c_attn(x).split(3, axis: -1)  // 3 x (B, T, C)
    let mixed = multiHeadAttention(
      qkv[0], qkv[1], qkv[2], heads: heads, mask: mask, isCausal: true, scale: scale, dropout: dropout,
      cache: cache)
    return KalsaeTensors.dropout(c_proj(mixed), probability: residualDropout)  // (B, T, C)
  }
}

/// The position-wise network: (B, T, C) -> (B, T, C) through n_inner features.
public struct GPT2MLP: Module {
  let c_fc: Conv1D, c_proj: Conv1D
  private let activation: HiddenActivation, dropout: Dropout

  init(_ c: GPT2Config) {
    let inner = c.n_inner ?? 4 * c.n_embd
    c_fc = Conv1D(c.n_embd, inner, initializer: c.initializer)
    c_proj = Conv1D(inner, c.n_embd, initializer: c.residualInitializer)
    (activation, dropout) = (c.activation_function, Dropout(c.resid_pdrop))
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    let hidden = c_fc(x)
    // The activation is cheaper to compute again than to keep.
    return dropout(checkpointed { c_proj(activation(hidden)) })
  }
}

/// Attention, then the position-wise network, each on a normalised copy and added: (B, T, C) -> (B, T, C).
public struct GPT2Block: Module {
  let ln_1: LayerNorm, attn: GPT2Attention
  let ln_2: LayerNorm, mlp: GPT2MLP

  init(_ c: GPT2Config, layer: Int) {
    ln_1 = LayerNorm(c.n_embd, epsilon: c.layer_norm_epsilon)
    attn = GPT2Attention(c, layer: layer)
    ln_2 = LayerNorm(c.n_embd, epsilon: c.layer_norm_epsilon)
    mlp = GPT2MLP(c)
  }

  func callAsFunction(
    _ x: Tensor, mask: Tensor?, cache: KeyValueCache.Layer?, observe: (String, Tensor) -> Void
  ) -> Tensor {
    let attended = attn(ln_1(x), mask: mask, cache: cache)
    observe("attn", attended)
    // The residual stream keeps its precision, whatever autocast gives the products.
    let x = attended.cast(to: x.dtype) + x
    let processed = mlp(ln_2(x))
    observe("mlp", processed)
    return x + processed.cast(to: x.dtype)
  }
}

/// Tokens int32 or int64 (B, T) -> what the last layer knows of each, (B, T, C).
public struct GPT2Model: PretrainedModel {
  public let config: GPT2Config
  public let wte: Embedding, wpe: Embedding
  let drop: Dropout
  public let h: [GPT2Block]
  public let ln_f: LayerNorm

  /// Older files hold causal masks, which are no weights; files of the whole language model prefix their keys.
  public static let keyMap: KeyMap = [
    "**.attn.bias": nil, "**.attn.masked_bias": nil, "lm_head.weight": nil, "transformer.**": "**",
  ]

  /// Traps when the configuration contradicts itself; one that was read from a file has been checked.
  public init(_ config: GPT2Config) {
    if let problem = config.problem { fatalError("GPT2: '\(problem.key)' \(problem.reason)") }
    self.config = config
    wte = Embedding(config.vocab_size, config.n_embd, initializer: config.initializer)
    wpe = Embedding(config.n_positions, config.n_embd, initializer: config.initializer)
    drop = Dropout(config.embd_pdrop)
    h = (0..<config.n_layer).map { GPT2Block(config, layer: $0) }
    ln_f = LayerNorm(config.n_embd, epsilon: config.layer_norm_epsilon)
  }

  /// `attentionMask` (B, T) is not 0 where there is a token; `positions` (T) or (B, T) count from 0, or from the tokens
  /// in `cache`, when nil. `observe` sees the output of each block under its key.
  public func callAsFunction(
    _ tokens: Tensor, attentionMask: Tensor? = nil, positions: Tensor? = nil, cache: KeyValueCache? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    require(tokens.rank == 2, "GPT2: needs tokens (B, T), not \(tokens.shape)")
    require(
      attentionMask == nil || cache == nil, "GPT2: a cache knows its padding: an attention mask is too much")
    let count = tokens.shape[1]
    require(
      positions != nil || (cache?.length ?? 0) + count <= config.n_positions,
      "GPT2: \((cache?.length ?? 0) + count) tokens for \(config.n_positions) positions")
    let places = positions ?? cache?.positions(count) ?? .iota(count)
    var x = drop(wte(tokens) + wpe(places))  // (B, T, C)
    observe("drop", x)
    let mask = attentionMask.map(paddingMask)
    for (i, block) in h.enumerated() {
      x = Recomputation.block {
        block(x, mask: mask, cache: cache?[i]) { observe("h.\(i)." + $0, $1) }
      }
      observe("h.\(i)", x)
    }
    cache?.advance(by: count)
    x = ln_f(x)
    observe("ln_f", x)
    return x
  }

  /// Memory for decoding `batch` sequences of at most `capacity` tokens; see `KeyValueCache`.
  public func makeCache(batch: Int = 1, capacity: Int, leftPadding: [Int]? = nil) -> KeyValueCache {
    KeyValueCache(
      layers: config.n_layer, heads: config.n_head, headFeatures: config.n_embd / config.n_head,
      batch: batch, capacity: capacity, leftPadding: leftPadding)
  }
}

/// The language model: tokens (B, T) -> the logits of each next token, (B, T, V) ("Formal Algorithms for Transformers",
/// algorithm 10, DTransformer).
public struct GPT2LMHeadModel: PretrainedModel {
  public let transformer: GPT2Model
  public let lm_head: Linear

  /// Published files lack the prefix, and hold causal masks, which are no weights.
  public static let keyMap: KeyMap = [
    "**.attn.bias": nil, "**.attn.masked_bias": nil, "wte.*": "transformer.wte.*",
    "wpe.*": "transformer.wpe.*",
    "h.**": "transformer.h.**", "ln_f.*": "transformer.ln_f.*",
  ]

  public init(_ config: GPT2Config) {
    transformer = GPT2Model(config)
    lm_head =
      config.tie_word_embeddings
      ? Linear(weight: transformer.wte.weight)
      : Linear(config.n_embd, config.vocab_size, bias: false, initializer: config.initializer)
  }

  public var config: GPT2Config { transformer.config }

  /// See `GPT2Model`.
  public func callAsFunction(
    _ tokens: Tensor, attentionMask: Tensor? = nil, positions: Tensor? = nil, cache: KeyValueCache? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    // "Formal Algorithms for Transformers", algorithm 7, unembedding, before its softmax.
    lm_head(
      transformer(tokens, attentionMask: attentionMask, positions: positions, cache: cache) {
        observe("transformer." + $0, $1)
      })
  }

  /// See `GPT2Model`.
  public func makeCache(batch: Int = 1, capacity: Int, leftPadding: [Int]? = nil) -> KeyValueCache {
    transformer.makeCache(batch: batch, capacity: capacity, leftPadding: leftPadding)
  }
}
