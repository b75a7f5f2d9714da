import KalsaeTensors

/// Denoising diffusion implicit models (arXiv 2010.02502): deterministic with eta = 0, DDPM with eta = 1.
///
///     x_s = sqrt(alphaBar_s) x_0 + sqrt(1 - alphaBar_s - sigma^2) eps + sigma z                      (eq. 12)
///     sigma = eta sqrt((1 - alphaBar_s) / (1 - alphaBar_t)) sqrt(1 - alphaBar_t / alphaBar_s)        (eq. 16)
public struct DDIMSampler: Sampler, Hashable {
  public static let etaRange = 0.0...1.0

  public let eta: Double
  /// Whether eps is computed anew from x_t and the clipped x_0, so that the two agree.
  public let useClippedModelOutput: Bool

  public init(eta: Double = 0, useClippedModelOutput: Bool = false) {
    require(Self.etaRange.contains(eta), "DDIMSampler: eta \(eta) is outside \(Self.etaRange)")
    self.eta = eta
    self.useClippedModelOutput = useClippedModelOutput
  }

  public func step(_ x: Tensor, _ transition: Transition, _ denoise: Denoiser, noise: () -> Tensor)
    -> (x: Tensor, x0: Tensor)
  {
    var (x0, eps) = { ($0.x0, $0.eps) }(denoise(x, at: transition.timestep))
    let ᾱt = transition.alphaBar, ᾱs = transition.alphaBarNext
    if useClippedModelOutput { eps = (x - x0 * ᾱt.squareRoot()) / (1 - ᾱt).squareRoot() }
    let σ2 = eta * eta * Posterior(alphaBar: ᾱt, alphaBarNext: ᾱs).variance
    // With eta = 1 rounding may take the difference below 0.
    let mean = x0 * ᾱs.squareRoot() + eps * max(1 - ᾱs - σ2, 0).squareRoot()
    return (eta == 0 ? mean : mean + noise() * σ2.squareRoot(), x0)
  }
}
