import KalsaeTensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The learning rate as a function of the step: a linear warm-up from zero, then a decay.
public struct LearningRate: Sendable, Hashable {
  public enum Decay: Sendable, Hashable {
    case constant
    /// Straight to zero at step `total`.
    case linear(total: Int)
    /// Half a cosine, down to `minimum` at step `total` and constant from there (arXiv 1608.03983, equation 5,
    /// without restarts).
    case cosine(total: Int, minimum: Double = 0)
    /// peak sqrt(warmup / step), as of the original Transformer (Vaswani et al. 2017, equation 3).
    case inverseSquareRoot
  }

  /// The rate at the end of the warm-up.
  public var peak: Double
  /// Steps until the peak is reached.
  public var warmup: Int
  public var decay: Decay

  public init(peak: Double, warmup: Int = 0, decay: Decay = .constant) {
    require(warmup >= 0, "LearningRate: the warm-up must not be negative, not \(warmup)")
    (self.peak, self.warmup, self.decay) = (peak, warmup, decay)
  }

  /// The schedule of the original Transformer: width^-0.5 min(step^-0.5, step warmup^-1.5) (Vaswani et al. 2017,
  /// equation 3), times `scale`.
  ///
  /// The paper counts steps from 1; here step 0 has the rate 0, as at the start of every warm-up.
  public static func transformer(width: Int, warmup: Int = 4000, scale: Double = 1) -> LearningRate {
    require(width > 0 && warmup > 0, "LearningRate: width \(width) and warm-up \(warmup) must be positive")
    let peak = scale / (Double(width) * Double(warmup)).squareRoot()
    return LearningRate(peak: peak, warmup: warmup, decay: .inverseSquareRoot)
  }

  /// The rate of the update that takes the model from `step` to `step + 1`.
  public func callAsFunction(_ step: Int) -> Double {
    guard step >= warmup else { return peak * Double(step) / Double(warmup) }
    func progress(_ total: Int) -> Double { Double(step - warmup) / Double(max(total - warmup, 1)) }
    switch decay {
    case .constant: return peak
    case .linear(let total): return peak * max(1 - progress(total), 0)
    case .cosine(let total, let minimum):
      return minimum + (peak - minimum) * max((1 + cos(.pi * min(progress(total), 1))) / 2, 0)
    case .inverseSquareRoot:
      let start = Double(max(warmup, 1))
      return peak * (start / max(Double(step), start)).squareRoot()
    }
  }
}

/// The natural logarithm of a host number.
func logarithm(_ x: Double) -> Double { log(x) }
