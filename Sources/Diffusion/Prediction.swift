/// What the network predicts. Raw values are the names on the command line.
///
/// Each target is a linear combination of data and noise, and so is `x_t = alpha_t x_0 + sigma_t eps`: the
/// network's target and, solving the two equations, x_0 and eps from its output all follow from one table.
public enum Prediction: String, Sendable, CaseIterable, DiffusersNamed {
  /// The noise (arXiv 2006.11239, section 3.2).
  case epsilon
  /// The data.
  case x0
  /// v = alpha_t eps - sigma_t x_0 (arXiv 2202.00512, section 4).
  case v
  /// The mean of q(x_t-1 | x_t, x_0), DDPM's "mu" parameterisation (arXiv 2006.11239, eq. 7 and 8).
  case previous

  public var diffusersName: String? {
    switch self {
    case .epsilon: "epsilon"
    case .x0: "sample"
    case .v: "v_prediction"
    case .previous: nil
    }
  }

  /// `target = x0 x_0 + eps eps`.
  public struct Target: Sendable, Hashable { public let x0: Double, eps: Double }

  /// `estimate = x x_t + output output`.
  public struct Estimate: Sendable, Hashable { public let x: Double, output: Double }

  /// What the network should answer at timestep t.
  public func target(_ schedule: NoiseSchedule, _ t: Int) -> Target {
    let alpha = schedule.alpha[t], sigma = schedule.sigma[t]
    switch self {
    case .epsilon: return Target(x0: 0, eps: 1)
    case .x0: return Target(x0: 1, eps: 0)
    case .v: return Target(x0: -sigma, eps: alpha)
    case .previous:
      let posterior = schedule.posterior(t)
      return Target(
        x0: posterior.x0Coefficient + posterior.xtCoefficient * alpha, eps: posterior.xtCoefficient * sigma)
    }
  }

  /// x_0 and eps from x_t and the network's output at timestep t: the solution of
  /// `x_t = alpha_t x_0 + sigma_t eps` and `output = a x_0 + b eps`.
  public func estimates(_ schedule: NoiseSchedule, _ t: Int) -> (x0: Estimate, eps: Estimate) {
    let alpha = schedule.alpha[t], sigma = schedule.sigma[t], target = target(schedule, t)
    let determinant = alpha * target.eps - sigma * target.x0
    return (
      x0: Estimate(x: target.eps / determinant, output: -sigma / determinant),
      eps: Estimate(x: -target.x0 / determinant, output: alpha / determinant)
    )
  }
}
