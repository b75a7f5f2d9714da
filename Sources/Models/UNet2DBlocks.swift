import KalsaeNeural
import KalsaeTensors

// The blocks of `UNet2DModel`.  N pictures, H x W pixels, C channels, E features of the time embedding.

/// What every block of a U-Net takes from its configuration.
struct UNet2DBlockSettings {
  let embedding: Int, groups: Int, epsilon: Double, dropout: Double
  let activation: ActivationFunction
  let scalesByTime: Bool

  init(_ c: UNet2DConfig) {
    (embedding, groups, epsilon, dropout) = (c.embedding, c.norm_num_groups, c.norm_eps, c.dropout)
    (activation, scalesByTime) = (c.act_fn, c.resnet_time_scale_shift == .scaleShift)
  }
}

/// A residual block that the time modulates: (N, H, W, in), (N, E) -> (N, H', W', out).
///
/// Ho et al. 2020, appendix B; scaling by the time and resampling inside: Dhariwal and Nichol 2021, section 3.
public struct ResnetBlock2D: Module {
  public enum Resampling: Sendable { case none, up, down }

  let norm1: GroupNorm, conv1: Conv2d
  let time_emb_proj: Linear
  let norm2: GroupNorm, dropout: Dropout, conv2: Conv2d
  let conv_shortcut: Conv2d?
  private let activation: ActivationFunction
  private let scalesByTime: Bool
  private let resampling: Resampling
  private let outputScale: Double

  init(
    _ inputs: Int, _ outputs: Int, _ s: UNet2DBlockSettings, resampling: Resampling = .none,
    outputScale: Double = 1
  ) {
    norm1 = GroupNorm(groups: s.groups, channels: inputs, epsilon: s.epsilon)
    conv1 = Conv2d(inputs, outputs, kernel: 3, padding: 1)
    time_emb_proj = Linear(s.embedding, s.scalesByTime ? 2 * outputs : outputs)
    norm2 = GroupNorm(groups: s.groups, channels: outputs, epsilon: s.epsilon)
    dropout = Dropout(s.dropout)
    conv2 = Conv2d(outputs, outputs, kernel: 3, padding: 1)
    conv_shortcut = inputs == outputs ? nil : Conv2d(inputs, outputs, kernel: 1)
    (activation, scalesByTime) = (s.activation, s.scalesByTime)
    (self.resampling, self.outputScale) = (resampling, outputScale)
  }

  public func callAsFunction(_ x: Tensor, _ embedding: Tensor) -> Tensor {
    var h = conv1(resampled(activation(norm1, x)))  // (N, H', W', out)
    let time = time_emb_proj(activation(embedding)).cast(to: h.dtype).expanded(1).expanded(1)
    if scalesByTime {
      let parts = time.split(2, axis: -1)  // scale, shift: (N, 1, 1, out)
      h = activation(norm2(h) * (parts[0] + 1) + parts[1])
    } else {
      h = activation(norm2, h + time)
    }
    h = conv2(dropout(h))
    let skip = resampled(x)
    return scaled((conv_shortcut?(skip) ?? skip) + h, by: outputScale)
  }

  private func resampled(_ x: Tensor) -> Tensor {
    switch resampling {
    case .none: x
    case .up: upsampleNearest2d(x, factor: 2)
    case .down: averagePool2d(x, window: 2)
    }
  }
}

private func scaled(_ x: Tensor, by scale: Double) -> Tensor { scale == 1 ? x : x / scale }

/// Self-attention among pixels: (N, H, W, C) -> (N, H, W, C) (Ho et al. 2020, appendix B).
public struct AttentionBlock2D: Module {
  let group_norm: GroupNorm?
  let to_q: Linear, to_k: Linear, to_v: Linear
  let to_out: [Linear]
  private let heads: Int
  private let outputScale: Double

  init(_ channels: Int, headChannels: Int, groups: Int?, epsilon: Double, outputScale: Double = 1) {
    heads = channels / headChannels
    let inner = heads * headChannels
    group_norm = groups.map { GroupNorm(groups: $0, channels: channels, epsilon: epsilon) }
    to_q = Linear(channels, inner)
    to_k = Linear(channels, inner)
    to_v = Linear(channels, inner)
    to_out = [Linear(inner, channels)]
    self.outputScale = outputScale
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    let tokens = (group_norm?(x) ?? x).reshaped(x.shape[0], -1, x.shape[3])  // (N, H W, C)
    let mixed = multiHeadAttention(to_q(tokens), to_k(tokens), to_v(tokens), heads: heads)
    return scaled(x + to_out[0](mixed).reshaped(x.shape), by: outputScale)
  }
}

/// Half the resolution: (N, H, W, C) -> (N, H / 2, W / 2, C).
public enum Downsampler2D: Module {
  case conv(Convolution)
  case resnet(ResnetBlock2D)

  public struct Convolution: Module {
    let conv: Conv2d

    init(_ channels: Int, padding: Int) {
      // Without padding, a row below and a column to the right make an even picture come out half as large.
      let sides = padding == 0 ? (0, 1, 0, 1) : (padding, padding, padding, padding)
      conv = Conv2d(
        channels, channels, kernel: (3, 3), ConvolutionGeometry(stride: [2, 2], padding: sides))
    }
  }

  func callAsFunction(_ x: Tensor, _ embedding: Tensor) -> Tensor {
    switch self {
    case .conv(let layer): layer.conv(x)
    case .resnet(let block): block(x, embedding)
    }
  }
}

/// Twice the resolution: (N, H, W, C) -> (N, 2 H, 2 W, C).
public enum Upsampler2D: Module {
  case conv(Convolution)
  case resnet(ResnetBlock2D)

