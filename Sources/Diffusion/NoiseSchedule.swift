#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif
import KalsaeTensors

/// How much of the data and of the noise is left at each timestep: `x_t = alpha_t x_0 + sigma_t eps`.
///
/// Index t runs over 0 ..< timesteps, as networks receive it: index 0 is the t = 1 of the papers. DDPM's own
/// alpha_t, one step's factor, is `1 - beta[t]`; the name `alpha` stands for sqrt(alphaBar). All in Double.
public struct NoiseSchedule: Sendable, Hashable {
  /// Variance that one step adds (arXiv 2006.11239, eq. 2).
  public let beta: [Double]
  /// prod_{s <= t} (1 - beta_s) (eq. 4).
  public let alphaBar: [Double]
  /// Scale of the data, sqrt(alphaBar).
  public let alpha: [Double]
  /// Standard deviation of the noise, sqrt(1 - alphaBar).
  public let sigma: [Double]
  let alphaTable: TimestepTable, sigmaTable: TimestepTable

  /// The schedule of these variances, each in (0, 1).
  public init(beta: [Double]) {
    require(!beta.isEmpty, "NoiseSchedule: no timesteps")
    require(beta.allSatisfy { $0 > 0 && $0 < 1 }, "NoiseSchedule: every beta must lie in (0, 1)")
    self.beta = beta
    var product = 1.0
    alphaBar = beta.map { beta in
      product *= 1 - beta
      return product
    }
    alpha = alphaBar.map { $0.squareRoot() }
    sigma = alphaBar.map { (1 - $0).squareRoot() }
    (alphaTable, sigmaTable) = (TimestepTable(alpha), TimestepTable(sigma))
  }

  /// The number of timesteps T.
  public var timesteps: Int { beta.count }

  /// alphaBar one step nearer to the data; 1 at the data itself.
  public func alphaBar(before t: Int) -> Double { t > 0 ? alphaBar[t - 1] : 1 }

  /// Signal-to-noise ratio, alpha^2 / sigma^2.
  public var snr: [Double] { alphaBar.map { $0 / (1 - $0) } }

  /// Half the logarithm of the signal-to-noise ratio, log(alpha / sigma) (arXiv 2206.00927, section 2).
  public var lambda: [Double] { snr.map { 0.5 * log($0) } }
}

extension NoiseSchedule {
  /// The families of schedules; raw values are the names on the command line.
  public enum Kind: String, Sendable, CaseIterable, DiffusersNamed {
    case linear
    case scaledLinear = "scaled-linear"
    case cosine, sigmoid

    public var diffusersName: String? {
      switch self {
      case .linear: "linear"
      case .scaledLinear: "scaled_linear"
      case .cosine: "squaredcos_cap_v2"
      case .sigmoid: "sigmoid"
      }
    }
  }

  /// A schedule of `kind`; cosine has no use for the two betas.
  public init(_ kind: Kind, timesteps: Int = 1000, betaStart: Double = 1e-4, betaEnd: Double = 0.02) {
    switch kind {
    case .linear: self = .linear(timesteps: timesteps, betaStart: betaStart, betaEnd: betaEnd)
    case .scaledLinear: self = .scaledLinear(timesteps: timesteps, betaStart: betaStart, betaEnd: betaEnd)
    case .cosine: self = .cosine(timesteps: timesteps)
    case .sigmoid: self = .sigmoid(timesteps: timesteps, betaStart: betaStart, betaEnd: betaEnd)
    }
  }

  /// beta from `betaStart` to `betaEnd` in equal steps (arXiv 2006.11239, section 4).
  public static func linear(timesteps: Int = 1000, betaStart: Double = 1e-4, betaEnd: Double = 0.02) -> Self {
    Self(beta: linspace(betaStart, betaEnd, timesteps))
  }

  /// sqrt(beta) in equal steps, as latent diffusion models use it (arXiv 2112.10752).
  public static func scaledLinear(timesteps: Int = 1000, betaStart: Double = 1e-4, betaEnd: Double = 0.02)
    -> Self
  {
    Self(beta: linspace(betaStart.squareRoot(), betaEnd.squareRoot(), timesteps).map { $0 * $0 })
  }

  /// alphaBar = f(t) / f(0), f(t) = cos^2((t / T + 0.008) / 1.008 pi / 2) (arXiv 2102.09672, eq. 17), with
  /// every beta at most `maxBeta`.
  public static func cosine(timesteps: Int = 1000, maxBeta: Double = 0.999) -> Self {
    func f(_ t: Int) -> Double {
      let c = cos((Double(t) / Double(timesteps) + 0.008) / 1.008 * .pi / 2)
      return c * c
    }
    return Self(beta: (0..<timesteps).map { min(1 - f($0 + 1) / f($0), maxBeta) })
  }

  /// beta along a logistic curve over [-6, 6], from GeoDiff (arXiv 2203.02923).
  public static func sigmoid(timesteps: Int = 1000, betaStart: Double = 1e-4, betaEnd: Double = 0.02) -> Self
  {
    Self(beta: linspace(-6, 6, timesteps).map { betaStart + (betaEnd - betaStart) / (1 + exp(-$0)) })
  }
}

/// `count` numbers from `start` to `end` in equal steps; only `start` if `count` is 1.
func linspace(_ start: Double, _ end: Double, _ count: Int) -> [Double] {
  let step = (end - start) / Double(max(count - 1, 1))
  return (0..<count).map { start + Double($0) * step }
}
