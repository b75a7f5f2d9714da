import KalsaeTensors

/// Ancestral sampling, Algorithm 2 of DDPM (arXiv 2006.11239), also with fewer steps than in training.
///
///     x_t-1 = mu(x_t, x_0) + sqrt(variance) z        mu: eq. 7
///
/// The mean comes from the estimate of x_0 after clipping; written with eps (eq. 11) it could not be clipped.
public struct DDPMSampler: Sampler, Hashable {
  /// The variance of p(x_t-1 | x_t), section 3.2. Raw values are the names on the command line.
  public enum Variance: String, Sendable, CaseIterable, DiffusersNamed {
    /// That of q(x_t-1 | x_t, x_0), beta tilde; optimal for data that is one point.
    case fixedSmall = "fixed-small"
    /// beta; optimal for data that is normal noise.
    case fixedLarge = "fixed-large"

    public var diffusersName: String? {
      switch self {
      case .fixedSmall: "fixed_small"
      case .fixedLarge: "fixed_large"
      }
    }
  }

  public let variance: Variance
  public init(variance: Variance = .fixedSmall) { self.variance = variance }

  public func step(_ x: Tensor, _ transition: Transition, _ denoise: Denoiser, noise: () -> Tensor)
    -> (x: Tensor, x0: Tensor)
  {
    let x0 = denoise(x, at: transition.timestep).x0
    let posterior = Posterior(alphaBar: transition.alphaBar, alphaBarNext: transition.alphaBarNext)
    // z = 0 in the step that reaches the data (line 3). A factor keeps the graph, and so the plan, the same.
    let variance: Double =
      switch (transition.alphaBarNext, variance) {
      case (1, _): 0
      case (_, .fixedSmall): posterior.variance
      case (_, .fixedLarge): posterior.beta
      }
    return (posterior.mean(x0: x0, xt: x) + noise() * variance.squareRoot(), x0)
  }
}
