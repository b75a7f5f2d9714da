import KalsaeTensors

/// A way from one noise level to the next: a pure function that builds the graph of one step.
///
/// Coefficients enter as scalars, so that all steps share one plan.
public protocol Sampler: Sendable {
  /// x after the step, and the estimate of x_0 that led there. `noise` draws standard normal noise of x's shape.
  func step(_ x: Tensor, _ transition: Transition, _ denoise: Denoiser, noise: () -> Tensor)
    -> (x: Tensor, x0: Tensor)
}
