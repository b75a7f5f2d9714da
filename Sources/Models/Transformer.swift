import KalsaeCheckpoints
import KalsaeNeural
import KalsaeTensors

// The Transformer of "Attention Is All You Need" (Vaswani et al. 2017, arXiv 1706.03762, figure 1) with the names, keys
// and numbers of PyTorch's `nn.Transformer`, and around it what a translator needs: embeddings, sinusoidal positions and
// the output projection.
//
// B sequences, S source tokens, T target tokens, C features, V words.

/// `config.json`: the arguments of `nn.Transformer` and, where there are vocabularies, of what is around it.
public struct TransformerConfig: ModelConfig, Equatable {
  public static let identity = (key: "model_type", name: "transformer")

  public var architectures = ["TransformerForTranslation"]
  public var d_model = 512
  public var nhead = 8
  public var num_encoder_layers = 6
  public var num_decoder_layers = 6
  public var dim_feedforward = 2048
  public var dropout = 0.1
  /// Dropout of the attention maps; `dropout`, as in PyTorch, when nil. The paper has none there.
  public var attention_dropout: Double? = nil
  public var activation = HiddenActivation.relu
  public var layer_norm_eps = 1e-5
  /// Whether each part normalises its input (pre-norm) rather than its result, as the paper does.
  public var norm_first = false
  public var bias = true
  /// Whether files of inputs have the batch before the sequence; the tensors of the program always have.
  public var batch_first = false
  /// Words of the source, and of the target; nil target means one vocabulary for both.
  public var vocab_size: Int? = nil
  public var target_vocab_size: Int? = nil
  /// Whether one table serves the source, the target and the output (section 3.4).
  public var share_embeddings = true
  public var max_position_embeddings = 1024
  public var pad_token_id = 0
  public var bos_token_id = 1
  public var eos_token_id = 2

  public init() {}

  public mutating func fields(_ field: inout ConfigFields) throws(ConfigError) {
    try field("architectures", &architectures)
    try field("d_model", &d_model)
    try field("nhead", &nhead)
    try field("num_encoder_layers", &num_encoder_layers)
    try field("num_decoder_layers", &num_decoder_layers)
    try field("dim_feedforward", &dim_feedforward)
    try field("dropout", &dropout)
    try field("attention_dropout", &attention_dropout)
    try field("activation", &activation)
    try field("layer_norm_eps", &layer_norm_eps)
    try field("norm_first", &norm_first)
    try field("bias", &bias)
    try field("batch_first", &batch_first)
    try field("vocab_size", &vocab_size)
    try field("target_vocab_size", &target_vocab_size)
    try field("share_embeddings", &share_embeddings)
    try field("max_position_embeddings", &max_position_embeddings)
    try field("pad_token_id", &pad_token_id)
    try field("bos_token_id", &bos_token_id)
    try field("eos_token_id", &eos_token_id)
  }

  public var problem: (key: String, reason: String)? {
    if let found = firstNotPositive([
      "d_model": d_model, "nhead": nhead, "num_encoder_layers": num_encoder_layers,
      "num_decoder_layers": num_decoder_layers, "dim_feedforward": dim_feedforward,
      "vocab_size": vocab_size ?? 1, "target_vocab_size": target_vocab_size ?? 1,
      "max_position_embeddings": max_position_embeddings,
    ])
      ?? firstNoProbability(["dropout": dropout, "attention_dropout": attention_dropout ?? 0])
      ?? headProblem("nhead", nhead, "d_model", d_model)
    {
      return found
    }
    if share_embeddings, let target = target_vocab_size, target != vocab_size {
      return ("share_embeddings", "needs one vocabulary, but target_vocab_size is \(target)")
    }
    guard let vocab_size else { return nil }
    let smallest = min(vocab_size, target_vocab_size ?? vocab_size)
    for (key, token) in [
      ("pad_token_id", pad_token_id), ("bos_token_id", bos_token_id), ("eos_token_id", eos_token_id),
    ] where !(0..<smallest).contains(token) {
      return (key, "\(token) is not in a vocabulary of \(smallest)")
    }
    return nil
  }

  fileprivate var norm: LayerNorm { LayerNorm(d_model, epsilon: layer_norm_eps, bias: bias) }
}

