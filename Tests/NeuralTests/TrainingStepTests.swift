import Kalsae
import KalsaeCompiler
import KalsaeRuntime
import Testing

private struct Net: Module {
  let conv = Conv2d(2, 8, kernel: 3, padding: 1)
  let norm = GroupNorm(groups: 4, channels: 8)
  let batch = BatchNorm(8)
  let out = Linear(8, 3)

  func callAsFunction(_ x: Tensor) -> Tensor {
    out(dropout(batch(norm(conv(x), activation: .silu)).mean([1, 2]), probability: 0.1))
  }
}

/// The whole of a training step, as a program writes it.
private struct Run {
  let net: Net, average: MovingAverage, optimizer: AdamW
  let x = Tensor.normal([6, 5, 5, 2], key: RandomKey(seed: 1))
  let labels = Tensor([0, 1, 2, 0, 1, 2] as [Int32])

  init() {
    net = Initialization.with(seed: 9) { Net() }
    optimizer = AdamW(net.contents)
    average = MovingAverage(of: net.contents, in: Net().contents)
    evaluate([], slots: optimizer.slots + average.slots)
  }

  func build(_ step: Int) -> (loss: Tensor, norm: Tensor) {
    Mode.training(RandomKey(seed: 2, step: UInt64(step))) {
      let (loss, gradients) = valueAndGradient(optimizer.contents) { crossEntropy(net(x), labels) }
      let clipped = gradients.clipped(toNorm: 1)
      optimizer.update(clipped, learningRate: LearningRate(peak: 0.05, warmup: 5)(step))
      average.update(if: clipped.isFinite)
      return (loss, clipped.norm)
    }
  }

  var slots: [Slot] { optimizer.slots + average.slots }

  func step(_ step: Int) -> Double {
    let (loss, norm) = build(step)
    evaluate(loss, norm, slots: slots)
    return loss.item()
  }
}

@Suite struct TrainingStepTests {
  @Test func onePlanServesEveryStep() {
    let run = Run()
    func plan(_ step: Int) -> Plan {
      let (loss, norm) = run.build(step)
      defer { evaluate(loss, norm, slots: run.slots) }
      return Evaluator.shared.plan(for: [loss, norm], slots: run.slots, backend: Backends.current)
    }
    let first = plan(0)
    for step in 1..<4 { #expect(plan(step) === first) }
    // Of the parameters that decay, and of the others.
    #expect(first.steps.filter { $0.op is AveragedAdamUpdate }.count == 2)
    // Of what no gradient updates.
    #expect(first.steps.filter { $0.op is AverageUpdate }.count == 1)
  }

  @Test func averagesJoinTheUpdateOfTheirParameters() {
    let joined = Run(), apart = Run()
    for step in 0..<3 {
      _ = joined.step(step)
      let (loss, norm) = apart.build(step)
      Evaluator.shared.evaluate(
        [loss, norm], slots: apart.slots, backend: Backends.current, without: .averages)
    }
    for (a, b) in zip(joined.slots, apart.slots) { #expect(a.value.floats() == b.value.floats()) }
    #expect(
      zip(joined.optimizer.slots, joined.average.slots).contains { $0.value.floats() != $1.value.floats() })
  }

  @Test func aFewStepsFitTheBatch() {
    let run = Run()
    let losses = (0..<60).map(run.step)
    #expect(losses[0] > 0.8)
    #expect(losses.suffix(5).allSatisfy { $0 < 0.2 }, "\(losses)")
    #expect(run.net.batch.num_batches_tracked.value.item() == 60)
  }

  @Test func equalSeedsGiveEqualRuns() {
    func weights() -> [[Float]] {
      let run = Run()
      for step in 0..<5 { _ = run.step(step) }
      return run.slots.map { $0.value.floats() }
    }
    #expect(weights() == weights())
  }

  /// A step whose graph is not built anew gives the same numbers, its random ones included.
  @Test func repeatedStepsTrainAsBuiltOnesDo() {
    func train(_ step: (Run, Int) -> [Tensor]) -> [[Float]] {
      let run = Run()
      let results = (0..<6).map { step(run, $0).map { Float($0.item()) } }
      return results + run.slots.map { $0.value.floats() }
    }
    func graph(_ run: Run, _ key: RandomKey, _ rate: Tensor) -> [Tensor] {
      let (loss, gradients) = valueAndGradient(run.optimizer.contents) {
        Mode.training(key) { crossEntropy(run.net(run.x), run.labels) }
      }
      let clipped = gradients.clipped(toNorm: 1)
      run.optimizer.update(clipped, learningRate: rate)
      run.average.update(if: clipped.isFinite)
      return [loss, clipped.norm]
    }
    func inputs(_ step: Int) -> (key: RandomKey, rate: Tensor) {
      (RandomKey(seed: 2, step: UInt64(step)), Tensor(LearningRate(peak: 0.05, warmup: 5)(step)))
    }
    var repeated = RepeatedStep()
    let once = train { run, step in
      let (key, rate) = inputs(step)
      return repeated([key.tensor, rate], slots: run.slots) { graph(run, key, rate) }
    }
    #expect(repeated.graphCount == 2)
    let each = train { run, step in
      let (key, rate) = inputs(step)
      let results = graph(run, key, rate)
      evaluate(results, slots: run.slots)
      return results
    }
    #expect(once == each)
  }

  /// What is not committed is not trained: the gradient of a module follows its present values.
  @Test func gradientsComeInTheOrderOfTheParameters() {
    let layer = Linear(2, 1)
    layer.weight.value = Tensor([3, 4] as [Float], [1, 2])
    layer.bias!.value = Tensor([5] as [Float])
    let x = Tensor([1, 2, 3, 4] as [Float], [2, 2])
    let (value, gradients) = valueAndGradient(layer) { layer(x).sum() }
    #expect(value.item() == 46)
    #expect(gradients.tensors.map { $0.floats() } == [[4, 6], [2]])
    #expect(abs(gradients.norm.item() - 56.0.squareRoot()) < 1e-5)
  }
}
