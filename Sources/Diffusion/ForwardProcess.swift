import KalsaeTensors

/// The forward process: from data to noise. Equations are those of DDPM (arXiv 2006.11239).
extension NoiseSchedule {
  /// A sample of q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I) (eq. 4) at one timestep; `eps` ~ N(0, I).
  public func diffuse(_ x0: Tensor, _ eps: Tensor, to t: Int) -> Tensor {
    x0 * alpha[t] + eps * sigma[t]
  }

  /// The same with a timestep for each sample: x0 and eps (N, ...), timesteps int32 (N).
  public func diffuse(_ x0: Tensor, _ eps: Tensor, to timesteps: Tensor) -> Tensor {
    x0 * alphaTable(timesteps, like: x0) + eps * sigmaTable(timesteps, like: x0)
  }

  /// One step of the Markov chain: a sample of q(x_t | x_t-1) = N(sqrt(1 - beta_t) x_t-1, beta_t I) (eq. 2).
  public func diffuseStep(_ xPrevious: Tensor, _ eps: Tensor, to t: Int) -> Tensor {
    xPrevious * (1 - beta[t]).squareRoot() + eps * beta[t].squareRoot()
  }

  /// q(x_t-1 | x_t, x_0) between neighbouring timesteps.
  public func posterior(_ t: Int) -> Posterior {
    Posterior(alphaBar: alphaBar[t], alphaBarNext: alphaBar(before: t))
  }
}

/// q(x_s | x_t, x_0) = N(x0Coefficient x_0 + xtCoefficient x_t, variance I) for s nearer to the data than t
/// (arXiv 2006.11239, eq. 6 and 7); s = t - 1 there, any earlier level when steps are skipped.
public struct Posterior: Sendable, Hashable {
  /// Variance that the chain adds from s to t, beta_t if s = t - 1.
  public let beta: Double
  public let x0Coefficient: Double, xtCoefficient: Double
  /// The paper's beta tilde.
  public let variance: Double

  /// From alphaBar at t and, nearer to the data, at s.
  public init(alphaBar: Double, alphaBarNext: Double) {
    let alpha = alphaBar / alphaBarNext
    beta = 1 - alpha
    x0Coefficient = alphaBarNext.squareRoot() * beta / (1 - alphaBar)
    xtCoefficient = alpha.squareRoot() * (1 - alphaBarNext) / (1 - alphaBar)
    variance = (1 - alphaBarNext) / (1 - alphaBar) * beta
  }

  /// mu tilde (eq. 7).
  public func mean(x0: Tensor, xt: Tensor) -> Tensor { x0 * x0Coefficient + xt * xtCoefficient }
}

/// A number for each timestep, as an input of graphs: no part of a plan, and the same tensor in every graph.
struct TimestepTable: Sendable, Hashable {
  private let values: [Double]
  private let tensor: Tensor

  init(_ values: [Double]) { (self.values, tensor) = (values, Tensor(values.map(Float.init))) }

  /// One value for each sample: timesteps int32 (N) -> (N, 1, ...) with the rank and type of `x`.
  func callAsFunction(_ timesteps: Tensor, like x: Tensor) -> Tensor {
    require(
      timesteps.shape == [x.shape[0]], "timesteps \(timesteps.shape) do not fit samples of shape \(x.shape)")
    let ones = [Int](repeating: 1, count: x.rank - 1)
    return tensor.gathered(timesteps).reshaped(Shape([x.shape[0]] + ones)).cast(to: x.dtype)
  }

  static func == (a: TimestepTable, b: TimestepTable) -> Bool { a.values == b.values }
  func hash(into hasher: inout Hasher) { hasher.combine(values) }
}
