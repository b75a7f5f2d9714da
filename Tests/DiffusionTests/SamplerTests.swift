import KalsaeDiffusion
import KalsaeRuntime
import KalsaeTensors
import Testing

@Suite struct SamplerTests {
  static let schedule = NoiseSchedule.linear(timesteps: 100, betaStart: 1e-3, betaEnd: 0.1)
  static let samplers: [any Sampler] = [
    DDPMSampler(variance: .fixedSmall), DDPMSampler(variance: .fixedLarge), DDIMSampler(),
    DDIMSampler(eta: 0.7), DDIMSampler(eta: 1, useClippedModelOutput: true),
  ]

  static func path(_ steps: Int) throws -> SamplingPath {
    SamplingPath(schedule, timesteps: try TimestepSpacing.leading.timesteps(steps, of: 100))
  }

  /// A network that is wrong by a factor, so that x_0 leaves [-1, 1].
  let wild = Denoiser(schedule, .epsilon) { x, _ in x * 3 }

  /// Clipping acts on x_0 before the mean is formed from it, and so on the sample.
  @Test func ddpmClipsBeforeTheMean() throws {
    let transition = try Self.path(10)[0], x = Tensor([Float(0.8), -0.3], [2, 1])
    let zero = Tensor([0, 0] as [Float], [2, 1])
    let free = DDPMSampler().step(x, transition, wild) { zero }
    let clipped = DDPMSampler().step(x, transition, wild.clipped(to: 1)) { zero }
    #expect(free.x0.floats().allSatisfy { abs($0) > 1 })
    #expect(clipped.x0.floats() == [-1, 1])
    let posterior = Posterior(alphaBar: transition.alphaBar, alphaBarNext: transition.alphaBarNext)
    let expected = zip([-1.0, 1.0], [0.8, -0.3]).map {
      posterior.x0Coefficient * $0 + posterior.xtCoefficient * $1
    }
    #expect(relativeError(clipped.x.floats(), expected) < 1e-6)
    #expect(relativeError(free.x.floats(), expected) > 0.1)
  }

  /// By default eps stays the network's; with `useClippedModelOutput` it is the one that fits the clipped x_0.
  @Test(arguments: [false, true])
  func ddimClipping(_ useClipped: Bool) throws {
    let transition = try Self.path(10)[0], x = Tensor([Float(0.8)], [1, 1])
    let sampler = DDIMSampler(useClippedModelOutput: useClipped)
    let y = sampler.step(x, transition, wild.clipped(to: 1)) { x }.x.floats()
    let a = transition.alphaBar, b = transition.alphaBarNext
    let eps = useClipped ? (0.8 + a.squareRoot()) / (1 - a).squareRoot() : 2.4
    #expect(relativeError(y, [-b.squareRoot() + (1 - b).squareRoot() * eps]) < 1e-6)
  }

  /// With eta = 1, DDIM is DDPM with the small variance, steps skipped or not (arXiv 2010.02502, section 4.1).
  @Test(arguments: [7, 100])
  func ddimWithEtaOneIsDDPM(_ steps: Int) throws {
    let x = Tensor([Float(0.8), -0.3], [2, 1]), z = Tensor([Float(0.5), -2], [2, 1])
    let denoiser = Denoiser(Self.schedule, .v) { x, _ in x * 0.3 }
    for transition in try Self.path(steps) {
      let a = DDIMSampler(eta: 1).step(x, transition, denoiser) { z }.x.floats()
      let b = DDPMSampler().step(x, transition, denoiser) { z }.x.floats()
      #expect(relativeError(a, b.map(Double.init)) < 1e-5)
    }
  }

  /// All steps of a loop are one plan: the graphs differ in the values of their inputs only.
  @Test(arguments: samplers, Prediction.allCases)
  func everyStepHasTheSameGraph(_ sampler: any Sampler, _ prediction: Prediction) throws {
    let denoiser = Denoiser(Self.schedule, prediction) { x, t in
      x * t.cast(to: .float32).expanded(1)
    }.clipped(to: 1)
    let x = Tensor([Float(0.8), -0.3], [2, 1])
    let graphs = try Self.path(20).enumerated().map { position, transition in
      let y = sampler.step(x, transition, denoiser) { .normal([2, 1], key: RandomKey(seed: 1)) }.x
      let nodes = postOrder([y]), place = Dictionary(uniqueKeysWithValues: zip(nodes.map(\.serial), 0...))
      return nodes.map { node in [Int(node.opID)] + node.inputs.map { place[$0.node.serial]! } }
    }
    #expect(Set(graphs).count == 1)
  }

