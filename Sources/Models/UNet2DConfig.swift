import KalsaeCheckpoints

/// `config.json` of diffusers' `UNet2DModel`: its keys and its defaults.
public struct UNet2DConfig: ModelConfig, Equatable {
  public static let identity = (key: "_class_name", name: "UNet2DModel")

  public var sample_size: ImageSize? = nil
  public var in_channels = 3
  public var out_channels = 3
  /// Whether pictures come in [0, 1] and are moved to [-1, 1].
  public var center_input_sample = false
  public var time_embedding_type = TimeEmbedding.positional
  /// 4 block_out_channels[0] when nil.
  public var time_embedding_dim: Int? = nil
  public var freq_shift = 0
  /// Whether cosines come before sines.
  public var flip_sin_to_cos = true
  public var down_block_types: [DownBlock] = [.plain, .attention, .attention, .attention]
  public var mid_block_type: MidBlock? = .residual
  public var up_block_types: [UpBlock] = [.attention, .attention, .attention, .plain]
  public var block_out_channels = [224, 448, 672, 896]
  public var layers_per_block = 2
  public var mid_block_scale_factor = 1.0
  /// 0 pads only below and to the right, as the networks of the paper do.
  public var downsample_padding = 1
  public var downsample_type = Resampling.conv
  public var upsample_type = Resampling.conv
  public var dropout = 0.0
  public var act_fn = ActivationFunction.silu
  /// Channels of one attention head; a single head when nil.
  public var attention_head_dim: Int? = 8
  public var norm_num_groups = 32
  /// Groups of the norm before the middle block's attention.
  public var attn_norm_num_groups: Int? = nil
  public var norm_eps = 1e-5
  public var resnet_time_scale_shift = TimeModulation.shift
  /// Whether the middle block has attention.
  public var add_attention = true
  public var class_embed_type: ClassEmbedding? = nil
  public var num_class_embeds: Int? = nil
  public var num_train_timesteps: Int? = nil

  public enum TimeEmbedding: String, CaseIterable, ConfigField { case positional, fourier, learned }
  public enum Resampling: String, CaseIterable, ConfigField { case conv, resnet }
  public enum ClassEmbedding: String, CaseIterable, ConfigField { case timestep, identity }
  public enum MidBlock: String, CaseIterable, ConfigField { case residual = "UNetMidBlock2D" }
  public enum TimeModulation: String, CaseIterable, ConfigField {
    case shift = "default", scaleShift = "scale_shift"
  }
  public enum DownBlock: String, CaseIterable, ConfigField {
    case plain = "DownBlock2D", attention = "AttnDownBlock2D", resnet = "ResnetDownsampleBlock2D"
  }
  public enum UpBlock: String, CaseIterable, ConfigField {
    case plain = "UpBlock2D", attention = "AttnUpBlock2D", resnet = "ResnetUpsampleBlock2D"
  }

  public init() {}

  public mutating func fields(_ field: inout ConfigFields) throws(ConfigError) {
    try field("sample_size", &sample_size)
    try field("in_channels", &in_channels)
    try field("out_channels", &out_channels)
    try field("center_input_sample", &center_input_sample)
    try field("time_embedding_type", &time_embedding_type)
    try field("time_embedding_dim", &time_embedding_dim)
    try field("freq_shift", &freq_shift)
    try field("flip_sin_to_cos", &flip_sin_to_cos)
    try field("down_block_types", &down_block_types)
    try field("mid_block_type", &mid_block_type)
    try field("up_block_types", &up_block_types)
    try field("block_out_channels", &block_out_channels)
    try field("layers_per_block", &layers_per_block)
    try field("mid_block_scale_factor", &mid_block_scale_factor)
    try field("downsample_padding", &downsample_padding)
    try field("downsample_type", &downsample_type)
    try field("upsample_type", &upsample_type)
    try field("dropout", &dropout)
    try field("act_fn", &act_fn)
    try field("attention_head_dim", &attention_head_dim)
    try field("norm_num_groups", &norm_num_groups)
    try field("attn_norm_num_groups", &attn_norm_num_groups)
    try field("norm_eps", &norm_eps)
    try field("resnet_time_scale_shift", &resnet_time_scale_shift)
    try field("add_attention", &add_attention)
    try field("class_embed_type", &class_embed_type)
    try field("num_class_embeds", &num_class_embeds)
    try field("num_train_timesteps", &num_train_timesteps)
  }

