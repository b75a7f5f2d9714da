import KalsaeTensors

/// Where a sampler's noise comes from: a tensor for each position in the path.
public struct NoiseSource {
  private let draw: (_ shape: Shape, _ position: Int) -> Tensor

  /// Noise by a rule of one's own, such as a recording. Position -1 is the starting noise.
  public init(_ draw: @escaping (_ shape: Shape, _ position: Int) -> Tensor) { self.draw = draw }

  /// Standard normal noise of `seed` for a batch whose first sample has number `first`.
  ///
  /// Sample i takes the same numbers in whatever batch it is drawn.
  public init(seed: UInt64, first: Int = 0) {
    self.init { shape, position in
      let sample = Shape(Array(shape.dimensions.dropFirst()))
      return stacked(
        (0..<shape[0]).map {
          .normal(sample, key: RandomKey(seed: seed, step: UInt64(first + $0) << 32 | UInt64(position + 1)))
        })
    }
  }

  /// The starting noise x_T.
  public func prior(_ shape: Shape) -> Tensor { draw(shape, -1) }

  public func callAsFunction(_ shape: Shape, at position: Int) -> Tensor {
    let noise = draw(shape, position)
    require(noise.shape == shape, "NoiseSource: noise \(noise.shape) for a sample of \(shape)")
    return noise
  }
}

/// The way from noise to data, one state for each step.
///
/// Nothing is computed here: evaluate each state's `x` (and `x0` for a preview) before asking for the next.
/// Stop iterating to cancel.
///
///     for state in SamplingLoop(sampler, path, denoiser, from: noise.prior(shape), noise: noise) {
///       evaluate(state.x)
///     }
public struct SamplingLoop: Sequence {
  public struct State {
    /// The step just taken, counted along the whole path.
    public let position: Int
    /// The timestep that the network saw.
    public let timestep: Int
    /// x after the step; after the last one, the sample.
    public let x: Tensor
    /// The estimate of x_0 that the step used.
    public let x0: Tensor
  }

  private let sampler: any Sampler
  private let path: SamplingPath
  private let denoiser: Denoiser
  private let start: Tensor
  private let first: Int
  private let noise: NoiseSource

  /// Starts with `x` at the level of `path[first]`: noise at 0, a diffused picture further down.
  public init(
    _ sampler: any Sampler, _ path: SamplingPath, _ denoiser: Denoiser, from x: Tensor, at first: Int = 0,
    noise: NoiseSource
  ) {
    require(path.indices.contains(first), "SamplingLoop: position \(first) of \(path.count)")
    self.sampler = sampler
    self.path = path
    self.denoiser = denoiser
    self.start = x
    self.first = first
    self.noise = noise
  }

  /// The number of steps to take.
  public var underestimatedCount: Int { path.count - first }

  public func makeIterator() -> AnyIterator<State> {
    var x = start, position = first
    return AnyIterator {
      guard position < path.count else { return nil }
      let transition = path[position], shape = x.shape
      let next = sampler.step(x, transition, denoiser) { noise(shape, at: position) }
      defer { position += 1 }
      x = next.x
      return State(position: position, timestep: transition.timestep, x: next.x, x0: next.x0)
    }
  }
}
