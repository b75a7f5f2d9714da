import KalsaeCheckpoints
import KalsaeDiffusion

extension DiffusionConfig {
  /// Reads `scheduler_config.json` of diffusers' DDPM and DDIM schedulers; absent keys keep diffusers' defaults.
  public init(_ c: ConfigJSON) throws(ConfigError) {
    self.init()
    timesteps = try c(Key.timesteps.rawValue, or: timesteps)
    betaStart = try c(Key.betaStart.rawValue, or: betaStart)
    betaEnd = try c(Key.betaEnd.rawValue, or: betaEnd)
    clipSample = try c(Key.clipSample.rawValue, or: clipSample)
    clipSampleRange = try c(Key.clipSampleRange.rawValue, or: clipSampleRange)
    stepsOffset = try c(Key.stepsOffset.rawValue, or: stepsOffset)
    setAlphaToOne = try c(Key.setAlphaToOne.rawValue, or: setAlphaToOne)
    schedule = try Self.option(c, .schedule, or: schedule)
    prediction = try Self.option(c, .prediction, or: prediction)
    variance = try Self.option(c, .variance, or: variance)
    spacing = try Self.option(c, .spacing, or: spacing)
    // Features of diffusers that change the samples must be off; what they would be set to does not matter then.
    for key in ["thresholding", "rescale_betas_zero_snr"] where try c(key, or: false) {
      throw c.invalid(key, "is not supported: only false")
    }
    if let _: [Double] = try c("trained_betas", or: nil) {
      throw c.invalid("trained_betas", "is not supported: name a beta_schedule")
    }
    let unused: Set = ["dynamic_thresholding_ratio", "sample_max_value"]
    try c.finish(ignoring: unused.union(c.object.keys.filter { $0.hasPrefix("_") }))
    do { try validate() } catch { throw c.invalid("scheduler", error.description) }
  }

  private static func option<Option: DiffusersNamed>(
    _ c: ConfigJSON, _ key: Key, or standard: Option
  ) throws(ConfigError) -> Option {
    guard let name: String = try c(key.rawValue, or: nil) else { return standard }
    guard let option = Option(diffusersName: name) else {
      let known = Option.allCases.compactMap(\.diffusersName).joined(separator: ", ")
      throw c.invalid(key.rawValue, "is \"\(name)\"; supported: \(known)")
    }
    return option
  }

  /// `scheduler_config.json` of diffusers' scheduler for `sampler`.
  ///
  /// Throws for options that diffusers does not have.
  public func json(for sampler: SamplerKind) throws(DiffusionError) -> JSONObject {
    func name(_ option: some DiffusersNamed, _ key: Key) throws(DiffusionError) -> JSON {
      guard let name = option.diffusersName else {
        throw DiffusionError(
          "diffusers has no \(key.rawValue) \"\(option.rawValue)\": this model cannot be exported")
      }
      return .string(name)
    }
    var object: JSONObject = [
      "_class_name": sampler == .ddpm ? "DDPMScheduler" : "DDIMScheduler",
      Key.timesteps.rawValue: .integer(timesteps),
      Key.schedule.rawValue: try name(schedule, .schedule),
      Key.betaStart.rawValue: .double(betaStart),
      Key.betaEnd.rawValue: .double(betaEnd),
      Key.prediction.rawValue: try name(prediction, .prediction),
      Key.clipSample.rawValue: .bool(clipSample),
      Key.clipSampleRange.rawValue: .double(clipSampleRange),
      Key.spacing.rawValue: try name(spacing, .spacing),
      Key.stepsOffset.rawValue: .integer(stepsOffset),
    ]
    switch sampler {
    case .ddpm: object[Key.variance.rawValue] = try name(variance, .variance)
    case .ddim: object[Key.setAlphaToOne.rawValue] = .bool(setAlphaToOne)
    }
    return object
  }
}
