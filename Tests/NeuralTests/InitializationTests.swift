import Kalsae
import Testing

@Suite struct InitializationTests {
  private struct Net: Module {
    let a = Linear(3, 5), b = Linear(3, 5), c = Conv2d(4, 2, kernel: 3, groups: 2)
  }

  private func values(_ net: Net) -> [[Float]] {
    evaluate([], slots: net.contents.slots)
    return net.contents.parameters.map { $0.parameter.value.floats() }
  }

  @Test func equalSeedsGiveEqualModels() {
    func make(_ seed: UInt64) -> [[Float]] { values(Initialization.with(seed: seed) { Net() }) }
    let first = make(7)
    #expect(first == make(7))
    #expect(first != make(8))
    #expect(first[0] != first[2], "two layers of one shape must differ")
    #expect(values(Net()) != values(Net()), "without a seed every model is new")
  }

  @Test func nothingIsDrawnBeforeItIsNeeded() {
    let net = Net()
    #expect(net.contents.slots.allSatisfy { $0.buffer == nil && $0.pending != nil })
    net.a.weight.value = .zeros([5, 3])
    #expect(net.a.weight.value.floats() == [Float](repeating: 0, count: 15))
  }

  @Test func anUncommittedModelComputesWithTheValuesItWillHave() {
    let net = Initialization.with(seed: 3) { Net() }
    let x = Tensor([1, -2, 0.5] as [Float], [1, 3])
    let before = net.a(x).floats()
    evaluate([], slots: net.contents.slots)
    #expect(net.a(x).floats() == before)
  }

  /// A distribution of (200, 300) numbers: mean, standard deviation, and the largest distance from the mean.
  struct Expected: Sendable {
    let initializer: Initializer
    let mean: Double, deviation: Double, bound: Double

    init(_ initializer: Initializer, mean: Double = 0, variance: Double, bound: Double = .infinity) {
      (self.initializer, self.mean, self.bound) = (initializer, mean, bound)
      deviation = variance.squareRoot()
    }

    /// Uniform between -bound and bound.
    init(_ initializer: Initializer, bound: Double) {
      self.init(initializer, variance: bound * bound / 3, bound: bound)
    }
  }

  @Test(arguments: [
    Expected(.layerDefault, bound: (1 / 300.0).squareRoot()),
    Expected(.kaimingUniform(), bound: (6 / 300.0).squareRoot()),
    Expected(.kaimingNormal(), variance: 2 / 300.0),
    Expected(.xavierUniform(), bound: (6 / 500.0).squareRoot()),
    Expected(.xavierNormal(gain: 2), variance: 8 / 500.0),
    Expected(.normal(standardDeviation: 0.5, mean: 2), mean: 2, variance: 0.25),
    Expected(.uniform(low: -1, high: 3), mean: 1, variance: 16 / 12.0, bound: 2),
    Expected(.constant(0.25), mean: 0.25, variance: 0, bound: 0),
    // The variance of a standard normal cut off at 2.
    Expected(.truncatedNormal(standardDeviation: 3), variance: 9 * 0.7737413035, bound: 6),
  ])
  func distributions(_ expected: Expected) {
    let draws = Initialization.with(seed: 1) { expected.initializer([200, 300]) }.floats().map { Double($0) }
    let count = Double(draws.count)
    let mean = draws.reduce(0, +) / count
    var variance = 0.0
    for draw in draws { variance += (draw - mean) * (draw - mean) / count }
    #expect(abs(mean - expected.mean) < 4 * expected.deviation / count.squareRoot() + 1e-6)
    #expect(abs(variance.squareRoot() - expected.deviation) <= 0.01 * expected.deviation + 1e-6)
    #expect(draws.allSatisfy { abs($0 - expected.mean) <= expected.bound * 1.00001 })
  }

  @Test func truncatedNormalHasTheQuantilesOfTheNormal() {
    let draws = Initialization.with(seed: 2) {
      Initializer.truncatedNormal(standardDeviation: 1)([60_000])
    }.floats().sorted()
    // P(z < x) of the cut-off distribution = (Phi(x) - Phi(-2)) / (Phi(2) - Phi(-2)).
    let shares: [(Float, Double)] = [(-1, 0.142384), (0, 0.5), (0.5, 0.700589), (1.5, 0.953843)]
    for (x, share) in shares {
      let below = Double(draws.firstIndex { $0 >= x } ?? draws.count) / Double(draws.count)
      #expect(abs(below - share) < 0.006, "\(x)")
    }
  }

  @Test func biasesFollowTheFanOfTheirWeight() {
    let layer = Initialization.with(seed: 4) { Conv2d(8, 4096, kernel: 3, groups: 4) }
    let bias = layer.bias!.value.floats()  // fan-in 2 x 3 x 3
    #expect(bias.allSatisfy { abs($0) <= 1 / Float(18).squareRoot() })
    #expect(bias.map(abs).max()! > 0.99 / Float(18).squareRoot())
  }
}
