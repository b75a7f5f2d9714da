import KalsaeDiffusion
import Testing

@Suite struct PredictionTests {
  /// A network that answers its target must give back the data and the noise.
  @Test(arguments: Prediction.allCases, NoiseSchedule.Kind.allCases)
  func estimatesInvertTheTarget(_ prediction: Prediction, _ kind: NoiseSchedule.Kind) {
    let schedule = NoiseSchedule(kind, timesteps: 100)
    let x0 = 0.7, eps = -1.3
    for t in 0..<100 {
      let xt = schedule.alpha[t] * x0 + schedule.sigma[t] * eps
      let target = prediction.target(schedule, t)
      let output = target.x0 * x0 + target.eps * eps
      let estimates = prediction.estimates(schedule, t)
      #expect(isClose(estimates.x0.x * xt + estimates.x0.output * output, x0, 1e-6))
      #expect(isClose(estimates.eps.x * xt + estimates.eps.output * output, eps, 1e-6))
    }
  }

  /// The formulas of the papers, which the implementation derives from one table.
  @Test(arguments: [0, 1, 50, 99])
  func formulas(_ t: Int) {
    let schedule = NoiseSchedule.linear(timesteps: 100, betaStart: 1e-3, betaEnd: 0.2)
    let alpha = schedule.alpha[t], sigma = schedule.sigma[t]

    let epsilon = Prediction.epsilon.estimates(schedule, t)  // x_0 = (x_t - sigma eps) / alpha
    #expect(isClose(epsilon.x0.x, 1 / alpha, 1e-14) && isClose(epsilon.x0.output, -sigma / alpha, 1e-14))
    #expect(epsilon.eps.x == 0 && epsilon.eps.output == 1)

    let x0 = Prediction.x0.estimates(schedule, t)  // eps = (x_t - alpha x_0) / sigma
    #expect(x0.x0.x == 0 && x0.x0.output == 1)
    #expect(isClose(x0.eps.x, 1 / sigma, 1e-14) && isClose(x0.eps.output, -alpha / sigma, 1e-14))

    let v = Prediction.v.estimates(schedule, t)  // x_0 = alpha x_t - sigma v, eps = sigma x_t + alpha v
    #expect(isClose(v.x0.x, alpha, 1e-14) && isClose(v.x0.output, -sigma, 1e-14))
    #expect(isClose(v.eps.x, sigma, 1e-14) && isClose(v.eps.output, alpha, 1e-14))

    let posterior = schedule.posterior(t)  // x_0 = (mu - b x_t) / a with mu = a x_0 + b x_t
    let previous = Prediction.previous.estimates(schedule, t)
    #expect(isClose(previous.x0.output, 1 / posterior.x0Coefficient, 1e-9))
    #expect(isClose(previous.x0.x, -posterior.xtCoefficient / posterior.x0Coefficient, 1e-9))
  }

  /// Averaged over eps, the posterior mean is alpha_t-1 x_0; at the last step it is x_0 itself.
  @Test func previousTarget() {
    let schedule = NoiseSchedule.linear()
    for t in 1..<1000 {
      #expect(isClose(Prediction.previous.target(schedule, t).x0, schedule.alpha[t - 1], 1e-10))
    }
    let last = Prediction.previous.target(schedule, 0)
    #expect(isClose(last.x0, 1, 1e-12) && last.eps == 0)
  }

  @Test func names() {
    #expect(Prediction.allCases.map(\.rawValue) == ["epsilon", "x0", "v", "previous"])
    #expect(Prediction.allCases.map(\.diffusersName) == ["epsilon", "sample", "v_prediction", nil])
    #expect(
      NoiseSchedule.Kind.allCases.map(\.rawValue) == ["linear", "scaled-linear", "cosine", "sigmoid"])
    #expect(NoiseSchedule.Kind(diffusersName: "squaredcos_cap_v2") == .cosine)
    #expect(
      DDPMSampler.Variance(rawValue: "fixed-large") == DDPMSampler.Variance(diffusersName: "fixed_large"))
    #expect(Prediction(diffusersName: "previous") == nil)
    #expect(Prediction(diffusersName: "x0") == nil)
  }
}
