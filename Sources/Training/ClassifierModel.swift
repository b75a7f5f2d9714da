import KalsaeCheckpoints
import KalsaeModels

/// Which network a classifier is.
public enum ClassifierKind: String, Sendable, CaseIterable {
  case vit, alexnet, bert

  /// Whether it reads pictures, or texts.
  public var readsPictures: Bool { self != .bert }
}

/// The network of a classifier, with its configuration as far as it is known: nil follows from the data.
public enum ClassifierModel: Sendable, Equatable {
  case vit(ViTConfig?)
  case alexnet(AlexNetConfig?)
  case bert(BertConfig?)

  public init(_ kind: ClassifierKind) {
    self =
      switch kind {
      case .vit: .vit(nil)
      case .alexnet: .alexnet(nil)
      case .bert: .bert(nil)
      }
  }

  /// Reads the keys of a network, `model_type` among them.
  init(_ c: ConfigJSON) throws(ConfigError) {
    let type: String? = try c("model_type", or: nil)
    switch type.flatMap(ClassifierKind.init) {
    case .vit?: self = .vit(try ViTConfig(c))
    case .alexnet?: self = .alexnet(try AlexNetConfig(c))
    case .bert?: self = .bert(try BertConfig(c))
    case nil:
      let known = ClassifierKind.allCases.map(\.rawValue).joined(separator: ", ")
      throw c.invalid("model_type", "is \(type.map { "\"\($0)\"" } ?? "missing"); choose \(known)")
    }
  }

  public var kind: ClassifierKind {
    switch self {
    case .vit: .vit
    case .alexnet: .alexnet
    case .bert: .bert
    }
  }

  /// Changes the dropout of a network that is configured.
  public mutating func setDropout(_ dropout: Double) {
    switch self {
    case .vit(var config?):
      config.hidden_dropout_prob = dropout
      self = .vit(config)
    case .alexnet(var config?):
      config.dropout = dropout
      self = .alexnet(config)
    case .bert(var config?):
      (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (dropout, dropout)
      config.classifier_dropout = nil
      self = .bert(config)
    case .vit, .alexnet, .bert: break
    }
  }

  /// The network's keys, or its name alone.
  var json: JSON {
    switch self {
    case .vit(let config?): .object(config.json)
    case .alexnet(let config?): .object(config.json)
    case .bert(let config?): .object(config.json)
    case .vit, .alexnet, .bert: .string(kind.rawValue)
    }
  }

  /// What the classes are called; nil when that is not known.
  public var classNames: [String]? {
    switch self {
    case .vit(let config): config?.id2label.names
    case .alexnet(let config): config.map { $0.id2label?.names ?? LabelNames(count: $0.num_classes).names }
    case .bert(let config): config?.id2label.names
    }
  }
}

extension ViTConfig {
  /// A small network for small pictures, with at most 64 patches.
  static func standard(size: Int, channels: Int, dropout: Double) -> ViTConfig {
    var c = ViTConfig()
    c.image_size = ImageSize(size)
    c.patch_size = ImageSize((1...size).first { size % $0 == 0 && size / $0 <= 8 } ?? size)
    c.num_channels = channels
    (c.hidden_size, c.num_hidden_layers, c.num_attention_heads, c.intermediate_size) = (128, 6, 4, 256)
    (c.hidden_dropout_prob, c.attention_probs_dropout_prob) = (dropout, 0)
    // Narrow networks learn faster from larger first weights than those of BERT's 768 features.
    c.initializer_range = 0.04
    return c
  }
}

extension BertConfig {
  /// A small network that learns from nothing.
  static func standard(vocabulary: Int, padding: Int?, context: Int, dropout: Double) -> BertConfig {
    var c = BertConfig()
    (c.vocab_size, c.pad_token_id, c.max_position_embeddings) = (vocabulary, padding, context)
    (c.hidden_size, c.num_hidden_layers, c.num_attention_heads, c.intermediate_size) = (256, 4, 4, 1024)
    (c.hidden_dropout_prob, c.attention_probs_dropout_prob) = (dropout, dropout)
    c.initializer_range = 0.04
    return c
  }
}