  public var problem: (key: String, reason: String)? {
    let levels = block_out_channels.count
    func positive(_ key: String, _ value: Int?) -> (key: String, reason: String)? {
      (value ?? 1) > 0 ? nil : (key, "must be positive, not \(value!)")
    }
    if let found = positive("in_channels", in_channels) ?? positive("out_channels", out_channels)
      ?? positive("layers_per_block", layers_per_block) ?? positive("norm_num_groups", norm_num_groups)
      ?? positive("time_embedding_dim", time_embedding_dim)
      ?? positive("attention_head_dim", attention_head_dim)
      ?? positive("attn_norm_num_groups", attn_norm_num_groups)
      ?? positive("num_class_embeds", num_class_embeds)
      ?? positive("num_train_timesteps", num_train_timesteps)
    {
      return found
    }
    if block_out_channels.isEmpty { return ("block_out_channels", "must name at least one level") }
    for (key, count) in [
      ("down_block_types", down_block_types.count), ("up_block_types", up_block_types.count),
    ]
    where count != levels {
      return (key, "names \(count) blocks for the \(levels) levels of block_out_channels")
    }
    for channels in block_out_channels where channels <= 0 || channels % norm_num_groups != 0 {
      return (
        "block_out_channels", "has \(channels), which does not divide by norm_num_groups \(norm_num_groups)"
      )
    }
    if let groups = attn_norm_num_groups, block_out_channels[levels - 1] % groups != 0 {
      return (
        "attn_norm_num_groups",
        "\(groups) does not divide block_out_channels' last, \(block_out_channels[levels - 1])"
      )
    }
    let attended =
      (0..<levels).filter {
        down_block_types[$0] == .attention || up_block_types[levels - 1 - $0] == .attention
      }
      .map { block_out_channels[$0] }
      + (mid_block_type != nil && add_attention ? [block_out_channels[levels - 1]] : [])
    if let head = attention_head_dim, let channels = attended.first(where: { $0 < head }) {
      return (
        "attention_head_dim", "\(head) is larger than the \(channels) channels of a block with attention"
      )
    }
    if time_embedding_type == .positional, !(0..<max(block_out_channels[0] / 2, 1)).contains(freq_shift) {
      return ("freq_shift", "must be from 0 to less than half of block_out_channels[0], not \(freq_shift)")
    }
    if time_embedding_type == .learned, num_train_timesteps == nil {
      return ("num_train_timesteps", "is needed by the time_embedding_type \"learned\"")
    }
    if class_embed_type != nil, num_class_embeds != nil {
      return ("num_class_embeds", "is a table of classes, which contradicts class_embed_type")
    }
    if !(0...1).contains(downsample_padding) {
      return ("downsample_padding", "must be 0 or 1, not \(downsample_padding)")
    }
    if !(0..<1).contains(dropout) { return ("dropout", "must be in [0, 1), not \(dropout)") }
    if !(norm_eps > 0) { return ("norm_eps", "must be positive, not \(norm_eps)") }
    if mid_block_scale_factor == 0 { return ("mid_block_scale_factor", "must not be 0") }
    if let size = sample_size,
      size.rows <= 0 || size.columns <= 0 || size.rows % sizeMultiple != 0
        || size.columns % sizeMultiple != 0
    {
      return (
        "sample_size", "must be a multiple of \(sizeMultiple) for \(levels) levels, not \(size.json.text)"
      )
    }
    return nil
  }

  /// Features of the time embedding.
  public var embedding: Int { time_embedding_dim ?? 4 * block_out_channels[0] }

  /// Height and width of the pictures must be a multiple of this.
  public var sizeMultiple: Int { 1 << (block_out_channels.count - 1) }
}

/// One number for squares, or rows and columns.
public struct ImageSize: Sendable, Hashable, ConfigField {
  public var rows: Int, columns: Int

  public init(rows: Int, columns: Int) { (self.rows, self.columns) = (rows, columns) }
  public init(_ side: Int) { self.init(rows: side, columns: side) }

  public static var expectation: String { "an integer or a list of height and width" }

  public init?(_ json: JSON) {
    if let side = Int(json) {
      self.init(side)
    } else if let sides = [Int](json), sides.count == 2 {
      self.init(rows: sides[0], columns: sides[1])
    } else {
      return nil
    }
  }

  public var json: JSON { rows == columns ? .integer(rows) : [.integer(rows), .integer(columns)] }
}

extension UNet2DConfig {
  /// The model that suits pictures of this size when none is configured: about 2.7 million parameters.
  public static func standard(size: Int, channels: Int, dropout: Double = 0) -> UNet2DConfig {
    var config = UNet2DConfig()
    config.sample_size = ImageSize(size)
    (config.in_channels, config.out_channels) = (channels, channels)
    config.block_out_channels = [32, 64, 128]
    config.layers_per_block = 1
    config.down_block_types = [.plain, .plain, .attention]
    config.up_block_types = [.attention, .plain, .plain]
    config.attention_head_dim = nil
    config.norm_num_groups = 8
    config.dropout = dropout
    // Fewer levels where the size does not halve so often.
    while size % config.sizeMultiple != 0, config.block_out_channels.count > 1 {
      config.block_out_channels.removeFirst()
      config.down_block_types.removeFirst()
      config.up_block_types.removeLast()
    }
    return config
  }
}
