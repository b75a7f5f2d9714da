import KalsaeCheckpoints
import KalsaeDiffusion
import KalsaeModels
import KalsaeTensors

/// Everything that is needed to repeat a training run: what `config.json` of a run folder holds.
///
/// The keys are the command line's options in snake_case, and `model` with the keys of `UNet2DModel`.
public struct RunConfiguration: Sendable, Equatable {
  public var data = "fashion-mnist"
  /// Height and width of the pictures; the data's own size when nil.
  public var imageSize: Int? = nil
  public var steps = 100_000
  public var batchSize = 32
  public var learningRate = 1e-3
  /// Steps of linear warm-up.
  public var warmup = 200
  public var precision = Precision.float32
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

  public enum Precision: String, Sendable, CaseIterable {
    case float32, bfloat16

    /// What `Autocast` takes.
    public var autocast: DType? { self == .bfloat16 ? .bfloat16 : nil }
  }

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

extension RunConfiguration {
  /// Reads a run's `config.json`; absent keys keep `standard`'s values, unknown ones are an error.
  public init(_ c: ConfigJSON, over standard: RunConfiguration = .init()) throws(ConfigError) {
    self = standard
    data = try c("data", or: data)
    imageSize = try c("image_size", or: imageSize)
    steps = try c("steps", or: steps)
    batchSize = try c("batch_size", or: batchSize)
    learningRate = try c("learning_rate", or: learningRate)
    warmup = try c("warmup", or: warmup)
    precision = try c.option("precision", or: precision)
    prediction = try c.option("prediction", or: prediction)
    variance = try c.option("variance", or: variance)
    timesteps = try c("timesteps", or: timesteps)
    schedule = try c.option("schedule", or: schedule)
    betaStart = try c("beta_start", or: betaStart)
    betaEnd = try c("beta_end", or: betaEnd)
    loss = try c.option("loss", or: loss)
    minSNRGamma = try c("min_snr_gamma", or: minSNRGamma)
    ema = try c("ema", or: ema)
    gradientClip = try c("gradient_clip", or: gradientClip)
    dropout = try c("dropout", or: dropout)
    flip = try c("flip", or: flip)
    if let seed: Int = try c("seed", or: nil) { self.seed = UInt64(bitPattern: Int64(seed)) }
    threads = try c("threads", or: threads)
    checkpointEvery = try c("checkpoint_every", or: checkpointEvery)
    keep = try c("keep", or: keep)
    sampleEvery = try c("sample_every", or: sampleEvery)
    if let nested = try c.nested("model") { model = try UNet2DConfig(nested) }
    try c.finish()
    if let problem { throw c.invalid(problem.key, problem.reason) }
  }

  /// The file's content, keys in the order of the command line's help.
  public var json: JSONObject {
    var object: JSONObject = [
      "data": .string(data), "image_size": imageSize.json, "steps": .integer(steps),
      "batch_size": .integer(batchSize), "learning_rate": .double(learningRate), "warmup": .integer(warmup),
      "precision": .string(precision.rawValue), "prediction": .string(prediction.rawValue),
      "variance": .string(variance.rawValue), "timesteps": .integer(timesteps),
      "schedule": .string(schedule.rawValue), "beta_start": .double(betaStart), "beta_end": .double(betaEnd),
      "loss": .string(loss.rawValue), "min_snr_gamma": minSNRGamma.json, "ema": .double(ema),
      "gradient_clip": .double(gradientClip), "dropout": .double(dropout), "flip": .bool(flip),
      "seed": .integer(Int(Int64(bitPattern: seed))), "threads": threads.json,
      "checkpoint_every": .integer(checkpointEvery), "keep": .integer(keep),
      "sample_every": .integer(sampleEvery),
    ]
    if let model { object["model"] = .object(model.json) }
    return object
  }

  /// The first value without meaning, or contradiction: the key, and what it should be.
  public var problem: (key: String, reason: String)? {
    let atLeastOne = [
      ("steps", steps), ("batch_size", batchSize), ("timesteps", timesteps),
      ("checkpoint_every", checkpointEvery),
      ("keep", keep), ("threads", threads ?? 1),
    ]
    for (key, value) in atLeastOne where value < 1 { return (key, "must be at least 1, not \(value)") }
    if warmup < 0 { return ("warmup", "must not be negative, but is \(warmup)") }
    if sampleEvery < 0 { return ("sample_every", "must be 0 (never) or more, not \(sampleEvery)") }
    if !(learningRate > 0 && learningRate.isFinite) {
      return ("learning_rate", "must be positive, not \(learningRate)")
    }
    if !(gradientClip > 0) { return ("gradient_clip", "must be positive, not \(gradientClip)") }
    if !(0..<1).contains(ema) { return ("ema", "must be in [0, 1), not \(ema)") }
    if !(0..<1).contains(dropout) { return ("dropout", "must be in [0, 1), not \(dropout)") }
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

  /// The model that suits pictures of this size when none is configured: about 2.7 million parameters.
  public static func standardModel(size: Int, channels: Int, dropout: Double) -> UNet2DConfig {
    var model = UNet2DConfig()
    model.sample_size = ImageSize(size)
    (model.in_channels, model.out_channels) = (channels, channels)
    model.block_out_channels = [32, 64, 128]
    model.layers_per_block = 1
    model.down_block_types = [.plain, .plain, .attention]
    model.up_block_types = [.attention, .plain, .plain]
    model.attention_head_dim = nil
    model.norm_num_groups = 8
    model.dropout = dropout
    // Fewer levels where the size does not halve so often.
    while size % model.sizeMultiple != 0, model.block_out_channels.count > 1 {
      model.block_out_channels.removeFirst()
      model.down_block_types.removeFirst()
      model.up_block_types.removeLast()
    }
    return model
  }
}

extension ConfigJSON {
  /// One of an enumeration's names.
  func option<Option: RawRepresentable<String> & CaseIterable>(
    _ key: String, or standard: Option
  ) throws(ConfigError) -> Option {
    guard let name: String = try self(key, or: nil) else { return standard }
    guard let option = Option(rawValue: name) else {
      throw invalid(key, "is \"\(name)\"; choose \(Option.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return option
  }
}