/// Multi-head attention with one matrix for queries, keys and values (section 3.2.2): (B, T, C), (B, S, C) -> (B, T, C).
public struct MultiheadAttention: Module {
  let in_proj_weight: Parameter  // (3 C, C)
  let in_proj_bias: Parameter?  // (3 C)
  let out_proj: Linear
  private let heads: Int, dropout: Double

  init(_ c: TransformerConfig) {
    let features = c.d_model
    in_proj_weight = Parameter(Initializer.xavierUniform()([3 * features, features]))
    in_proj_bias = c.bias ? Parameter(.zeros([3 * features])) : nil
    out_proj = Linear(
      features, features, bias: c.bias, initializer: .xavierUniform(), biasInitializer: .zeros)
    (heads, dropout) = (c.nhead, c.attention_dropout ?? c.dropout)
  }

  /// Attention of x to itself.
  func callAsFunction(_ x: Tensor, mask: Tensor?, isCausal: Bool, cache: KeyValueCache.Layer? = nil) -> Tensor
  {
    let qkv = project(x, 0..<3)
    return mix(qkv[0], qkv[1], qkv[2], mask, isCausal, cache)
  }

  /// Attention of x to a context that `context` has projected.
  func callAsFunction(_ x: Tensor, keys: Tensor, values: Tensor, mask: Tensor?) -> Tensor {
    mix(project(x, 0..<1)[0], keys, values, mask, false, nil)
  }

  /// Keys and values of a context (B, S, C), (B, S, C) each.
  func context(_ z: Tensor) -> (keys: Tensor, values: Tensor) {
    let kv = project(z, 1..<3)
    return (kv[0], kv[1])
  }

  /// Those of the three projections, (B, T, C) each.
  private func project(_ x: Tensor, _ parts: Range<Int>) -> [Tensor] {
    let c = x.shape[-1], rows = parts.lowerBound * c..<parts.upperBound * c
    let y = matmul(x, in_proj_weight.value.sliced(0, rows).mT)
    let biased = in_proj_bias.map { y + $0.value.sliced(0, rows).cast(to: y.dtype) } ?? y
    return biased.split(parts.count, axis: -1)
  }

  private func mix(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ mask: Tensor?, _ isCausal: Bool, _ cache: KeyValueCache.Layer?
  ) -> Tensor {
    out_proj(
      multiHeadAttention(
        q, k, v, heads: heads, mask: mask, isCausal: isCausal, dropout: dropout, cache: cache))
  }
}

/// How a part of a layer meets the residual stream.
struct Residual: Sendable {
  let normFirst: Bool, dropout: Dropout

  init(_ c: TransformerConfig) { (normFirst, dropout) = (c.norm_first, Dropout(c.dropout)) }

  /// LayerNorm(x + part(x)), as in the paper, or x + part(LayerNorm(x)).
  func callAsFunction(_ x: Tensor, _ norm: LayerNorm, _ part: (Tensor) -> Tensor) -> Tensor {
    let y = dropout(part(normFirst ? norm(x) : x)).cast(to: x.dtype)
    return normFirst ? x + y : norm(x + y)
  }
}

/// Self-attention, then the position-wise network (section 3.1): (B, S, C) -> (B, S, C).
public struct TransformerEncoderLayer: Module {
  let self_attn: MultiheadAttention
  let linear1: Linear, linear2: Linear
  let norm1: LayerNorm, norm2: LayerNorm
  private let residual: Residual, activation: HiddenActivation

  init(_ c: TransformerConfig) {
    self_attn = MultiheadAttention(c)
    linear1 = Linear(c.d_model, c.dim_feedforward, bias: c.bias, initializer: .xavierUniform())
    linear2 = Linear(c.dim_feedforward, c.d_model, bias: c.bias, initializer: .xavierUniform())
    (norm1, norm2) = (c.norm, c.norm)
    (residual, activation) = (Residual(c), c.activation)
  }

  func callAsFunction(_ x: Tensor, mask: Tensor?) -> Tensor {
    let x = residual(x, norm1) { self_attn($0, mask: mask, isCausal: false) }
    return residual(x, norm2) { linear2(residual.dropout(activation(linear1($0)))) }
  }
}

