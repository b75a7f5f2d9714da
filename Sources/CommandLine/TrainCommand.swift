import ArgumentParser
import Foundation
import Kalsae
import KalsaeCheckpoints
import KalsaeDiffusion
import KalsaeTraining
import Logging

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a model.",
    subcommands: [
      TrainDDPM.self,
      TrainLanguageModel.self,
      TrainTranslation.self,
      TrainMaskedLanguageModel.self,
      TrainClassifier.self,
    ])
}

struct TrainDDPM: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ddpm",
    abstract: "Train a diffusion model (DDPM) on pictures.",
    discussion: """
      Everything goes into the run folder: config.json, metrics.jsonl, TensorBoard events, sample pictures and \
      checkpoints. Ctrl-C saves and stops; --resume continues bit for bit.

        kalsae train ddpm --data fashion-mnist --output runs/fashion
        kalsae train ddpm --output runs/fashion --resume

      \(defaults(DDPMConfiguration.self, ", sample pictures every \(standard.sampleEvery) steps, prediction \(standard.prediction.rawValue), schedule \(standard.schedule.rawValue), variance \(standard.variance.rawValue), \(standard.timesteps) timesteps, betas from \(standard.betaStart) to \(standard.betaEnd), loss \(standard.loss.rawValue)"))
      """)
  private static let standard = DDPMConfiguration()

  @Option(help: "fashion-mnist, shapes, cifar10:FOLDER, or a folder of PNG and JPEG pictures.")
  var data: String?
  @OptionGroup var training: TrainingArguments
  @Option(help: "Height and width in pixels; pictures are resized and cropped.") var imageSize: Int?
  @Option(help: "What the network predicts.") var prediction: Prediction?
  @Option(help: "The variance of the DDPM sampler.") var variance: DDPMSampler.Variance?
  @Option(help: "Timesteps of the diffusion process.") var timesteps: Int?
  @Option(help: "The noise schedule.") var schedule: NoiseSchedule.Kind?
  @Option(help: "The schedule's first beta.") var betaStart: Double?
  @Option(help: "The schedule's last beta.") var betaEnd: Double?
  @Option(help: "The distance between prediction and target.") var loss: TrainingLoss.Distance?
  @Option(help: "gamma of the min-SNR loss weighting; 5 is usual.") var minSnrGamma: Double?
  @Flag(inversion: .prefixedNo, help: "Mirror pictures at random.") var flip: Bool?
  @Option(help: "Steps between sample pictures; 0: none.") var sampleEvery: Int?
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if training.isFromNothing, data == nil {
      throw ValidationError(
        "--data is missing: fashion-mnist, shapes, cifar10:FOLDER or a folder of pictures.")
    }
  }

  func run() throws {
    try training.train(DDPMTask.self, try resolved(), outputOptions) { trainer in
      let data = trainer.task.dataset
      return "\(data.count) pictures of \(data.size) x \(data.size) x \(data.channels)"
    }
  }

  private func resolved() throws -> DDPMConfiguration {
    var c: DDPMConfiguration = try training.configuration()
    func set<T>(_ path: WritableKeyPath<DDPMConfiguration, T>, _ value: T?) {
      if let value { c[keyPath: path] = value }
    }
    set(\.data, data)
    set(\.prediction, prediction)
    set(\.variance, variance)
    set(\.timesteps, timesteps)
    set(\.schedule, schedule)
    set(\.betaStart, betaStart)
    set(\.betaEnd, betaEnd)
    set(\.loss, loss)
    if let minSnrGamma { c.minSNRGamma = minSnrGamma }
    set(\.sampleEvery, sampleEvery)
    set(\.flip, flip)
    if let imageSize {
      c.imageSize = imageSize
      if !training.resume { c.model?.sample_size = ImageSize(imageSize) }
    }
    if let dropout = training.dropout { c.model?.dropout = dropout }
    return c
  }
}