  public struct Convolution: Module {
    let conv: Conv2d
    init(_ channels: Int) { conv = Conv2d(channels, channels, kernel: 3, padding: 1) }
  }

  func callAsFunction(_ x: Tensor, _ embedding: Tensor) -> Tensor {
    switch self {
    case .conv(let layer): layer.conv(upsampleNearest2d(x, factor: 2))
    case .resnet(let block): block(x, embedding)
    }
  }
}

/// Residual blocks, attention after each of them where there is any, then half the resolution.
public struct DownBlock2D: Module {
  let resnets: [ResnetBlock2D]
  let attentions: [AttentionBlock2D]
  let downsamplers: [Downsampler2D]

  init(_ c: UNet2DConfig, level: Int) {
    let s = UNet2DBlockSettings(c), type = c.down_block_types[level]
    let outputs = c.block_out_channels[level]
    let inputs = c.block_out_channels[max(level - 1, 0)]
    resnets = (0..<c.layers_per_block).map { ResnetBlock2D($0 == 0 ? inputs : outputs, outputs, s) }
    attentions = type == .attention ? c.attentions(c.layers_per_block, outputs) : []
    let resamples = level < c.block_out_channels.count - 1
    let byResnet = type == .resnet || type == .attention && c.downsample_type == .resnet
    downsamplers =
      !resamples
      ? []
      : byResnet
        ? [.resnet(ResnetBlock2D(outputs, outputs, s, resampling: .down))]
        : [.conv(Downsampler2D.Convolution(outputs, padding: c.downsample_padding))]
  }

  /// The result, and what the up blocks will read of each layer.
  func callAsFunction(_ x: Tensor, _ embedding: Tensor) -> (Tensor, residuals: [Tensor]) {
    var x = x
    var residuals: [Tensor] = []
    for (i, resnet) in resnets.enumerated() {
      x = Recomputation.block { resnet(x, embedding) }
      if !attentions.isEmpty { x = Recomputation.block { attentions[i](x) } }
      residuals.append(x)
    }
    for downsampler in downsamplers {
      x = Recomputation.block { downsampler(x, embedding) }
      residuals.append(x)
    }
    return (x, residuals)
  }
}

/// Two residual blocks around attention, at the lowest resolution.
public struct MidBlock2D: Module {
  let resnets: [ResnetBlock2D]
  let attentions: [AttentionBlock2D]

  init(_ c: UNet2DConfig) {
    let s = UNet2DBlockSettings(c), channels = c.block_out_channels.last!
    let scale = c.mid_block_scale_factor
    resnets = (0..<2).map { _ in ResnetBlock2D(channels, channels, s, outputScale: scale) }
    let groups = c.attn_norm_num_groups ?? (s.scalesByTime ? nil : c.norm_num_groups)
    attentions =
      !c.add_attention
      ? []
      : [
        AttentionBlock2D(
          channels, headChannels: c.attention_head_dim ?? channels, groups: groups, epsilon: c.norm_eps,
          outputScale: scale)
      ]
  }

  func callAsFunction(_ x: Tensor, _ embedding: Tensor) -> Tensor {
    var x = Recomputation.block { resnets[0](x, embedding) }
    for attention in attentions { x = Recomputation.block { attention(x) } }
    return Recomputation.block { resnets[1](x, embedding) }
  }
}

/// Residual blocks that each also read one residual of the way down, attention, then twice the resolution.
public struct UpBlock2D: Module {
  let resnets: [ResnetBlock2D]
  let attentions: [AttentionBlock2D]
  let upsamplers: [Upsampler2D]

  init(_ c: UNet2DConfig, level: Int) {
    let s = UNet2DBlockSettings(c), type = c.up_block_types[level]
    let channels = Array(c.block_out_channels.reversed()), count = c.layers_per_block + 1
    let outputs = channels[level]
    // The last residual comes from above: it has the channels of the next level.
    let before = channels[max(level - 1, 0)], above = channels[min(level + 1, channels.count - 1)]
    resnets = (0..<count).map { i in
      ResnetBlock2D((i == 0 ? before : outputs) + (i == count - 1 ? above : outputs), outputs, s)
    }
    attentions = type == .attention ? c.attentions(count, outputs) : []
    let resamples = level < channels.count - 1
    let byResnet = type == .resnet || type == .attention && c.upsample_type == .resnet
    upsamplers =
      !resamples
      ? []
      : byResnet
        ? [.resnet(ResnetBlock2D(outputs, outputs, s, resampling: .up))]
        : [.conv(Upsampler2D.Convolution(outputs))]
  }

  /// Takes one of `residuals`, from the end, for each of its layers.
  func callAsFunction(_ x: Tensor, _ embedding: Tensor, _ residuals: inout [Tensor]) -> Tensor {
    var x = x
    for (i, resnet) in resnets.enumerated() {
      let residual = residuals.removeLast()
      x = Recomputation.block { resnet(concatenated([x, residual], axis: -1), embedding) }
      if !attentions.isEmpty { x = Recomputation.block { attentions[i](x) } }
    }
    return upsamplers.reduce(x) { x, upsampler in Recomputation.block { upsampler(x, embedding) } }
  }
}

extension UNet2DConfig {
  fileprivate func attentions(_ count: Int, _ channels: Int) -> [AttentionBlock2D] {
    (0..<count).map { _ in
      AttentionBlock2D(
        channels, headChannels: attention_head_dim ?? channels, groups: norm_num_groups, epsilon: norm_eps)
    }
  }
}
