import KalsaeTensors

/// The training objective: Algorithm 1 of DDPM (arXiv 2006.11239), with timesteps drawn uniformly (eq. 14).
public struct TrainingLoss: Sendable, Hashable {
  /// The distance between output and target. Raw values are the names on the command line.
  public enum Distance: String, Sendable, CaseIterable {
    case mse, l1
    /// d^2 / 2 up to d = 1, then d - 1/2.
    case huber
  }

  public let schedule: NoiseSchedule
  public let prediction: Prediction
  public let distance: Distance
  /// gamma of the min-SNR weighting (arXiv 2303.09556, section 3.4; the paper uses 5); nil weights all alike.
  public let minSNRGamma: Double?
  /// The weight of each timestep: min(SNR, gamma) in terms of x_0 (arXiv 2303.09556, section 3.4).
  ///
  /// An error of the output is one of x_0 times d x_0 / d output, which gives min(SNR, gamma) / SNR for epsilon
  /// and min(SNR, gamma) / (SNR + 1) for v.
  public let weight: [Double]?
  private let weightTable: TimestepTable?
  /// How much of x_0 and of eps the network should answer.
  private let dataTable: TimestepTable, noiseTable: TimestepTable

  public init(
    _ schedule: NoiseSchedule, _ prediction: Prediction = .epsilon, distance: Distance = .mse,
    minSNRGamma: Double? = nil
  ) {
    require(minSNRGamma.map { $0 > 0 } ?? true, "TrainingLoss: the min-SNR gamma must be positive")
    self.schedule = schedule
    self.prediction = prediction
    self.distance = distance
    self.minSNRGamma = minSNRGamma
    weight = minSNRGamma.map { gamma in
      schedule.snr.enumerated().map { t, snr in
        let slope = prediction.estimates(schedule, t).x0.output
        return min(snr, gamma) * slope * slope
      }
    }
    weightTable = weight.map(TimestepTable.init)
    let targets = (0..<schedule.timesteps).map { prediction.target(schedule, $0) }
    (dataTable, noiseTable) = (TimestepTable(targets.map(\.x0)), TimestepTable(targets.map(\.eps)))
  }

  /// The loss, a float32 scalar, of `network` on data x0 (N, ...); `key` decides timesteps and noise.
  public func callAsFunction(_ x0: Tensor, key: RandomKey, network: Denoiser.Network) -> Tensor {
    // Dropout counts its streams from 0; these come from the other end, in case it runs under the same key.
    let uniform = Tensor.uniform([x0.shape[0]], key: key, stream: .max)
    let last = Double(schedule.timesteps - 1)
    let timesteps = minimum(floor(uniform * (last + 1)), last).cast(to: .int32)
    let eps = Tensor.normal(x0.shape, key: key, stream: .max - 1)
    return self(x0, eps: eps, timesteps: timesteps, network: network)
  }

  /// The loss for given noise, of x0's shape, and timesteps int32 (N).
  public func callAsFunction(_ x0: Tensor, eps: Tensor, timesteps: Tensor, network: Denoiser.Network)
    -> Tensor
  {
    let x0 = x0.cast(to: .float32)
    let output = network(schedule.diffuse(x0, eps, to: timesteps), timesteps).cast(to: .float32)
    require(
      output.shape == x0.shape, "TrainingLoss: the network turned \(x0.shape) into \(output.shape)")
    let samples = measure(output - target(x0, eps, timesteps)).mean(Array(1..<x0.rank))  // (N)
    return (weightTable.map { samples * $0(timesteps, like: samples) } ?? samples).mean()
  }

  /// What the network should answer: x0 and eps (N, ...), timesteps int32 (N) -> (N, ...).
  public func target(_ x0: Tensor, _ eps: Tensor, _ timesteps: Tensor) -> Tensor {
    x0 * dataTable(timesteps, like: x0) + eps * noiseTable(timesteps, like: eps)
  }

  private func measure(_ difference: Tensor) -> Tensor {
    switch distance {
    case .mse: return square(difference)
    case .l1: return abs(difference)
    case .huber:
      let d = abs(difference), inner = minimum(d, 1)
      return inner * (d - inner * 0.5)
    }
  }
}
