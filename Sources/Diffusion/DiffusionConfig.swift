import KalsaeTensors

/// The diffusion process of a model: what diffusers keeps in `scheduler_config.json`, with its defaults.
public struct DiffusionConfig: Sendable, Hashable {
  /// The number of training timesteps.
  public var timesteps = 1000
  public var schedule = NoiseSchedule.Kind.linear
  public var betaStart = 1e-4, betaEnd = 0.02
  public var prediction = Prediction.epsilon
  /// Of the DDPM sampler.
  public var variance = DDPMSampler.Variance.fixedSmall
  /// Whether samplers keep x_0 in [-clipSampleRange, clipSampleRange].
  public var clipSample = true, clipSampleRange = 1.0
  public var spacing = TimestepSpacing.leading
  public var stepsOffset = 0
  /// Whether DDIM ends at the data (alphaBar 1) instead of at timestep 0's level.
  public var setAlphaToOne = true

  public init() {}

  /// The keys of `scheduler_config.json`.
  public enum Key: String, Sendable, CaseIterable {
    case timesteps = "num_train_timesteps"
    case schedule = "beta_schedule"
    case betaStart = "beta_start"
    case betaEnd = "beta_end"
    case prediction = "prediction_type"
    case variance = "variance_type"
    case clipSample = "clip_sample"
    case clipSampleRange = "clip_sample_range"
    case spacing = "timestep_spacing"
    case stepsOffset = "steps_offset"
    case setAlphaToOne = "set_alpha_to_one"
  }

  /// Throws what no schedule or sampler can be built from.
  public func validate() throws(DiffusionError) {
    guard timesteps >= 1 else {
      throw DiffusionError("\(Key.timesteps.rawValue) is \(timesteps): choose at least 1, usually 1000")
    }
    guard betaStart > 0, betaStart < 1, betaEnd > 0, betaEnd < 1, betaStart <= betaEnd else {
      throw DiffusionError(
        "\(Key.betaStart.rawValue) \(betaStart) and \(Key.betaEnd.rawValue) \(betaEnd): "
          + "choose 0 < start <= end < 1, usually 0.0001 and 0.02")
    }
    guard !clipSample || clipSampleRange > 0 else {
      throw DiffusionError("\(Key.clipSampleRange.rawValue) is \(clipSampleRange): choose a positive number")
    }
    guard stepsOffset >= 0 else {
      throw DiffusionError("\(Key.stepsOffset.rawValue) is \(stepsOffset): choose 0 or more")
    }
  }

  public var noiseSchedule: NoiseSchedule {
    NoiseSchedule(schedule, timesteps: timesteps, betaStart: betaStart, betaEnd: betaEnd)
  }

  /// The denoiser of a network trained under this configuration, with x_0 clipped if it says so.
  public func denoiser(_ network: @escaping Denoiser.Network) -> Denoiser {
    let denoiser = Denoiser(noiseSchedule, prediction, network: network)
    return clipSample ? denoiser.clipped(to: clipSampleRange) : denoiser
  }

  /// The loop that draws samples from `x` (N, ...), noise of the first level, in `steps` steps.
  ///
  /// `eta` is DDIM's. Throws if there are more steps than timesteps, or eta is outside [0, 1].
  public func samplingLoop(
    _ kind: SamplerKind, steps: Int, eta: Double = 0, from x: Tensor, noise: NoiseSource,
    network: @escaping Denoiser.Network
  ) throws(DiffusionError) -> SamplingLoop {
    guard DDIMSampler.etaRange.contains(eta) else {
      throw DiffusionError("eta \(eta): choose a number from 0 (deterministic) to 1 (as in DDPM)")
    }
    let schedule = noiseSchedule
    let timesteps = try spacing.timesteps(steps, of: timesteps, stepsOffset: stepsOffset)
    switch kind {
    case .ddpm:
      let path = SamplingPath(schedule, timesteps: timesteps)
      return SamplingLoop(DDPMSampler(variance: variance), path, denoiser(network), from: x, noise: noise)
    case .ddim:
      // As diffusers' DDIM, which goes from t to t - T / steps whatever the spacing, so that a model folder gives
      // the same samples here and there. With the leading spacing that is the next timestep of the list.
      let path = SamplingPath(
        schedule, timesteps: timesteps, stride: self.timesteps / steps,
        finalAlphaBar: setAlphaToOne ? 1 : schedule.alphaBar[0])
      return SamplingLoop(DDIMSampler(eta: eta), path, denoiser(network), from: x, noise: noise)
    }
  }
}

/// The samplers. Raw values are the names on the command line.
public enum SamplerKind: String, Sendable, CaseIterable {
  case ddpm, ddim
}

/// A configuration or a request that makes no sense.
public struct DiffusionError: Error, CustomStringConvertible, Hashable {
  public let description: String
  public init(_ description: String) { self.description = description }
}
