import KalsaeCheckpoints
import KalsaeNeural
import KalsaeTensors

// The Vision Transformer of "An Image is Worth 16x16 Words" (Dosovitskiy et al. 2020, arXiv 2010.11929) with the names,
// keys and numbers of transformers' `ViTModel` and `ViTForImageClassification`.
//
// N pictures, H x W pixels, T tokens (one a patch and one for the class), C features.

/// `config.json` of transformers' ViT: its keys and its defaults.
public struct ViTConfig: TransformersConfig {
  public static let identity = (key: "model_type", name: "vit")
  /// The decoder of masked pictures reads it.
  public static let ownUnusedKeys: Set<String> = ["encoder_stride"]

  public var architectures = ["ViTForImageClassification"]
  public var hidden_size = 768
  public var num_hidden_layers = 12
  public var num_attention_heads = 12
  public var intermediate_size = 3072
  public var hidden_act = HiddenActivation.gelu
  public var hidden_dropout_prob = 0.0
  public var attention_probs_dropout_prob = 0.0
  public var initializer_range = 0.02
  public var layer_norm_eps = 1e-12
  public var image_size = ImageSize(224)
  public var patch_size = ImageSize(16)
  public var num_channels = 3
  public var qkv_bias = true
  /// Features of the pooler; hidden_size when nil.
  public var pooler_output_size: Int? = nil
  public var pooler_act = HiddenActivation.tanh
  public var id2label = LabelNames(count: 2)

  public init() {}

  public mutating func fields(_ field: inout ConfigFields) throws(ConfigError) {
    try field("architectures", &architectures)
    try field("hidden_size", &hidden_size)
    try field("num_hidden_layers", &num_hidden_layers)
    try field("num_attention_heads", &num_attention_heads)
    try field("intermediate_size", &intermediate_size)
    try field("hidden_act", &hidden_act)
    try field("hidden_dropout_prob", &hidden_dropout_prob)
    try field("attention_probs_dropout_prob", &attention_probs_dropout_prob)
    try field("initializer_range", &initializer_range)
    try field("layer_norm_eps", &layer_norm_eps)
    try field("image_size", &image_size)
    try field("patch_size", &patch_size)
    try field("num_channels", &num_channels)
    try field("qkv_bias", &qkv_bias)
    try field("pooler_output_size", &pooler_output_size)
    try field("pooler_act", &pooler_act)
    try field("id2label", &id2label)
  }

  public var problem: (key: String, reason: String)? {
    if let found = firstNotPositive([
      "hidden_size": hidden_size, "num_hidden_layers": num_hidden_layers,
      "num_attention_heads": num_attention_heads, "intermediate_size": intermediate_size,
      "num_channels": num_channels, "pooler_output_size": pooler_output_size ?? 1,
      "patch_size": min(patch_size.rows, patch_size.columns),
    ])
      ?? firstNoProbability([
        "hidden_dropout_prob": hidden_dropout_prob,
        "attention_probs_dropout_prob": attention_probs_dropout_prob,
      ])
      ?? headProblem("num_attention_heads", num_attention_heads, "hidden_size", hidden_size)
    {
      return found
    }
    if image_size.rows < patch_size.rows || image_size.columns < patch_size.columns {
      return ("image_size", "\(image_size.json.text) is smaller than patch_size \(patch_size.json.text)")
    }
    return id2label.names.isEmpty ? ("id2label", "must name at least one class") : nil
  }

  /// Patches of one picture.
  public var patches: Int { image_size.rows / patch_size.rows * (image_size.columns / patch_size.columns) }

  fileprivate var initializer: Initializer { .truncatedNormal(standardDeviation: initializer_range) }

  fileprivate func linear(_ inputs: Int, _ outputs: Int, bias: Bool = true) -> Linear {
    Linear(inputs, outputs, bias: bias, initializer: initializer, biasInitializer: .zeros)
  }
}

/// Patches as tokens, behind the token of the class, with their positions: (N, H, W, channels) -> (N, T, C).
public struct ViTEmbeddings: Module {
  public struct Patches: Module {
    let projection: Conv2d
  }

  let cls_token: Parameter  // (1, 1, C)
  let position_embeddings: Parameter  // (1, T, C)
  let patch_embeddings: Patches
  private let dropout: Dropout

