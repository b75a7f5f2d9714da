import KalsaeDiffusion
import KalsaeRuntime
import KalsaeTensors
import Testing

@Suite struct TrainingLossTests {
  static let schedule = NoiseSchedule.cosine(timesteps: 50)
  let x0 = Tensor([0.5, -0.25, 1, 0.75] as [Float], [2, 2])
  let eps = Tensor([-1, 0.5, 2, 0.1] as [Float], [2, 2])
  let timesteps = Tensor([3, 40] as [Int32])

  /// Each sample's target follows its own timestep.
  @Test(arguments: Prediction.allCases)
  func targets(_ prediction: Prediction) {
    let schedule = Self.schedule
    let expected = zip([(0.5, -1.0), (-0.25, 0.5), (1, 2), (0.75, 0.1)], [3, 3, 40, 40]).map { pair, t in
      let (x0, eps) = pair
      switch prediction {
      case .epsilon: return eps
      case .x0: return x0
      case .v: return schedule.alpha[t] * eps - schedule.sigma[t] * x0
      case .previous:
        let posterior = schedule.posterior(t), xt = schedule.alpha[t] * x0 + schedule.sigma[t] * eps
        return posterior.x0Coefficient * x0 + posterior.xtCoefficient * xt
      }
    }
    let target = TrainingLoss(schedule, prediction).target(x0, eps, timesteps)
    #expect(relativeError(target.floats(), expected) < 1e-6)
  }

  @Test(arguments: Prediction.allCases, TrainingLoss.Distance.allCases)
  func aPerfectNetworkHasNoLoss(_ prediction: Prediction, _ distance: TrainingLoss.Distance) {
    let loss = TrainingLoss(Self.schedule, prediction, distance: distance, minSNRGamma: 5)
    let value = loss(x0, eps: eps, timesteps: timesteps) { _, t in loss.target(x0, eps, t) }
    #expect(value.shape == [] && value.dtype == .float32)
    #expect(value.item() == 0)
  }

  /// Differences of 0.5 and 3, on both sides of huber's bend.
  @Test func distances() {
    let off = Tensor([0.5, -0.5, 3, -3] as [Float], [2, 2])
    func value(_ distance: TrainingLoss.Distance) -> Double {
      TrainingLoss(Self.schedule, distance: distance)(x0, eps: eps, timesteps: timesteps) { _, _ in eps + off
      }
      .item()
    }
    #expect(isClose(value(.mse), (0.25 + 9) / 2, 1e-5))
    #expect(isClose(value(.l1), (0.5 + 3) / 2, 1e-5))
    #expect(isClose(value(.huber), (0.125 + 2.5) / 2, 1e-5))
  }

  /// The network sees x_t and the timesteps as they are.
  @Test func theNetworkSeesTheDiffusedData() {
    let loss = TrainingLoss(Self.schedule)
    var seen: (x: Tensor, t: Tensor)?
    _ = loss(x0, eps: eps, timesteps: timesteps) { x, t in
      seen = (x, t)
      return x
    }
    let expected = Self.schedule.diffuse(x0, eps, to: timesteps).floats()
    #expect(seen?.x.floats() == expected)
    #expect(seen?.t.array(of: Int32.self) == [3, 40])
  }

  /// min(SNR, gamma) / SNR for epsilon, min(SNR, gamma) for x0, min(SNR, gamma) / (SNR + 1) for v.
  @Test func minSNRWeights() throws {
    let schedule = NoiseSchedule.linear()
    func weight(_ prediction: Prediction) throws -> [Double] {
      try #require(TrainingLoss(schedule, prediction, minSNRGamma: 5).weight)
    }
    let epsilon = try weight(.epsilon), x0 = try weight(.x0), v = try weight(.v)
    let previous = try weight(.previous)
    for (t, snr) in schedule.snr.enumerated() {
      #expect(isClose(epsilon[t], min(snr, 5) / snr, 1e-9))
      #expect(isClose(x0[t], min(snr, 5), 1e-9))
      #expect(isClose(v[t], min(snr, 5) / (snr + 1), 1e-9))
      let slope = schedule.posterior(t).x0Coefficient
      #expect(isClose(previous[t], min(snr, 5) / (slope * slope), 1e-7))
    }
    #expect(TrainingLoss(schedule).weight == nil)
    #expect(epsilon[0] < 1e-3 && epsilon[999] == 1)
  }

