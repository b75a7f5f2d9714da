import Foundation
import KalsaeDiffusion
import KalsaeRuntime
import KalsaeTensors
import Testing

/// Samplers on Gaussian data with the exact denoiser: the error halves as the number of steps doubles.
@Suite struct ConvergenceTests {
  static let counts = [20, 40, 80, 160, 320]

  static func expectFirstOrder(_ errors: [Double]) {
    for (coarse, fine) in zip(errors, errors.dropFirst()) {
      #expect((0.6...1.2).contains(log2(coarse / fine)), "errors \(errors)")
    }
    let last = log2(errors[errors.count - 2] / errors[errors.count - 1])
    #expect((0.8...1.1).contains(last), "errors \(errors)")
  }

  /// Deterministic DDIM follows the probability flow.
  @Test(arguments: [NoiseSchedule.Kind.linear, .cosine])
  func ddim(_ kind: NoiseSchedule.Kind) throws {
    let schedule = NoiseSchedule(kind, timesteps: 1280), data = GaussianData(schedule: schedule)
    let start: [Float] = [-1.5, 0, 1]
    let errors = try Self.counts.map { steps in
      let path = SamplingPath(schedule, timesteps: try TimestepSpacing.leading.timesteps(steps, of: 1280))
      let loop = SamplingLoop(
        DDIMSampler(), path, data.denoiser, from: Tensor(start, [3, 1]), noise: NoiseSource(seed: 0))
      var x: [Float] = []
      for state in loop { x = state.x.floats() }
      return zip(x, start).map { abs(Double($0) - data.flow(Double($1), from: path[0].alphaBar)) }.max()!
    }
    Self.expectFirstOrder(errors)
  }

  /// A stochastic sampler turns mean and variance of x_T into those of the data. Its step is affine in x and in
  /// the noise, so both moments follow from three samples: at the mean, off the mean, with noise.
  @Test(
    arguments: [NoiseSchedule.Kind.linear, .cosine],
    [
      DDPMSampler(variance: .fixedSmall), DDPMSampler(variance: .fixedLarge), DDIMSampler(eta: 1),
      DDIMSampler(eta: 0.5),
    ] as [any Sampler])
  func moments(_ kind: NoiseSchedule.Kind, _ sampler: any Sampler) throws {
    let schedule = NoiseSchedule(kind, timesteps: 1280), data = GaussianData(schedule: schedule)
    let errors = try Self.counts.map { steps in
      let path = SamplingPath(schedule, timesteps: try TimestepSpacing.leading.timesteps(steps, of: 1280))
      var mean = path[0].alphaBar.squareRoot() * data.mean
      var variance = pow(data.deviation(path[0].alphaBar), 2)
      for transition in path {
        let x = Tensor([Float(mean), Float(mean) + 1, Float(mean)], [3, 1])
        let y = sampler.step(x, transition, data.denoiser) { Tensor([0, 0, 1] as [Float], [3, 1]) }.x.floats()
        let slope = Double(y[1] - y[0]), noise = Double(y[2] - y[0])
        (mean, variance) = (Double(y[0]), slope * slope * variance + noise * noise)
      }
      #expect(abs(mean - data.mean) < 1e-4)
      return abs(variance - data.deviation * data.deviation)
    }
    Self.expectFirstOrder(errors)
  }
}