  init(_ c: ViTConfig) {
    cls_token = Parameter(c.initializer([1, 1, c.hidden_size]))
    position_embeddings = Parameter(c.initializer([1, c.patches + 1, c.hidden_size]))
    let patch = c.patch_size
    patch_embeddings = Patches(
      projection: Conv2d(
        c.num_channels, c.hidden_size, kernel: (patch.rows, patch.columns),
        ConvolutionGeometry(stride: [patch.rows, patch.columns]), initializer: c.initializer,
        biasInitializer: .zeros))
    dropout = Dropout(c.hidden_dropout_prob)
  }

  func callAsFunction(_ pixels: Tensor) -> Tensor {
    let n = pixels.shape[0], c = cls_token.shape[2]
    let patches = patch_embeddings.projection(pixels).reshaped(n, -1, c)  // (N, T - 1, C)
    let first = cls_token.value.broadcast(to: [n, 1, c])
    let tokens = concatenated([first, patches.cast(to: first.dtype)], axis: 1)
    return dropout(tokens + position_embeddings.value)
  }
}

/// Multi-head attention of all tokens to all.
public struct ViTAttention: Module {
  let q_proj: Linear, k_proj: Linear, v_proj: Linear, o_proj: Linear
  private let heads: Int, dropout: Double

  init(_ c: ViTConfig) {
    q_proj = c.linear(c.hidden_size, c.hidden_size, bias: c.qkv_bias)
    k_proj = c.linear(c.hidden_size, c.hidden_size, bias: c.qkv_bias)
    v_proj = c.linear(c.hidden_size, c.hidden_size, bias: c.qkv_bias)
    o_proj = c.linear(c.hidden_size, c.hidden_size)
    (heads, dropout) = (c.num_attention_heads, c.attention_probs_dropout_prob)
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    o_proj(multiHeadAttention(q_proj(x), k_proj(x), v_proj(x), heads: heads, dropout: dropout))
  }
}

/// The position-wise network.
public struct ViTMLP: Module {
  let fc1: Linear, fc2: Linear
  private let activation: HiddenActivation

  init(_ c: ViTConfig) {
    fc1 = c.linear(c.hidden_size, c.intermediate_size)
    fc2 = c.linear(c.intermediate_size, c.hidden_size)
    activation = c.hidden_act
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    let hidden = fc1(x)
    // The activation is cheaper to compute again than to keep.
    return checkpointed { fc2(activation(hidden)) }
  }
}

/// Attention, then the position-wise network, each on a normalised copy and added: (N, T, C) -> (N, T, C)
/// (equations 2 and 3).
public struct ViTLayer: Module {
  let attention: ViTAttention
  let layernorm_before: LayerNorm, layernorm_after: LayerNorm
  let mlp: ViTMLP
  private let dropout: Dropout

  init(_ c: ViTConfig) {
    attention = ViTAttention(c)
    layernorm_before = LayerNorm(c.hidden_size, epsilon: c.layer_norm_eps)
    layernorm_after = LayerNorm(c.hidden_size, epsilon: c.layer_norm_eps)
    mlp = ViTMLP(c)
    dropout = Dropout(c.hidden_dropout_prob)
  }

  func callAsFunction(_ x: Tensor, observe: (String, Tensor) -> Void) -> Tensor {
    let attended = attention(layernorm_before(x))
    observe("attention", attended)
    let x = dropout(attended).cast(to: x.dtype) + x
    let processed = mlp(layernorm_after(x))
    observe("mlp", processed)
    return dropout(processed).cast(to: x.dtype) + x
  }
}

/// The pooler of `ViTModel`: the class token's (N, C) -> (N, pooler_output_size).
public struct ViTPooler: Module {
  let dense: Linear
  private let activation: HiddenActivation

  init(_ c: ViTConfig) {
    dense = c.linear(c.hidden_size, c.pooler_output_size ?? c.hidden_size)
    activation = c.pooler_act
  }

  func callAsFunction(_ x: Tensor) -> Tensor { activation(dense(x.at(0, axis: 1))) }
}

/// What files call the parts of a layer, and what they are called here.
private let layerKeys = [
  ("attention.attention.query", "attention.q_proj"), ("attention.attention.key", "attention.k_proj"),
  ("attention.attention.value", "attention.v_proj"), ("attention.output.dense", "attention.o_proj"),
  ("intermediate.dense", "mlp.fc1"), ("output.dense", "mlp.fc2"),
  ("layernorm_before", "layernorm_before"), ("layernorm_after", "layernorm_after"),
]