  @Test func weightsAreAppliedToSamples() throws {
    let loss = TrainingLoss(Self.schedule, .v, minSNRGamma: 5)
    let weight = try #require(loss.weight)
    let off = Tensor([1, 1, 2, 2] as [Float], [2, 2])
    let value = loss(x0, eps: eps, timesteps: timesteps) { _, t in loss.target(x0, eps, t) + off }.item()
    #expect(isClose(value, (weight[3] * 1 + weight[40] * 4) / 2, 1e-5))
  }

  /// Timesteps are uniform over all of 0 ..< T, noise is standard normal, and both belong to the key.
  @Test func draws() {
    let loss = TrainingLoss(NoiseSchedule.linear(timesteps: 10), .epsilon), count = 4000
    func draw(_ key: RandomKey) -> (timesteps: [Int32], x: [Float]) {
      var seen: (Tensor, Tensor)?
      _ = loss(.zeros([count, 2]), key: key) { x, t in
        seen = (x, t)
        return x
      }
      return (seen!.1.array(of: Int32.self), seen!.0.floats())
    }
    let first = draw(RandomKey(seed: 1, step: 0))
    for t in 0..<10 {
      let share = Double(first.timesteps.filter { $0 == Int32(t) }.count) / Double(count)
      #expect(abs(share - 0.1) < 0.02, "timestep \(t)")
    }
    #expect(first.timesteps.allSatisfy { (0..<10).contains($0) })
    // x_0 = 0, so x_t / sigma_t is the noise.
    let noise = first.x.enumerated().map { Double($1) / loss.schedule.sigma[Int(first.timesteps[$0 / 2])] }
    let mean = noise.reduce(0, +) / Double(noise.count)
    #expect(abs(mean) < 0.05)
    #expect(abs(noise.reduce(0) { $0 + $1 * $1 } / Double(noise.count) - 1) < 0.06)

    let again = draw(RandomKey(seed: 1, step: 0)), next = draw(RandomKey(seed: 1, step: 1))
    #expect(again.timesteps == first.timesteps && again.x == first.x)
    #expect(next.timesteps != first.timesteps && next.x != first.x)
  }

  /// The least loss is the expectation of eps: for Gaussian data its value is known, sigma^2-weighted.
  @Test func theBestNetworkHasTheKnownLoss() {
    // Data N(0, s^2): Var[eps | x_t] = alpha^2 s^2 / (alpha^2 s^2 + sigma^2).
    let schedule = NoiseSchedule.linear(timesteps: 20, betaStart: 0.01, betaEnd: 0.3)
    let data = GaussianData(schedule: schedule, mean: 0, deviation: 0.5), count = 20_000
    let x0 = Tensor.normal([count, 1], key: RandomKey(seed: 9)) * 0.5
    let value = TrainingLoss(schedule)(x0, key: RandomKey(seed: 2), network: data.network).item()
    let expected =
      schedule.alphaBar.map { $0 * 0.25 / ($0 * 0.25 + 1 - $0) }.reduce(0, +) / Double(schedule.timesteps)
    #expect(abs(value - expected) < 0.03 * expected, "\(value) instead of \(expected)")
  }

  /// bfloat16 data and outputs still give a float32 loss.
  @Test func theLossIsFloat32() {
    let loss = TrainingLoss(Self.schedule)
    let value = loss(x0.cast(to: .bfloat16), eps: eps, timesteps: timesteps) { x, _ in x.cast(to: .bfloat16) }
    #expect(value.dtype == .float32)
  }
}
