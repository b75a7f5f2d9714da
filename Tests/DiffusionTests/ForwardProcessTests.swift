import KalsaeDiffusion
import KalsaeRuntime
import KalsaeTensors
import Testing

@Suite struct ForwardProcessTests {
  /// q(x_t-1 | x_0) is q(x_t-1 | x_t, x_0) averaged over q(x_t | x_0), also when steps are skipped.
  @Test(arguments: NoiseSchedule.Kind.allCases, [(1, 0), (500, 499), (999, 998), (999, 0), (700, 320)])
  func posteriorOverMarginalIsMarginal(_ kind: NoiseSchedule.Kind, _ levels: (t: Int, s: Int)) {
    let schedule = NoiseSchedule(kind), (t, s) = levels
    let posterior = Posterior(alphaBar: schedule.alphaBar[t], alphaBarNext: schedule.alphaBar[s])
    let mean = posterior.x0Coefficient + posterior.xtCoefficient * schedule.alpha[t]
    let variance =
      posterior.variance + posterior.xtCoefficient * posterior.xtCoefficient * (1 - schedule.alphaBar[t])
    #expect(isClose(mean, schedule.alpha[s], 1e-9))
    #expect(isClose(variance, 1 - schedule.alphaBar[s], 1e-9))
  }

  /// The posterior is Bayes' rule: precision and mean add up from q(x_t-1 | x_0) and q(x_t | x_t-1).
  @Test(arguments: [1, 2, 500, 999])
  func posteriorIsBayes(_ t: Int) {
    let schedule = NoiseSchedule.linear(), posterior = schedule.posterior(t)
    let beta = schedule.beta[t], prior = 1 - schedule.alphaBar[t - 1]
    let precision = (1 - beta) / beta + 1 / prior
    #expect(isClose(posterior.beta, beta, 1e-10))
    #expect(isClose(posterior.variance, 1 / precision, 1e-10))
    #expect(isClose(posterior.x0Coefficient, schedule.alpha[t - 1] / prior / precision, 1e-10))
    #expect(isClose(posterior.xtCoefficient, (1 - beta).squareRoot() / beta / precision, 1e-10))
  }

  @Test func posteriorOfTheLastStepIsTheData() {
    let posterior = NoiseSchedule.linear().posterior(0)
    #expect(isClose(posterior.x0Coefficient, 1, 1e-12))
    #expect(posterior.xtCoefficient == 0 && posterior.variance == 0)
  }

  /// The Markov chain to t has the mean and the variance of q(x_t | x_0): followed by the steps themselves, with
  /// the noise switched on at one step at a time, since the result is linear in every eps.
  @Test(arguments: NoiseSchedule.Kind.allCases)
  func chainIsMarginal(_ kind: NoiseSchedule.Kind) {
    let schedule = NoiseSchedule(kind, timesteps: 24)
    for last in [0, 7, 23] {
      // Row 0 starts at 1 without noise; row i + 1 starts at 0 with eps = 1 at step i only.
      var x = Tensor([Float(1)] + [Float](repeating: 0, count: last + 1), [last + 2, 1])
      for t in 0...last {
        var eps = [Float](repeating: 0, count: last + 2)
        eps[t + 1] = 1
        x = schedule.diffuseStep(x, Tensor(eps, [last + 2, 1]), to: t)
      }
      let values = x.floats().map(Double.init)
      #expect(isClose(values[0], schedule.alpha[last], 1e-5))
      #expect(isClose(values.dropFirst().reduce(0) { $0 + $1 * $1 }, 1 - schedule.alphaBar[last], 1e-5))
    }
  }

  @Test(arguments: NoiseSchedule.Kind.allCases)
  func diffusersForwardProcess(_ kind: NoiseSchedule.Kind) throws {
    let fixture = try Fixture("schedulers/schedules.safetensors")
    let schedule = NoiseSchedule(kind), name = try #require(kind.diffusersName)
    let timesteps = try fixture["forward.timesteps"].map { Int32($0) }, shape: Shape = [5, 3, 2, 4]
    let x0 = Tensor(try fixture["forward.x0"].map(Float.init), shape)
    let eps = Tensor(try fixture["forward.noise"].map(Float.init), shape)
    let xt = schedule.diffuse(x0, eps, to: Tensor(timesteps))
    #expect(relativeError(xt.floats(), try fixture[name + ".x_t"]) < 1e-6)

    let velocity = TrainingLoss(schedule, .v).target(x0, eps, Tensor(timesteps))
    #expect(relativeError(velocity.floats(), try fixture[name + ".velocity"]) < 1e-6)

    // One timestep for all samples is the same formula.
    for (sample, t) in timesteps.enumerated() {
      let one = schedule.diffuse(x0, eps, to: Int(t)).at(sample).floats()
      #expect(relativeError(one, xt.at(sample).floats().map(Double.init)) < 1e-6)
    }
  }
}
