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

extension DDPMPipeline {
  /// The model of a run's checkpoint: of `step`, or the newest.
  public init(run: RunFolder, weights: RunWeights = .ema, step: Int? = nil) throws {
    let configuration = try run.configuration()
    guard let config = configuration.model else {
      throw RunError("\(run.configPath) has no model: the run has not started training")
    }
    let folder = run.checkpointPath(try run.checkpoint(step))
    let file = weights == .ema ? TrainingState.averageFile : TrainingState.modelFile
    let unet = UNet2DModel(config)
    try loadParameters(into: unet.contents, from: SafetensorsFile(path: folder + "/" + file))
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
