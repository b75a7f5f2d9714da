import KalsaeCPUBackend
import KalsaeRuntime
import KalsaeTensors
import Testing

/// A repeated step gives what building its graph each time gives, and stops building as soon as it may.
@Suite struct RepeatedStepTests {
  let backend = CPUBackend(threads: 2)
  let weight = Slot(Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3]))
  let total = Slot(Tensor.zeros([1, 3]))

  /// Runs `body` with a step y = x w scale, which also adds y to `total`; the second closure counts the graphs built.
  private func run(_ body: (_ step: (Float, Double) -> [Float], _ graphs: () -> Int) -> Void) {
    var repeated = RepeatedStep(), graphs = 0
    Backends.with(backend) {
      evaluate([], slots: [weight, total])
      body(
        { value, scale in
          let x = Tensor([value, value + 1], [1, 2]), factor = Tensor(scale)
          return repeated([x, factor], slots: [total]) {
            graphs += 1
            let y = matmul(x, weight.value) * factor
            total.value = total.value + y
            return [y]
          }[0].floats()
        }, { graphs })
    }
  }

  private func expected(_ x: Float, _ scale: Float, weights: [Float] = [1, 2, 3, 4, 5, 6]) -> [Float] {
    (0..<3).map { (x * weights[$0] + (x + 1) * weights[3 + $0]) * scale }
  }

  @Test func twoEqualGraphsAreEnough() {
    run { step, graphs in
      var sum: [Float] = [0, 0, 0]
      for value in 0..<6 {
        let scale = Double(value) / 2
        #expect(step(Float(value), scale) == expected(Float(value), Float(scale)))
        sum = zip(sum, expected(Float(value), Float(scale))).map(+)
        #expect(total.value.floats() == sum)
        #expect(graphs() == min(value + 1, 2))
      }
    }
  }

  /// What is assigned to may be another slot in each call, as a new text's memory is; only one that the graph reads
  /// otherwise, or one of another shape, makes another graph.
  @Test func otherSlotsAreAssignedTo() {
    let second = Slot(Tensor([10, 20, 30] as [Float], [1, 3])), wide = Slot(Tensor.zeros([4, 3]))
    var repeated = RepeatedStep(), graphs = 0
    Backends.with(backend) {
      evaluate([], slots: [weight, total, second, wide])
      func step(_ value: Float, _ slot: Slot) -> [Float] {
        let x = Tensor([value, value + 1], [1, 2])
        return repeated([x], slots: [slot]) {
          graphs += 1
          let y = matmul(x, weight.value)
          slot.value = slot.value + y
          return [y]
        }[0].floats()
      }
      for (count, slot) in [(1, total), (2, second), (2, total), (2, second), (3, wide)] {
        let before = slot.value.floats()
        #expect(step(2, slot) == expected(2, 1))
        let rows = before.count / 3, added = (0..<rows).flatMap { _ in expected(2, 1) }
        #expect(slot.value.floats() == zip(before, added).map(+))
        #expect(graphs == count)
      }
      let shared = Slot(Tensor.zeros([1, 3]))
      evaluate([], slots: [shared])
      var reading = RepeatedStep()
      graphs = 0
      for slot in [total, second, shared, total] {
        let before = shared.value.floats(), own = slot.value.floats()
        let x = Tensor(1)
        _ = reading([x], slots: [slot]) {
          graphs += 1
          slot.value = slot.value + shared.value + x
          return [slot.value]
        }
        #expect(slot.value.floats() == zip(own, before).map { $0 + $1 + 1 })
      }
      // The third is read and assigned to, which nobody takes for the first two's graph, nor the fourth for the third's.
      #expect(graphs == 4)
    }
  }

  /// As between generations while a model is trained: what is committed is read, what waits is part of the graph.
  @Test func assignmentsToWhatItReadsAreSeen() {
    run { step, graphs in
      for value in 0..<3 { _ = step(Float(value), 1) }
      #expect(graphs() == 2)
      weight.value = weight.value * 2
      weight.settle()
      #expect(step(5, 1) == expected(5, 2))
      #expect(graphs() == 2)
      weight.value = weight.value * 2
      #expect(step(5, 1) == expected(5, 4))
      #expect(graphs() == 3)
      weight.settle()
      for _ in 0..<3 { #expect(step(5, 1) == expected(5, 4)) }
      #expect(graphs() == 5)
      total.value = Tensor.zeros([1, 3])
      #expect(step(1, 1) == expected(1, 4))
      #expect(total.value.floats() == expected(1, 4))
      #expect(graphs() == 6)
    }
  }

  /// A slot whose value waited when the graph was built is no input of it: committing it must not apply it twice.
  @Test func waitingValuesAreNotRepeated() {
    run { step, graphs in
      weight.value = weight.value * 2
      for _ in 0..<3 { #expect(step(3, 1) == expected(3, 2)) }
      #expect(graphs() == 3)
      weight.settle()
      for _ in 0..<3 { #expect(step(3, 1) == expected(3, 2)) }
      #expect(graphs() == 5)
    }
  }

  /// What changes and is no input: the graph is built each time.
  @Test func otherNumbersInTheGraphAreNeverMistakenForTheSame() {
    var repeated = RepeatedStep()
    Backends.with(backend) {
      for index in 0..<5 {
        let x = Tensor([Float(index)])
        let scalar = repeated([x]) { [x * Tensor(Double(index))] }[0]
        #expect(scalar.floats() == [Float(index * index)])
      }
      for index in 0..<5 {
        let x = Tensor([Float(index)])
        #expect(repeated([x]) { [x + Tensor([Float(index)])] }[0].floats() == [Float(2 * index)])
      }
      for index in 1..<6 {
        let x = Tensor([Float](repeating: 1, count: index))
        #expect(repeated([x]) { [x.sum()] }[0].item() == Double(index))
      }
    }
  }

  @Test func precisionBackendAndGradientsAreSeen() {
    var repeated = RepeatedStep(), graphs = 0
    func step(_ value: Float) -> [Float] {
      let x = Tensor([value, 1], [1, 2])
      return repeated([x]) {
        graphs += 1
        return [matmul(Autocast.apply(x), Autocast.apply(weight.value)).cast(to: .float32)]
      }[0].floats()
    }
    Backends.with(backend) {
      evaluate([], slots: [weight])
      let value: Float = 1 + 1 / 1024
      for _ in 0..<3 { #expect(step(value)[0] == value + 4) }
      // bfloat16 has eight bits.
      Autocast.with(.bfloat16) { for _ in 0..<3 { #expect(step(value)[0] == 5) } }
      // What was known in float32 still holds.
      for _ in 0..<3 { #expect(step(value)[0] == value + 4) }
      #expect(graphs == 4)
      Recomputation.with(true) { for _ in 0..<3 { #expect(step(value)[0] == value + 4) } }
      #expect(graphs == 6)
      Backends.with(CPUBackend(threads: 1)) { #expect(step(value)[0] == value + 4) }
      #expect(graphs == 7)
    }
  }

  /// As batches of sentences have: each shape is known by itself.
  @Test func shapesTakeTurns() {
    var repeated = RepeatedStep(), graphs = 0
    Backends.with(backend) {
      for index in 0..<12 {
        let x = Tensor([Float](repeating: Float(index), count: index % 3 + 1))
        let sum = repeated([x]) {
          graphs += 1
          return [x.sum()]
        }[0]
        #expect(sum.item() == Double(index * (index % 3 + 1)))
        #expect(graphs == min(index + 1, 6))
      }
    }
  }

  /// As in sampling: each step takes what the last one left.
  @Test func whatWasComputedIsAnInput() {
    var repeated = RepeatedStep(), graphs = 0
    Backends.with(backend) {
      var x = Tensor([1, 2] as [Float])
      for _ in 0..<5 {
        let y = repeated([x]) {
          graphs += 1
          return [x * 2]
        }[0]
        x = y + 1
        evaluate(x)
      }
      #expect(x.floats() == [63, 95])
      #expect(graphs == 2)
    }
  }

  /// Of an op with several outputs, and the same one twice.
  @Test func someOutputsAreEnough() {
    var repeated = RepeatedStep(), graphs = 0
    Backends.with(backend) {
      for index in 0..<4 {
        let x = Tensor([Float(index), 1, 2, 5], [2, 2])
        let results = repeated([x]) {
          graphs += 1
          let y = layerNorm(x, weight: .ones([2]), bias: .zeros([2]), epsilon: 1e-5)
          return [y.sum(), y, y]
        }
        #expect(results.count == 3 && results[1].shape == [2, 2])
        #expect(results[1].floats() == results[2].floats())
        #expect(abs(results[1].floats()[2] + 1) < 1e-4)
      }
      #expect(graphs == 2)
    }
  }

  /// One tensor in two places says nothing about two.
  @Test func equalInputsAreNotMistakenForOne() {
    var repeated = RepeatedStep()
    Backends.with(backend) {
      for index in 0..<5 {
        let x = Tensor([Float(index)]), y = index < 3 ? x : Tensor([10 as Float])
        let sum = repeated([x, y]) { [x + y] }[0]
        #expect(sum.floats() == [Float(index) + (index < 3 ? Float(index) : 10)])
      }
    }
  }

  /// Random numbers go on from call to call there.
  @Test func nothingIsRepeatedWithinTraining() {
    var repeated = RepeatedStep(), graphs = 0
    let x = Tensor([Float](repeating: 1, count: 256))
    Backends.with(backend) {
      let draws = Mode.training(RandomKey(seed: 1)) {
        (0..<4).map { _ in
          repeated([x]) {
            graphs += 1
            return [dropout(x, probability: 0.5)]
          }[0].floats()
        }
      }
      #expect(Set(draws).count == 4)
      #expect(graphs == 4)
    }
  }

  /// The plan is the step's own: the cache may lose it.
  @Test func aPlanThatTheCacheHasLostStillRuns() {
    run { step, graphs in
      for value in 0..<2 { _ = step(Float(value), 1) }
      for size in 1...600 { _ = (Tensor([Float](repeating: 1, count: size)) + 1).floats() }
      #expect(step(7, 3) == expected(7, 3))
      #expect(graphs() == 2)
    }
  }
}
