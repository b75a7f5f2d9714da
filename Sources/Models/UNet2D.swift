import KalsaeCheckpoints
import KalsaeNeural
import KalsaeTensors

// The U-Net of "Denoising Diffusion Probabilistic Models" (Ho et al. 2020, arXiv 2006.11239, appendix B), with the
// names, keys and numbers of diffusers' `UNet2DModel`; also its variants of improved-diffusion and score_sde.
//
// N pictures, H x W pixels, C channels, E features of the time embedding.

/// A network that maps a noisy picture and a time to a picture of the same size.
public struct UNet2DModel: Module {
  public let config: UNet2DConfig
  public let conv_in: Conv2d
  public let time_proj: TimeProjection
  public let time_embedding: TimestepEmbedding
  public let class_embedding: ClassEmbedding?
  public let down_blocks: [DownBlock2D]
  public let mid_block: MidBlock2D?
  public let up_blocks: [UpBlock2D]
  public let conv_norm_out: GroupNorm
  public let conv_out: Conv2d

  public enum TimeProjection: Module {
    case positional(SinusoidalEmbedding)
    case fourier(GaussianFourierProjection)
    case learned(Embedding)
  }

  public enum ClassEmbedding: Module {
    case table(Embedding)
    case timestep(TimestepEmbedding)
    case identity
  }

  /// What older checkpoints of diffusers call the attention.
  public static let keyMap: KeyMap = [
    "**.query.*": "**.to_q.*", "**.key.*": "**.to_k.*", "**.value.*": "**.to_v.*",
    "**.proj_attn.*": "**.to_out.0.*",
  ]

  /// Traps when the configuration contradicts itself; one that was read from a file has been checked.
  public init(_ config: UNet2DConfig) {
    if let problem = config.problem { fatalError("UNet2DModel: '\(problem.key)' \(problem.reason)") }
    self.config = config
    let width = config.block_out_channels[0], embedding = config.embedding
    conv_in = Conv2d(config.in_channels, width, kernel: 3, padding: 1)
    var timeFeatures = width
    switch config.time_embedding_type {
    case .positional:
      time_proj = .positional(
        SinusoidalEmbedding(width, cosineFirst: config.flip_sin_to_cos, frequencyShift: config.freq_shift))
    case .fourier:
      time_proj = .fourier(GaussianFourierProjection(width, scale: 16))
      timeFeatures = 2 * width
    case .learned: time_proj = .learned(Embedding(config.num_train_timesteps!, width))
    }
    time_embedding = TimestepEmbedding(timeFeatures, embedding)
    class_embedding =
      switch config.class_embed_type {
      case .timestep: .timestep(TimestepEmbedding(timeFeatures, embedding))
      case .identity: .identity
      case nil: config.num_class_embeds.map { .table(Embedding($0, embedding)) }
      }
    let levels = config.block_out_channels.indices
    down_blocks = levels.map { DownBlock2D(config, level: $0) }
    mid_block = config.mid_block_type == nil ? nil : MidBlock2D(config)
    up_blocks = levels.map { UpBlock2D(config, level: $0) }
    conv_norm_out = GroupNorm(groups: config.norm_num_groups, channels: width, epsilon: config.norm_eps)
    conv_out = Conv2d(width, config.out_channels, kernel: 3, padding: 1)
  }

  /// What the network makes of pictures (N, H, W, in_channels) at times (N) or (): (N, H, W, out_channels).
  ///
  /// Times are steps, or noise levels with `time_embedding_type` "fourier". Class labels are needed exactly when the
  /// configuration has a class embedding: classes int32 (N), times (N), or embeddings (N, E) with "identity".
  public func callAsFunction(_ sample: Tensor, _ times: Tensor, classLabels: Tensor? = nil) -> Tensor {
    self(sample, times, classLabels: classLabels) { _, _ in }
  }

  /// The same, showing `observe` the output of each block under its key.
  package func callAsFunction(
    _ sample: Tensor, _ times: Tensor, classLabels: Tensor?, observe: (String, Tensor) -> Void
  ) -> Tensor {
    check(sample, classLabels)
    let times = times.broadcast(to: [sample.shape[0]])
    let embedding = embed(times, classLabels, observe)  // (N, E)

    var x = conv_in(config.center_input_sample ? sample * 2 - 1 : sample)  // (N, H, W, C0)
    observe("conv_in", x)
    var residuals = [x]
    for (i, block) in down_blocks.enumerated() {
      let (y, more) = block(x, embedding)
      x = y
      residuals += more
      observe("down_blocks.\(i)", x)
      for (j, residual) in more.enumerated() { observe("down_blocks.\(i).residuals.\(j)", residual) }
    }
    if let mid_block {
      x = mid_block(x, embedding)
      observe("mid_block", x)
    }
    for (i, block) in up_blocks.enumerated() {
      x = block(x, embedding, &residuals)
      observe("up_blocks.\(i)", x)
    }
    x = conv_out(conv_norm_out(x, activation: .silu)).cast(to: sample.dtype)  // (N, H, W, out)
    guard config.time_embedding_type == .fourier else { return x }
    return x / times.cast(to: x.dtype).reshaped(-1, 1, 1, 1)
  }

  private func embed(_ times: Tensor, _ labels: Tensor?, _ observe: (String, Tensor) -> Void) -> Tensor {
    let features = project(times)
    observe("time_proj", features)
    let embedding = time_embedding(features)
    observe("time_embedding", embedding)
    guard let class_embedding, let labels else { return embedding }
    let classes =
      switch class_embedding {
      case .table(let table): table(labels)
      case .timestep(let layers): layers(project(labels))
      case .identity: labels
      }
    observe("class_embedding", classes)
    return embedding + classes.cast(to: embedding.dtype)
  }

  private func project(_ times: Tensor) -> Tensor {
    switch time_proj {
    case .positional(let sinusoids): sinusoids(times)
    case .fourier(let features): features(times)
    case .learned(let table): table(times)
    }
  }

  private func check(_ sample: Tensor, _ labels: Tensor?) {
    require(
      sample.rank == 4 && sample.shape[3] == config.in_channels,
      "UNet2DModel: needs (N, H, W, \(config.in_channels)), not \(sample.shape)")
    require(
      sample.shape[1] % config.sizeMultiple == 0 && sample.shape[2] % config.sizeMultiple == 0,
      "UNet2DModel: height and width of \(sample.shape) must be multiples of \(config.sizeMultiple)")
    require(
      (labels == nil) == (class_embedding == nil),
      labels == nil ? "UNet2DModel: class labels are needed" : "UNet2DModel: it has no class embedding")
  }
}
