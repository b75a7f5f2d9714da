import KalsaeCheckpoints
import KalsaeModels
import KalsaeNeural
import KalsaePipelines

/// Which of a run's weights are used.
public enum RunWeights: String, Sendable, CaseIterable {
  /// The moving average.
  case ema
  /// The weights being trained.
  case live
}

extension RunFolder {
  /// Fills a model with the weights of a checkpoint: of `step`, or the newest.
  public func load(
    _ weights: RunWeights = .ema, step: Int? = nil, into contents: ModuleContents
  ) throws {
    try loadParameters(into: contents, from: self.weights(weights, step: step))
  }

  /// The file of a checkpoint's weights: of `step`, or the newest.
  public func weights(_ weights: RunWeights = .ema, step: Int? = nil) throws -> SafetensorsFile {
    let file = weights == .ema ? CheckpointFiles.average : CheckpointFiles.model
    return try SafetensorsFile(path: checkpointPath(try checkpoint(step)) + "/" + file)
  }
}

extension DDPMPipeline {
  /// The model of a run's checkpoint: of `step`, or the newest.
  public init(run: RunFolder, weights: RunWeights = .ema, step: Int? = nil) throws {
    let configuration: DDPMConfiguration = try run.configuration()
    guard let config = configuration.model else {
      throw RunError("\(run.configPath) has no model: the run has not started training")
    }
    let unet = UNet2DModel(config)
    try run.load(weights, step: step, into: unet.contents)
    self.init(unet: unet, diffusion: configuration.diffusion)
  }

  /// Opens a run folder or a model folder.
  public init(runOrModel path: String, weights: RunWeights = .ema, step: Int? = nil) throws {
    let run = RunFolder(path)
    if DDPMPipeline.exists(at: path) {
      try self.init(folder: path)
    } else if run.exists {
      try self.init(run: run, weights: weights, step: step)
    } else {
      throw RunError(
        "\(path) is neither a run folder (config.json) nor a model folder (model_index.json, unet/)")
    }
  }
}