/// What files call the layers, with the prefix or without it.
private func fileKeys(to prefix: String, _ first: [(String, String?)] = []) -> KeyMap {
  var rules = first + [("**.embeddings.mask_token", nil)]
  for source in ["vit.", ""] {
    rules += layerKeys.map { ("\(source)encoder.layer.*.\($0).*", "\(prefix)layers.*.\($1).*") }
    rules += ["embeddings", "layers", "layernorm", "pooler"].map {
      (source + $0 + ".**", prefix + $0 + ".**")
    }
  }
  return KeyMap(rules)
}

/// Pictures (N, H, W, channels) -> what the last layer knows of each token, (N, T, C), and the pooled class token.
public struct ViTModel: PretrainedModel {
  public let config: ViTConfig
  public let embeddings: ViTEmbeddings
  public let layers: [ViTLayer]
  public let layernorm: LayerNorm
  public let pooler: ViTPooler?

  public static let keyMap = fileKeys(to: "")

  /// Traps when the configuration contradicts itself; one that was read from a file has been checked.
  public init(_ config: ViTConfig) { self.init(config, pooler: true) }

  init(_ config: ViTConfig, pooler: Bool) {
    if let problem = config.problem { fatalError("ViT: '\(problem.key)' \(problem.reason)") }
    self.config = config
    embeddings = ViTEmbeddings(config)
    layers = (0..<config.num_hidden_layers).map { _ in ViTLayer(config) }
    layernorm = LayerNorm(config.hidden_size, epsilon: config.layer_norm_eps)
    self.pooler = pooler ? ViTPooler(config) : nil
  }

  /// `observe` sees the output of each block under its key.
  public func callAsFunction(
    _ pixels: Tensor, observe: (String, Tensor) -> Void = { _, _ in }
  ) -> (hidden: Tensor, pooled: Tensor?) {
    let size = config.image_size
    require(
      pixels.rank == 4 && pixels.shape.dimensions[1...] == [size.rows, size.columns, config.num_channels],
      "ViT: needs pictures (N, \(size.rows), \(size.columns), \(config.num_channels)), not \(pixels.shape)")
    var x = embeddings(pixels)  // (N, T, C)
    observe("embeddings", x)
    for (i, layer) in layers.enumerated() {
      x = Recomputation.block { layer(x) { observe("layers.\(i)." + $0, $1) } }
      observe("layers.\(i)", x)
    }
    x = layernorm(x)
    observe("layernorm", x)
    let pooled = pooler?(x)
    if let pooled { observe("pooler", pooled) }
    return (x, pooled)
  }
}

/// ViT that puts pictures into classes: (N, H, W, channels) -> logits (N, classes).
public struct ViTForImageClassification: PretrainedModel {
  public let vit: ViTModel
  public let classifier: Linear

  /// A pooler that files may hold is not read here.
  public static let keyMap = fileKeys(to: "vit.", [("vit.pooler.**", nil)])

  public init(_ config: ViTConfig) {
    vit = ViTModel(config, pooler: false)
    classifier = config.linear(config.hidden_size, config.id2label.names.count)
  }

  public var config: ViTConfig { vit.config }

  /// `observe` sees the output of each block under its key.
  public func callAsFunction(_ pixels: Tensor, observe: (String, Tensor) -> Void = { _, _ in }) -> Tensor {
    classifier(vit(pixels) { observe("vit." + $0, $1) }.hidden.at(0, axis: 1))
  }
}

extension ViTForImageClassification {
  /// What published files call the parameters.
  public static let publishedKeys = KeyMap(
    layerKeys.map { ("vit.layers.*.\($0.1).*", "vit.encoder.layer.*.\($0.0).*") })

  /// Takes the encoder from a file of any of this architecture's heads; the classifier stays as it is.
  public func loadBackbone(from file: SafetensorsFile) throws(LoadError) {
    try loadParameters(
      into: vit.contents, from: file,
      keyMap: fileKeys(to: "", [("vit.pooler.**", nil), ("pooler.**", nil), ("classifier.*", nil)]))
  }
}
