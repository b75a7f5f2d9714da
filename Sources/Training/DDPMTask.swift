import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeDiffusion
import KalsaeModels
import KalsaeNeural
import KalsaePipelines
import KalsaeRuntime
import KalsaeTensors

public typealias DDPMTrainer = Trainer<DDPMTask>

/// A diffusion model on pictures (arXiv 2006.11239, algorithm 1).
public struct DDPMTask: TrainingTask {
  public static let unit = "images"
  public let configuration: DDPMConfiguration
  public let dataset: any ImageDataset
  private let model: UNet2DConfig
  private let objective: TrainingLoss

  public init(_ given: DDPMConfiguration, report: @escaping @Sendable (String) -> Void) throws {
    var configuration = given
    let source = try DataSource.parse(configuration.data).absolute
    // The run can then be continued from any folder.
    configuration.data = source.description
    dataset = try source.open(imageSize: configuration.imageSize) { report("skipped \($0.line)") }
    if let skipped = (dataset as? ImageFolder)?.skipped.count, skipped > 0 {
      report("\(skipped) of \(dataset.count + skipped) pictures were skipped")
    }
    var model =
      configuration.model
      ?? UNet2DConfig.standard(
        size: dataset.size, channels: dataset.channels, dropout: configuration.dropout)
    model.sample_size = model.sample_size ?? ImageSize(dataset.size)
    configuration.model = model
    if let problem = configuration.problem ?? model.problem {
      throw RunError("\(problem.key) \(problem.reason)")
    }
    if let problem = model.misfit(to: dataset, timesteps: configuration.timesteps) { throw problem }
    (self.configuration, self.model) = (configuration, model)
    objective = TrainingLoss(
      configuration.diffusion.noiseSchedule, configuration.prediction, distance: configuration.loss,
      minSNRGamma: configuration.minSNRGamma)
  }

  public func makeModel() -> UNet2DModel { UNet2DModel(model) }
  public func makeOptimizer(_ contents: ModuleContents) -> any Optimizer { Adam(contents) }
  public var learningRate: LearningRate {
    LearningRate(peak: configuration.learningRate, warmup: configuration.warmup)
  }

  public func makeLoader(
    at position: LoaderPosition
  ) throws -> () throws -> (batch: Batch, positionAfter: LoaderPosition) {
    let loader = try BatchLoader(
      dataset: dataset, batchSize: configuration.batchSize, seed: configuration.seed,
      flip: configuration.flip, position: position)
    return {
      let batch = try loader.next()
      return (batch, batch.positionAfter)
    }
  }

  public func count(_ batch: Batch) -> Int { configuration.batchSize }

  /// The pictures' bytes, (N, H, W, C).
  public func inputs(_ batch: Batch) -> [Tensor] {
    let size = dataset.size
    return [Tensor(batch.pixels, [configuration.batchSize, size, size, dataset.channels])]
  }

  public func loss(
    of model: UNet2DModel, on inputs: [Tensor], key: RandomKey, observe: @escaping (String, Tensor) -> Void
  ) -> Tensor {
    // Numbers in [-1, 1].
    let pictures = inputs[0].cast(to: .float32) * (2.0 / 255) - 1
    return objective(pictures, key: key) { x, times in model(x, times, classLabels: nil, observe: observe) }
  }

  /// Draws a few pictures into the log; none when training should stop meanwhile.
  public func inspect(
    _ model: UNet2DModel, step: Int, run: RunFolder, log: RunLog, shouldStop: () -> Bool
  ) throws -> [(name: String, value: Double)] {
    guard configuration.sampleEvery > 0, step % configuration.sampleEvery == 0 else { return [] }
    var options = SamplingOptions()
    options.count = 16
    options.batchSize = 16
    options.steps = min(20, configuration.timesteps)
    options.seed = configuration.seed
    options.precision = configuration.precision.autocast
    options.size = ImageSize(dataset.size)
    let pipeline = DDPMPipeline(unet: model, diffusion: configuration.diffusion)
    let samples = pixelBytes(try pipeline.sample(options) { _ in !shouldStop() })
    guard !samples.isEmpty else { return [] }
    let picture = ImageGrid(columns: 4).picture(
      ofBatch: samples, height: dataset.size, width: dataset.size, channels: dataset.channels)
    try picture.writePNG(to: run.samplesPath + "/step-\(step).png")
    try log.add(step: step, samples: picture)
    return []
  }
}