  /// The step that reaches the data adds no noise, whatever the variance.
  @Test(arguments: samplers)
  func theLastStepIsWithoutNoise(_ sampler: any Sampler) throws {
    let last = try #require(try Self.path(10).last)
    let loud = sampler.step(Tensor([Float(0.1)], [1, 1]), last, wild) { Tensor([Float(1000)], [1, 1]) }
    let quiet = sampler.step(Tensor([Float(0.1)], [1, 1]), last, wild) { Tensor([Float(0)], [1, 1]) }
    #expect(loud.x.floats() == quiet.x.floats())
  }

  /// A perfect network of any parameterisation leads to the one data point it knows.
  @Test(arguments: samplers, Prediction.allCases)
  func aPerfectNetworkOfOnePointFindsIt(_ sampler: any Sampler, _ prediction: Prediction) throws {
    let point = 0.25, loss = TrainingLoss(Self.schedule, prediction)
    let denoiser = Denoiser(Self.schedule, prediction) { x, t in
      let x0 = Tensor.full(point, x.shape)
      // eps from x_t = alpha x_0 + sigma eps
      func column(_ table: [Double]) -> Tensor { Tensor(table.map(Float.init)).gathered(t).expanded(1) }
      let eps = (x - x0 * column(Self.schedule.alpha)) / column(Self.schedule.sigma)
      return loss.target(x0, eps, t)
    }
    let noise = NoiseSource(seed: 3)
    let loop = SamplingLoop(sampler, try Self.path(20), denoiser, from: noise.prior([4, 1]), noise: noise)
    var x: [Float] = []
    for state in loop { x = state.x.floats() }
    #expect(x.allSatisfy { abs(Double($0) - point) < 1e-3 }, "\(x)")
  }
}

@Suite struct SamplingLoopTests {
  let data = GaussianData(schedule: SamplerTests.schedule)

  /// A sample is the same in whatever batch it is drawn, and different from its neighbours.
  @Test func noiseIsThatOfTheSample() {
    let all = NoiseSource(seed: 5), tail = NoiseSource(seed: 5, first: 2)
    for position in [-1, 0, 7] {
      let a = all([4, 3], at: position).floats(), b = tail([2, 3], at: position).floats()
      #expect(Array(a[6...]) == b)
      #expect(Set(a).count == a.count)
    }
    #expect(all([4, 3], at: 0).floats() != all([4, 3], at: 1).floats())
    #expect(all([4, 3], at: 0).floats() != NoiseSource(seed: 6)([4, 3], at: 0).floats())
    #expect(all.prior([4, 3]).floats() == all([4, 3], at: -1).floats())
  }

  /// Starting in the middle takes the same steps as having come from the top.
  @Test func startingInTheMiddle() throws {
    let path = try SamplerTests.path(10), noise = NoiseSource(seed: 1)
    let whole = SamplingLoop(DDPMSampler(), path, data.denoiser, from: noise.prior([2, 1]), noise: noise)
    var states: [(position: Int, timestep: Int, x: [Float])] = []
    for state in whole { states.append((state.position, state.timestep, state.x.floats())) }
    #expect(states.map(\.position) == Array(0..<10))
    #expect(states.map(\.timestep) == path.timesteps)
    let part = SamplingLoop(
      DDPMSampler(), path, data.denoiser, from: Tensor(states[5].x, [2, 1]), at: 6, noise: noise)
    #expect(part.underestimatedCount == 4)
    var position = 6
    for state in part {
      #expect(state.position == position && state.x.floats() == states[position].x)
      position += 1
    }
    #expect(position == 10)
  }

  @Test func requestsThatMakeNoSense() {
    func error(steps: Int = 10, eta: Double = 0, kind: SamplerKind = .ddim) -> String {
      do {
        _ = try DiffusionConfig().samplingLoop(
          kind, steps: steps, eta: eta, from: .zeros([1, 1]), noise: NoiseSource(seed: 0)
        ) { x, _ in x }
        return ""
      } catch { return error.description }
    }
    #expect(error() == "")
    #expect(error(steps: 0).contains("1 to 1000"))
    #expect(error(steps: 1001, kind: .ddpm).contains("1001"))
    #expect(error(eta: -0.1).contains("eta"))
    #expect(error(eta: 1.5).contains("1.5"))
    #expect(error(eta: .nan).contains("eta"))
  }
}