/// Causal self-attention, attention to the source, then the position-wise network: (B, T, C) -> (B, T, C).
public struct TransformerDecoderLayer: Module {
  let self_attn: MultiheadAttention, multihead_attn: MultiheadAttention
  let linear1: Linear, linear2: Linear
  let norm1: LayerNorm, norm2: LayerNorm, norm3: LayerNorm
  private let residual: Residual, activation: HiddenActivation

  init(_ c: TransformerConfig) {
    (self_attn, multihead_attn) = (MultiheadAttention(c), MultiheadAttention(c))
    linear1 = Linear(c.d_model, c.dim_feedforward, bias: c.bias, initializer: .xavierUniform())
    linear2 = Linear(c.dim_feedforward, c.d_model, bias: c.bias, initializer: .xavierUniform())
    (norm1, norm2, norm3) = (c.norm, c.norm, c.norm)
    (residual, activation) = (Residual(c), c.activation)
  }

  func callAsFunction(
    _ x: Tensor, mask: Tensor?, isCausal: Bool, cache: KeyValueCache.Layer?,
    source: (keys: Tensor, values: Tensor), sourceMask: Tensor?
  ) -> Tensor {
    var x = residual(x, norm1) { self_attn($0, mask: mask, isCausal: isCausal, cache: cache) }
    x = residual(x, norm2) {
      multihead_attn($0, keys: source.keys, values: source.values, mask: sourceMask)
    }
    return residual(x, norm3) { linear2(residual.dropout(activation(linear1($0)))) }
  }
}

public struct TransformerEncoder: Module {
  let layers: [TransformerEncoderLayer]
  let norm: LayerNorm
}

public struct TransformerDecoder: Module {
  let layers: [TransformerDecoderLayer]
  let norm: LayerNorm
}

/// Encoder and decoder, without embeddings: `nn.Transformer`.
public struct Transformer: PretrainedModel {
  public let config: TransformerConfig
  public let encoder: TransformerEncoder, decoder: TransformerDecoder

  /// What the decoder reads of an encoded source, for every layer (B, S, C); evaluate `tensors` to decode step by step.
  public struct Source: Sendable {
    let layers: [(keys: Tensor, values: Tensor)]
    let mask: Tensor?
    public var tensors: [Tensor] { layers.flatMap { [$0.keys, $0.values] } }

    /// Each sequence `count` times, for as many beams.
    public func repeated(_ count: Int) -> Source {
      func rows(_ x: Tensor) -> Tensor {
        x.gathered(Tensor((0..<x.shape[0]).flatMap { [Int32](repeating: Int32($0), count: count) }))
      }
      return Source(layers: layers.map { (rows($0.keys), rows($0.values)) }, mask: mask.map(rows))
    }
  }

  /// Traps when the configuration contradicts itself; one that was read from a file has been checked.
  public init(_ config: TransformerConfig) {
    if let problem = config.problem { fatalError("Transformer: '\(problem.key)' \(problem.reason)") }
    self.config = config
    encoder = TransformerEncoder(
      layers: (0..<config.num_encoder_layers).map { _ in TransformerEncoderLayer(config) }, norm: config.norm)
    decoder = TransformerDecoder(
      layers: (0..<config.num_decoder_layers).map { _ in TransformerDecoderLayer(config) }, norm: config.norm)
  }

  /// Source vectors (B, S, C) -> (B, S, C); the mask as in `attention`.
  public func encode(
    _ source: Tensor, mask: Tensor? = nil, observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    var x = source
    for (i, layer) in encoder.layers.enumerated() {
      x = Recomputation.block { layer(x, mask: mask) }
      observe("encoder.layers.\(i)", x)
    }
    x = encoder.norm(x)
    observe("encoder", x)
    return x
  }

  /// Keys and values of an encoded source for every layer of the decoder.
  public func source(_ encoded: Tensor, mask: Tensor? = nil) -> Source {
    Source(layers: decoder.layers.map { $0.multihead_attn.context(encoded) }, mask: mask)
  }

  /// Target vectors (B, T, C) and the source -> (B, T, C).
  public func decode(
    _ target: Tensor, _ source: Source, mask: Tensor? = nil, isCausal: Bool = true,
    cache: KeyValueCache? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    var x = target
    for (i, layer) in decoder.layers.enumerated() {
      x = Recomputation.block {
        layer(
          x, mask: mask, isCausal: isCausal, cache: cache?[i], source: source.layers[i],
          sourceMask: source.mask)
      }
      observe("decoder.layers.\(i)", x)
    }
    cache?.advance(by: target.shape[1])
    x = decoder.norm(x)
    observe("decoder", x)
    return x
  }

