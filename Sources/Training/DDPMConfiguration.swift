import KalsaeCheckpoints
import KalsaeDiffusion
import KalsaeModels
import KalsaeTensors

/// A run that trains a diffusion model on pictures; `model` has the keys of `UNet2DModel`.
public struct DDPMConfiguration: TrainingConfiguration {
  public static let task = "ddpm"

  public var data = "fashion-mnist"
  /// Height and width of the pictures; the data's own size when nil.
  public var imageSize: Int? = nil
  public var steps = 100_000
  public var batchSize = 32
  public var learningRate = 1e-3
  /// Steps of linear warm-up.
  public var warmup = 200
  public var precision = Precision.float32
  public var recompute = false
  public var prediction = Prediction.v
  public var variance = DDPMSampler.Variance.fixedSmall
  public var timesteps = 1000
  public var schedule = NoiseSchedule.Kind.cosine
  public var betaStart = 1e-4, betaEnd = 0.02
  public var loss = TrainingLoss.Distance.mse
  /// gamma of the min-SNR weighting; nil weights all timesteps alike.
  public var minSNRGamma: Double? = nil
  /// The largest decay of the averaged weights.
  public var ema = 0.9995
  /// The largest norm of the gradient.
  public var gradientClip = 1.0
  public var dropout = 0.0
  /// Whether pictures are mirrored at random.
  public var flip = false
  public var seed: UInt64 = 0
  /// All processors when nil; results repeat bit for bit at a fixed number.
  public var threads: Int? = nil
  public var checkpointEvery = 1000
  /// How many checkpoints are kept.
  public var keep = 3
  /// Steps between sample pictures; 0 draws none.
  public var sampleEvery = 1000
  public var model: UNet2DConfig? = nil

  public init() {}

  /// The diffusion process of this run.
  public var diffusion: DiffusionConfig {
    var config = DiffusionConfig()
    config.timesteps = timesteps
    config.schedule = schedule
    (config.betaStart, config.betaEnd) = (betaStart, betaEnd)
    config.prediction = prediction
    config.variance = variance
    return config
  }
}

extension DDPMConfiguration {
  public init(_ c: ConfigJSON, over standard: DDPMConfiguration = .init()) throws(ConfigError) {
    self = standard
    try readCommon(c)
    data = try c("data", or: data)
    imageSize = try c("image_size", or: imageSize)
    prediction = try c.option("prediction", or: prediction)
    variance = try c.option("variance", or: variance)
    timesteps = try c("timesteps", or: timesteps)
    schedule = try c.option("schedule", or: schedule)
    betaStart = try c("beta_start", or: betaStart)
    betaEnd = try c("beta_end", or: betaEnd)
    loss = try c.option("loss", or: loss)
    minSNRGamma = try c("min_snr_gamma", or: minSNRGamma)
    flip = try c("flip", or: flip)
    sampleEvery = try c("sample_every", or: sampleEvery)
    if let nested = try c.nested("model") { model = try UNet2DConfig(nested) }
    try c.finish()
    if let problem { throw c.invalid(problem.key, problem.reason) }
  }

  public var json: JSONObject {
    var object = commonJSON
    object["data"] = .string(data)
    object["image_size"] = imageSize.json
    object["prediction"] = .string(prediction.rawValue)
    object["variance"] = .string(variance.rawValue)
    object["timesteps"] = .integer(timesteps)
    object["schedule"] = .string(schedule.rawValue)
    object["beta_start"] = .double(betaStart)
    object["beta_end"] = .double(betaEnd)
    object["loss"] = .string(loss.rawValue)
    object["min_snr_gamma"] = minSNRGamma.json
    object["flip"] = .bool(flip)
    object["sample_every"] = .integer(sampleEvery)
    if let model { object["model"] = .object(model.json) }
    return object
  }

  public var problem: (key: String, reason: String)? {
    if let commonProblem { return commonProblem }
    if timesteps < 1 { return ("timesteps", "must be at least 1, not \(timesteps)") }
    if sampleEvery < 0 { return ("sample_every", "must be 0 (never) or more, not \(sampleEvery)") }
    if let gamma = minSNRGamma, !(gamma > 0) { return ("min_snr_gamma", "must be positive, not \(gamma)") }
    do { try diffusion.validate() } catch { return ("timesteps", error.description) }
    guard let model else { return nil }
    if let size = model.sample_size, let imageSize, size != ImageSize(imageSize) {
      return ("image_size", "is \(imageSize), but model.sample_size is \(size.rows) x \(size.columns)")
    }
    if model.dropout != dropout {
      return ("dropout", "is \(dropout), but model.dropout is \(model.dropout): give both the same value")
    }
    return nil
  }
}
