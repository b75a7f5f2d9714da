import Foundation
import Kalsae
import Testing

/// Parameters as the optimizer fixtures have them.
private struct Pair: Module {
  let matrix: Parameter, vector: Parameter
  init(_ matrix: Tensor, _ vector: Tensor) {
    self.matrix = Parameter(matrix)
    self.vector = Parameter(vector)
  }
  init() { self.init(.ones([5, 3]), .ones([7])) }
}

private func fixture(_ name: String) throws -> SafetensorsFile {
  let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  return try SafetensorsFile(
    path: tests.appendingPathComponent("Fixtures/optimizers/\(name).safetensors").path)
}

/// The largest difference, relative to the largest expected number.
private func error(_ a: Tensor, _ b: Tensor) -> Float {
  let (x, y) = (a.floats(), b.floats())
  return zip(x, y).map { abs($0 - $1) }.max()! / max(y.map(abs).max()!, .leastNormalMagnitude)
}

@Suite struct OptimizerTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let rate: Double
    let make: @Sendable (ModuleContents) -> any Optimizer
    var testDescription: String { name }
  }

  static let cases = [
    Case(name: "adam", rate: 0.01) { Adam($0) },
    Case(name: "adam_l2", rate: 0.01) {
      Adam($0, beta1: 0.8, beta2: 0.99, epsilon: 1e-6, weightDecay: 0.1)
    },
    Case(name: "adamw", rate: 0.02) {
      AdamW($0, beta2: 0.99, weightDecay: 0.05) { _, _ in true }
    },
    Case(name: "sgd", rate: 0.1) { SGD($0) },
    Case(name: "sgd_momentum", rate: 0.05) { SGD($0, momentum: 0.9) },
    Case(name: "sgd_nesterov", rate: 0.05) {
      SGD($0, momentum: 0.9, weightDecay: 0.02, isNesterov: true)
    },
  ]

  /// Ten steps beside PyTorch's, with gradients over several orders of magnitude and one step of zeros.
  @Test(arguments: cases)
  func followsPyTorch(_ test: Case) throws {
    let file = try fixture("optimizers")
    let (matrix, vector) = (try file.tensor(test.name + ".matrix"), try file.tensor(test.name + ".vector"))
    let (g, h) = (try file.tensor("gradient.matrix"), try file.tensor("gradient.vector"))
    let pair = Pair(matrix.at(0), vector.at(0))
    let optimizer = test.make(pair.contents)
    for step in 0..<10 {
      optimizer.update(Gradients([g.at(step), h.at(step)]), learningRate: test.rate)
      evaluate([], slots: optimizer.slots)
      #expect(error(pair.matrix.value, matrix.at(step + 1)) < 1e-5, "step \(step)")
      #expect(error(pair.vector.value, vector.at(step + 1)) < 1e-5, "step \(step)")
    }
  }

  /// What does not decay goes PyTorch's way without decay, what does with it.
  @Test func onlyMatricesDecayUnlessToldOtherwise() throws {
    func step(_ optimizer: (ModuleContents) -> any Optimizer) -> (matrix: [Float], vector: [Float]) {
      let pair = Pair()
      let made = optimizer(pair.contents)
      for _ in 0..<3 {
        made.update(Gradients([.full(0.5, [5, 3]), .full(-2, [7])]), learningRate: 0.1)
        evaluate([], slots: made.slots)
      }
      return (pair.matrix.value.floats(), pair.vector.value.floats())
    }
    let without = step { AdamW($0, weightDecay: 0) }
    let everywhere = step { AdamW($0, weightDecay: 0.5) { _, _ in true } }
    let standard = step { AdamW($0, weightDecay: 0.5) }
    #expect(standard.matrix == everywhere.matrix && standard.vector == without.vector)
    #expect(everywhere.vector != without.vector && everywhere.matrix != without.matrix)
    let chosen = step { AdamW($0, weightDecay: 0.5) { path, _ in path == "vector" } }
    #expect(chosen.matrix == without.matrix && chosen.vector == everywhere.vector)
    let nothing = step { AdamW($0, weightDecay: 0.5) { _, _ in false } }
    #expect(nothing.matrix == without.matrix && nothing.vector == without.vector)
  }

  @Test func clippingScalesToTheNorm() throws {
    let file = try fixture("training")
    for (name, limit) in [("clip_active", 1.0), ("clip_idle", 1000)] {
      let gradients = Gradients([try file.tensor(name + ".matrix"), try file.tensor(name + ".vector")])
      let clipped = gradients.clipped(toNorm: limit)
      #expect(error(clipped.norm, try file.tensor(name + ".norm")) < 1e-6)
      for (g, key) in zip(clipped.tensors, ["matrix", "vector"]) {
        #expect(error(g * clipped.scale, try file.tensor("\(name).clipped.\(key)")) < 1e-5)
      }
    }
  }

  /// The update itself applies the clipping: SGD with rate 1 moves by the clipped gradient.
  @Test func updatesUseTheClippedGradient() {
    let pair = Pair()
    let optimizer = SGD(pair.contents)
    let gradients = Gradients([.full(3, [5, 3]), .full(-4, [7])])  // norm sqrt(15 * 9 + 7 * 16)
    optimizer.update(gradients.clipped(toNorm: 0.5), learningRate: 1)
    evaluate([], slots: optimizer.slots)
    let factor = 0.5 / 247.0.squareRoot()
    #expect(error(pair.matrix.value, .full(1 - 3 * factor, [5, 3])) < 1e-6)
    #expect(error(pair.vector.value, .full(1 + 4 * factor, [7])) < 1e-6)
  }

  @Test(arguments: [Float.nan, .infinity])
  func aGradientThatIsNotFiniteChangesNothing(_ bad: Float) {
    let pair = Pair(), averaged = Pair()
    for optimizer in [Adam(pair.contents), AdamW(pair.contents), SGD(pair.contents, momentum: 0.9)]
      as [any Optimizer]
    {
      let average = MovingAverage(of: pair.contents, in: averaged.contents, decay: 0.5)
      func step(_ value: Float) {
        var elements = [Float](repeating: 0.5, count: 7)
        elements[3] = value
        let gradients = Gradients([.ones([5, 3]), Tensor(elements)])
        optimizer.update(gradients, learningRate: 0.1)
        average.update(if: gradients.isFinite)
        evaluate([], slots: optimizer.slots + average.slots)
      }
      func all() -> [[Float]] { (optimizer.slots + average.slots).map { $0.value.floats() } }
      step(1)
      let before = all()
      step(bad)
      #expect(all() == before)
      step(1)
      #expect(all() != before)
    }
  }

  @Test func stateIsNamedForCheckpoints() {
    let contents = Pair().contents
    #expect(
      Adam(contents).state.map(\.path) == ["step", "m.matrix", "m.vector", "v.matrix", "v.vector"])
    #expect(SGD(contents).state.map(\.path) == ["velocity.matrix", "velocity.vector"])
  }

  @Test(arguments: [("ema_short", 0.9999), ("ema_reached", 0.3)])
  func movingAverageFollowsDiffusers(_ name: String, _ decay: Double) throws {
    struct Single: Module { let p = Parameter(.zeros([7])) }
    let file = try fixture("training"), source = Single(), averaged = Single()
    let (values, expected) = (try file.tensor(name + ".parameter"), try file.tensor(name + ".average"))
    source.p.value = values.at(0)
    let average = MovingAverage(of: source.contents, in: averaged.contents, decay: decay)
    evaluate([], slots: source.contents.slots + average.slots)
    #expect(averaged.p.value.floats() == values.at(0).floats())
    for step in 1...10 {
      source.p.value = values.at(step)
      average.update()
      evaluate([], slots: source.contents.slots + average.slots)
      #expect(error(averaged.p.value, expected.at(step)) < 1e-5, "update \(step)")
    }
    #expect(average.state[0].slot.value.item() == 10)
  }

  @Test func movingAverageTakesStatesAlong() {
    let source = BatchNorm(2), averaged = BatchNorm(2)
    let average = MovingAverage(of: source.contents, in: averaged.contents)
    evaluate([], slots: source.contents.slots + average.slots)
    source.running_mean.value = .full(10, [2])
    average.update()  // decay (1 + 1) / (10 + 1)
    evaluate([], slots: source.contents.slots + average.slots)
    #expect(error(averaged.running_mean.value, .full(90.0 / 11, [2])) < 1e-6)
  }

  @Test(arguments: [
    ("schedule_constant", LearningRate(peak: 0.1)),
    ("schedule_constant_with_warmup", LearningRate(peak: 0.1, warmup: 10)),
    ("schedule_linear", LearningRate(peak: 0.1, warmup: 10, decay: .linear(total: 50))),
    ("schedule_cosine", LearningRate(peak: 0.1, warmup: 10, decay: .cosine(total: 50))),
  ])
  func learningRatesFollowDiffusers(_ name: String, _ rate: LearningRate) throws {
    let expected = try fixture("training").withBytes(of: name + ".rate") { bytes in
      (0..<60).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self) }
    }
    // After the last step a cosine stays at zero here; diffusers lets it rise again.
    for step in 0..<(name == "schedule_cosine" ? 51 : 60) {
      #expect(abs(rate(step) - expected[step]) < 1e-15, "step \(step)")
    }
    if name == "schedule_cosine" { #expect(rate(55) == 0) }
  }

  @Test func inverseSquareRootFallsFromItsPeak() {
    let rate = LearningRate(peak: 2, warmup: 100, decay: .inverseSquareRoot)
    #expect(rate(50) == 1)
    #expect(rate(100) == 2)
    #expect(rate(400) == 1)
    #expect(LearningRate(peak: 2, decay: .inverseSquareRoot)(0) == 2)
  }

  @Test func transformerScheduleIsThePapers() {
    let rate = LearningRate.transformer(width: 512, warmup: 4000)
    for step in [1, 10, 3999, 4000, 4001, 100_000] {
      let n = Double(step)
      let expected = 1 / 512.0.squareRoot() * min(1 / n.squareRoot(), n / (4000 * 4000.0.squareRoot()))
      #expect(abs(rate(step) / expected - 1) < 1e-12, "step \(step)")
    }
    #expect(rate(0) == 0)
    #expect(abs(LearningRate.transformer(width: 512, scale: 2)(7) / rate(7) - 2) < 1e-12)
  }

  @Test func cosineEndsAtItsMinimum() {
    let rate = LearningRate(peak: 1, warmup: 10, decay: .cosine(total: 110, minimum: 0.1))
    #expect(rate(5) == 0.5)
    #expect(rate(10) == 1)
    #expect(abs(rate(60) - 0.55) < 1e-12, "half way, half the distance")
    #expect(rate(110) == 0.1)
    #expect(rate(5000) == 0.1)
  }
}