  /// Memory for decoding `batch` targets of at most `capacity` tokens; see `KeyValueCache`.
  public func makeCache(batch: Int = 1, capacity: Int) -> KeyValueCache {
    KeyValueCache(
      layers: config.num_decoder_layers, heads: config.nhead, headFeatures: config.d_model / config.nhead,
      batch: batch, capacity: capacity)
  }
}

/// The whole translator: source tokens (B, S) and target tokens (B, T) -> the logits of each next target token, (B, T, V)
/// ("Formal Algorithms for Transformers", algorithm 8, EDTransformer).
public struct TransformerForTranslation: PretrainedModel {
  public let source_embedding: Embedding, target_embedding: Embedding
  public let transformer: Transformer
  public let generator: Linear
  private let positions: SinusoidalEmbedding, dropout: Dropout

  /// Traps when the configuration contradicts itself or has no vocabulary.
  public init(_ config: TransformerConfig) {
    guard let words = config.vocab_size else {
      fatalError("TransformerForTranslation: 'vocab_size' is needed")
    }
    let features = config.d_model
    let spread = Initializer.normal(standardDeviation: 1 / Double(features).squareRoot())
    func table(_ count: Int) -> Embedding {
      Embedding(count, features, paddingIndex: config.pad_token_id, initializer: spread)
    }
    let targets = config.target_vocab_size ?? words
    source_embedding = table(words)
    target_embedding = config.share_embeddings ? source_embedding : table(targets)
    transformer = Transformer(config)
    generator =
      config.share_embeddings
      ? Linear(weight: target_embedding.weight)
      : Linear(features, targets, bias: false, initializer: .xavierUniform())
    positions = SinusoidalEmbedding(features, cosineFirst: false, frequencyShift: 0, isInterleaved: true)
    dropout = Dropout(config.dropout)
  }

  public var config: TransformerConfig { transformer.config }

  /// Masks (B, S) and (B, T) are not 0 where there is a token. `observe` sees each block's output under its key.
  public func callAsFunction(
    _ source: Tensor, _ target: Tensor, sourceMask: Tensor? = nil, targetMask: Tensor? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    let encoded = encode(source, mask: sourceMask, observe: observe)
    return decode(target, encoded, mask: targetMask, observe: observe)
  }

  /// Source tokens (B, S), read once for all steps of decoding.
  public func encode(
    _ tokens: Tensor, mask: Tensor? = nil, observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Transformer.Source {
    let mask = mask.map(paddingMask)
    let x = embed(tokens, source_embedding, .iota(tokens.shape[1]))
    return transformer.source(
      transformer.encode(x, mask: mask) { observe("transformer." + $0, $1) }, mask: mask)
  }

  /// Logits (B, T, V) behind target tokens (B, T): all of them, or those after the ones in `cache`.
  public func decode(
    _ tokens: Tensor, _ source: Transformer.Source, mask: Tensor? = nil, cache: KeyValueCache? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    generator(hidden(tokens, source, mask: mask, cache: cache, observe: observe))
  }

  /// What `generator` makes logits of: target tokens (B, T) -> (B, T, C).
  public func hidden(
    _ tokens: Tensor, _ source: Transformer.Source, mask: Tensor? = nil, cache: KeyValueCache? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    let count = tokens.shape[1]
    let x = embed(tokens, target_embedding, cache?.positions(count) ?? .iota(count))
    return transformer.decode(x, source, mask: mask.map(paddingMask), cache: cache) {
      observe("transformer." + $0, $1)
    }
  }

  /// sqrt(C) times the words' vectors, plus their places (sections 3.4 and 3.5): (B, T) -> (B, T, C).
  private func embed(_ tokens: Tensor, _ table: Embedding, _ places: Tensor) -> Tensor {
    require(
      tokens.rank == 2 && tokens.shape[1] <= config.max_position_embeddings,
      "Transformer: needs tokens (B, T) with T at most \(config.max_position_embeddings), not \(tokens.shape)"
    )
    return dropout(table(tokens) * Double(config.d_model).squareRoot() + positions(places))
  }
}
