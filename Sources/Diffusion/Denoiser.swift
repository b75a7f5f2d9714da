import KalsaeTensors

/// Estimates the data and the noise in x_t: the only thing that a sampler knows about a model.
public struct Denoiser {
  /// A network: x (N, ...) and timesteps int32 (N) to a tensor of x's shape.
  public typealias Network = (_ x: Tensor, _ timesteps: Tensor) -> Tensor

  /// The estimates of x_0 and eps.
  public struct Output {
    public var x0: Tensor, eps: Tensor
    public init(x0: Tensor, eps: Tensor) {
      self.x0 = x0
      self.eps = eps
    }
  }

  private let body: (_ x: Tensor, _ timestep: Int) -> Output

  /// A denoiser of any kind, such as one that combines others.
  public init(_ body: @escaping (_ x: Tensor, _ timestep: Int) -> Output) { self.body = body }

  /// The denoiser of a network that was trained to answer `prediction`.
  public init(_ schedule: NoiseSchedule, _ prediction: Prediction, network: @escaping Network) {
    self.init { x, t in
      let timesteps = Tensor([Int32](repeating: Int32(t), count: x.shape[0]))
      let output = network(x, timesteps).cast(to: x.dtype)
      require(
        output.shape == x.shape, "Denoiser: the network turned \(x.shape) into \(output.shape)")
      let (x0, eps) = prediction.estimates(schedule, t)
      return Output(x0: x * x0.x + output * x0.output, eps: x * eps.x + output * eps.output)
    }
  }

  /// The estimates from `x` at `timestep`.
  public func callAsFunction(_ x: Tensor, at timestep: Int) -> Output { body(x, timestep) }

  /// With x_0 kept in [-range, range]; eps stays as it was (see `DDIMSampler.useClippedModelOutput`).
  public func clipped(to range: Double) -> Denoiser {
    Denoiser { x, t in
      var output = self(x, at: t)
      output.x0 = clamp(output.x0, -range, range)
      return output
    }
  }
}
