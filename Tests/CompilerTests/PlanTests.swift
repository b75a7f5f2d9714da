import KalsaeCPUBackend
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors
import Testing

/// What plans contain, and that every optional pass changes speed only.
@Suite struct PlanTests {
  let backend = CPUBackend()

  /// One step of a small network: convolution, normalisation, activation, product, loss, update.
  struct Step {
    let kernel = Slot(numbers([8, 4, 3, 3], 1))
    let bias = Slot(numbers([8], 2))
    let scale = Slot(.ones([8]))
    let shift = Slot(.zeros([8]))
    let weight = Slot(numbers([5, 8], 3))
    let x = numbers([2, 6, 6, 4], 4)
    var parameters: [Slot] { [kernel, bias, scale, shift, weight] }

    func loss() -> Tensor {
      let h = conv2d(x, kernel.value, bias: bias.value, padding: 1)
      let n = silu(groupNorm(h, groups: 2, weight: scale.value, bias: shift.value))
      let y = matmul(n.mean([1, 2]), weight.value.mT)
      return square(y - 1).mean()
    }

    func gradients() -> [Tensor] {
      let (loss, gradients) = valueAndGradient(withRespectTo: parameters.map(\.value)) { self.loss() }
      return [loss] + gradients
    }
  }

  @Test func evaluatesAndReads() {
    Backends.with(backend) {
      let a = Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3])
      #expect((a * 2 + 1).floats() == [3, 5, 7, 9, 11, 13])
      #expect(matmul(a, a.mT).floats() == [14, 32, 32, 77])
      #expect(a.transposed(1, 0).floats() == [1, 4, 2, 5, 3, 6])
      #expect(a.sum().item() == 21)
      #expect(
        concatenated([a.sliced(1, 1..<3), a.sliced(1, 0..<1)], axis: 1).floats() == [2, 3, 1, 5, 6, 4])
    }
  }

  @Test func conversionsAreKeptUntilTheirSlotChanges() {
    Backends.with(backend) {
      let weight = Slot(numbers([5, 8], 3))
      evaluate([], slots: [weight])
      func squares() -> [Tensor] {
        [weight.value, weight.value.sliced(0, 1..<4).mT].map { square($0.cast(to: .bfloat16)) }
      }
      let plan = Evaluator.shared.plan(for: squares(), backend: backend)
      #expect(plan.keptBytes == 5 * 8 * 2, "one conversion for both")
      #expect(plan.steps.count == 2, "\(plan)")
      let plain = squares()
      Evaluator.shared.evaluate(plain, backend: backend, without: .keptConversions)
      let first = squares()
      for (a, b) in zip(first, plain) {
        for (a, b) in zip(a.floats(), b.floats()) { #expect(abs(a - b) <= 0.02 * b) }
      }
      weight.value = weight.value * 2
      evaluate([], slots: [weight])
      #expect(squares().map { $0.floats() } == first.map { ($0 * 4).floats() })
    }
  }

  @Test func nothingIsKeptOfASlotThatThePlanChanges() {
    Backends.with(backend) {
      let weight = Slot(numbers([5, 8], 3)), x = numbers([2, 8], 4)
      evaluate([x], slots: [weight])
      let y = Autocast.with(.bfloat16) { matmul(x, weight.value.mT) }
      weight.value = weight.value * 0.5
      #expect(Evaluator.shared.plan(for: [y], slots: [weight], backend: backend).keptBytes == 0)
    }
  }

  @Test func equalStructureIsOnePlan() {
    Backends.with(backend) {
      func graph(_ x: Double) -> Tensor { exp(Tensor([1, 2] as [Float]) * x) }
      let a = Evaluator.shared.plan(for: [graph(1)], backend: backend)
      let b = Evaluator.shared.plan(for: [graph(2)], backend: backend)
      #expect(a === b)
      let x = Tensor([1, 2] as [Float]), y = Tensor([1, 2] as [Float])
      let c = Evaluator.shared.plan(for: [x + y], backend: backend)
      let d = Evaluator.shared.plan(for: [x + x], backend: backend)
      #expect(c !== d)
    }
  }

  @Test func everyPassKeepsTheValues() {
    Backends.with(backend) {
      let step = Step()
      evaluate([], slots: step.parameters)
      let expected = step.gradients().map { $0.floats() }
      for excluded in OptionalPasses.each.map(\.pass) + [.all] {
        let tensors = step.gradients()
        Evaluator.shared.evaluate(tensors, backend: backend, without: excluded)
        for (tensor, values) in zip(tensors, expected) {
          for (a, b) in zip(tensor.floats(), values) { #expect(abs(a - b) <= 1e-5 * (1 + abs(b))) }
        }
      }
    }
  }

  @Test func convolutionTakesBiasAndNormalisationTakesActivation() {
    Backends.with(backend) {
      let step = Step()
      evaluate([], slots: step.parameters)
      let plan = Evaluator.shared.plan(for: step.gradients(), backend: backend)
      let ops = plan.steps.map { type(of: $0.op).name }
      #expect(
        plan.steps.contains { ($0.op as? PackedConvolution)?.convolution.hasBias == true }, "\(plan)")
      #expect(!ops.contains("Activation") && !ops.contains("ActivationGradient"), "\(plan)")
    }
  }

  /// A residual block that the time modulates, as in U-Nets, and its gradients.
  func residualBlock(_ dtype: DType) -> [Tensor] {
    func settled(_ tensors: [Tensor]) -> [Tensor] {
      evaluate(tensors)
      return tensors
    }
    let p = settled([
      numbers([8, 3, 3, 3], 1), numbers([8], 2), numbers([8, 8, 3, 3], 3), numbers([8], 4), numbers([8], 5),
      numbers([8], 6), numbers([8, 8, 3, 3], 7), numbers([8], 8), numbers([2, 8], 9),
    ])
    let input = settled([numbers([2, 6, 6, 3], 10)])[0]
    let (loss, gradients) = valueAndGradient(withRespectTo: p) {
      Autocast.with(dtype == .bfloat16 ? dtype : nil) {
        let x = conv2d(input, p[0], bias: p[1], padding: 1)
        var h = silu(groupNorm(x, groups: 2, weight: p[4], bias: p[5]))
        h = conv2d(h, p[2], bias: p[3], padding: 1)
        h = h + p[8].cast(to: h.dtype).expanded(1).expanded(1)
        h = conv2d(silu(groupNorm(h, groups: 2, weight: p[4], bias: p[5])), p[6], bias: p[7], padding: 1)
        return square((x + h).cast(to: .float32)).mean()
      }
    }
    return [loss] + gradients
  }

  @Test(arguments: [DType.float32, .bfloat16])
  func normalisationTakesTheTimeAndItsGradientSumsAndResiduals(_ dtype: DType) {
    Backends.with(backend) {
      let tensors = residualBlock(dtype)
      let plan = Evaluator.shared.plan(for: tensors, backend: backend)
      let norms = plan.steps.compactMap { $0.op as? GroupNormalization }
      let gradients = plan.steps.compactMap { $0.op as? GroupNormGradient }
      #expect(norms.filter(\.hasInputBias).count == 1 && norms.count == 2, "\(plan)")
      #expect(gradients.filter(\.hasInputBias).count == 1 && gradients.count == 2, "\(plan)")
      #expect(gradients.filter(\.hasResidual).count == 1, "\(plan)")
      // The bias of the convolution before the time, and the time's gradient, need no pass over the pictures.
      let reduced = plan.steps.filter { $0.op is Reduce && $0.inputs[0].shape.rank == 4 }
      #expect(reduced.count == 3, "\(plan)")

      evaluate(tensors)
      let plain = residualBlock(dtype)
      Evaluator.shared.evaluate(plain, backend: backend, without: .all)
      let tolerance: Float = dtype == .float32 ? 1e-5 : 2e-2
      for (a, b) in zip(tensors, plain) {
        let (a, b) = (a.floats(), b.floats())
        let size = b.reduce(0) { max($0, abs($1)) }
        for (a, b) in zip(a, b) { #expect(abs(a - b) <= tolerance * size) }
      }
    }
  }

  /// x + dropout(w relu(x)) and its gradient: masks are made inside of chains, and once only after a ReLU.
  @Test func dropoutKeepsNoMask() {
    Backends.with(backend) {
      let x = numbers([6, 50], 1), weight = numbers([50, 50], 2)
      evaluate([x, weight])
      func outputs() -> [Tensor] {
        Mode.training(RandomKey(seed: 3, step: 4)) {
          let (loss, gradients) = valueAndGradient(withRespectTo: [x, weight]) {
            let hidden = dropout(relu(matmul(x, weight)), probability: 0.25)
            return square(x + dropout(matmul(hidden, weight), probability: 0.5)).sum()
          }
          return [loss] + gradients
        }
      }
      let plan = Evaluator.shared.plan(for: outputs(), backend: backend)
      #expect(!plan.steps.contains { $0.op is Random }, "\(plan)")
      let codes = plan.steps.compactMap { $0.op as? FusedElementwise }.flatMap(\.steps).map(\.code)
      #expect(codes.contains(.gate(GatedScale(scale: 1 / 0.75))), "\(plan)")
      // The key is read where a mask is made: two forward, one back.
      let masked = plan.description.split(separator: "\n").filter { $0.contains("int32(2)") }
      #expect(masked.count == 3, "\(plan)")
      let fused = outputs(), plain = outputs(), reference = outputs()
      Evaluator.shared.evaluate(plain, backend: backend, without: .dropout)
      Evaluator.shared.evaluate(reference, backend: backend, without: .all)
      for (a, (b, c)) in zip(fused, zip(plain, reference)) {
        #expect(a.floats() == b.floats())
        let size = c.floats().reduce(0) { max($0, abs($1)) }
        for (a, c) in zip(a.floats(), c.floats()) { #expect(abs(a - c) <= 1e-5 * size) }
      }
    }
  }

  /// The gradient of a split is one concatenation, and that of a transposed weight needs no copy.
  @Test func gradientsOfPartsAreJoinedAndThoseOfTransposesComeTransposed() {
    Backends.with(backend) {
      let x = numbers([6, 20], 1), weight = Slot(numbers([48, 20], 2))
      evaluate([x], slots: [weight])
      func outputs() -> [Tensor] {
        let (loss, gradients) = valueAndGradient(withRespectTo: [x, weight.value]) {
          let parts = matmul(x, weight.value.mT).split(3, axis: -1)
          let low = weight.value.sliced(0, 0..<16), high = weight.value.sliced(0, 16..<48)
          return (sin(parts[0]) * parts[1] + cos(parts[2])).sum() + square(low).sum() + tanh(high).sum()
        }
        return [loss] + gradients
      }
      let plan = Evaluator.shared.plan(for: outputs(), backend: backend)
      let ops = plan.steps.map { type(of: $0.op).name }
      #expect(ops.count { $0 == "Concatenate" } == 2 && !ops.contains("Pad"), "\(plan)")
      #expect(!ops.contains("Copy"), "\(plan)")
      let joined = outputs(), plain = outputs()
      Evaluator.shared.evaluate(plain, backend: backend, without: .movements)
      for (a, b) in zip(joined, plain) {
        for (a, b) in zip(a.floats(), b.floats()) { #expect(abs(a - b) <= 1e-5 * max(1, abs(b))) }
      }
    }
  }

  /// A table that is read at the front and used at the end: its gradient is one tensor, into which rows are added.
  @Test func rowsAreScatteredIntoTheOtherGradientOfATable() {
    Backends.with(backend) {
      let table = Slot(numbers([30, 8], 1)), tokens = Tensor([3, 0, 29, 3] as [Int32])
      evaluate([tokens], slots: [table])
      func outputs() -> [Tensor] {
        let (loss, gradients) = valueAndGradient(withRespectTo: [table.value]) {
          let x = table.value.gathered(tokens)
          return square(matmul(tanh(x), table.value.mT)).mean() + table.value.gathered(tokens).sum()
        }
        return [loss] + gradients
      }
      let plan = Evaluator.shared.plan(for: outputs(), backend: backend)
      let scatters = plan.steps.compactMap { $0.op as? ScatterAdd }
      #expect(scatters.contains { $0.hasBase }, "\(plan)")
      let fused = outputs(), plain = outputs()
      Evaluator.shared.evaluate(plain, backend: backend, without: .movements)
      for (a, b) in zip(fused, plain) {
        for (a, b) in zip(a.floats(), b.floats()) { #expect(abs(a - b) <= 1e-5 * max(1, abs(b))) }
      }
    }
  }

  /// Parts that overlap or leave gaps stay sums.
  @Test func sumsOfOtherPartsStaySums() {
    Backends.with(backend) {
      let y = numbers([4, 3], 2)
      evaluate(y)
      let sums = [
        y.padded(low: [0, 0], high: [0, 6]) + y.padded(low: [0, 6], high: [0, 0]),
        y.padded(low: [0, 0], high: [0, 2]) + y.padded(low: [0, 2], high: [0, 0]),
        y.padded(low: [0, 0], high: [0, 3], value: 1) + y.padded(low: [0, 3], high: [0, 0], value: 1),
        y.padded(low: [0, 0], high: [4, 0]) + y.padded(low: [4, 0], high: [0, 0]),
      ]
      let values = y.floats()
      func at(_ row: Int, _ column: Int) -> Float { (0..<3).contains(column) ? values[row * 3 + column] : 0 }
      for row in 0..<4 {
        for column in 0..<9 {
          #expect(sums[0].floats()[row * 9 + column] == at(row, column) + at(row, column - 6))
        }
        for column in 0..<5 {
          #expect(sums[1].floats()[row * 5 + column] == at(row, column) + at(row, column - 2))
        }
        for column in 0..<6 {
          #expect(abs(sums[2].floats()[row * 6 + column] - at(row, column % 3) - 1) < 1e-6)
        }
      }
      #expect(sums[3].floats() == values + values)
    }
  }

  /// A residual stream in float32 with products in bfloat16: normalisations write what the products read, and add the
  /// stream's gradient to their own.
  @Test func layerNormsStoreWhatIsReadOfThem() {
    Backends.with(backend) {
      let x = numbers([2, 9, 16], 1), scale = Slot(numbers([16], 2) * 0.1 + 1), shift = Slot(numbers([16], 3))
      let weights = [4, 5].map { Slot(numbers([16, 16], $0)) }
      evaluate([x], slots: weights + [scale, shift])
      func outputs() -> [Tensor] {
        let (loss, gradients) = valueAndGradient(withRespectTo: [x] + weights.map(\.value)) {
          Autocast.with(.bfloat16) {
            var stream = x
            for weight in weights {
              let normal = layerNorm(stream, weight: scale.value, bias: shift.value)
              stream = stream + matmul(normal, weight.value).cast(to: .float32)
            }
            let last = layerNorm(stream, weight: scale.value, bias: shift.value)
            return square(last + matmul(last, weights[0].value).cast(to: .float32)).mean()
          }
        }
        return [loss] + gradients
      }
      let plan = Evaluator.shared.plan(for: outputs(), backend: backend)
      let norms = plan.steps.compactMap { $0.op as? LayerNormalization }
      #expect(norms.count { $0.result == .bfloat16 } == 2 && norms.count { $0.isAlsoRounded } == 1, "\(plan)")
      #expect(norms.count { $0.hasResidual && $0.storesSum } == 2, "\(plan)")
      let gradients = plan.steps.compactMap { $0.op as? LayerNormGradient }
      #expect(gradients.count { $0.hasResidual } == 2 && gradients.count { $0.isAlsoRounded } == 2, "\(plan)")
      let fused = outputs(), plain = outputs()
      Evaluator.shared.evaluate(plain, backend: backend, without: .normalizationOperands)
      for (a, b) in zip(fused, plain) {
        let size = b.floats().reduce(0) { max($0, abs($1)) }
        for (a, b) in zip(a.floats(), b.floats()) { #expect(abs(a - b) <= 0.01 * size) }
      }
    }
  }

  /// Products with a bias give a normalisation bfloat16, which it adds to the stream in float32.
  @Test func layerNormsAddProductsAsTheyAre() {
    Backends.with(backend) {
      let x = numbers([2, 9, 16], 1), scale = Slot(numbers([16], 2) * 0.1 + 1), shift = Slot(numbers([16], 3))
      let weight = Slot(numbers([16, 16], 4)), bias = Slot(numbers([16], 5))
      evaluate([x], slots: [scale, shift, weight, bias])
      func outputs() -> [Tensor] {
        Autocast.with(.bfloat16) {
          let product = matmul(x, weight.value) + bias.value.cast(to: .bfloat16)
          let stream = x + product.cast(to: .float32)
          // What reads a part of the stream stands before the normalisation.
          let part = stream.sliced(1, 8..<9) * 2
          return [part, layerNorm(stream, weight: scale.value, bias: shift.value)]
        }
      }
      let plan = Evaluator.shared.plan(for: outputs(), backend: backend)
      let norm = plan.steps.first { $0.op is LayerNormalization }!
      #expect(norm.inputs[0].spec.dtype == .bfloat16 && norm.inputs[3].spec.dtype == .float32, "\(plan)")
      #expect((norm.op as? LayerNormalization)?.storesSum == true, "\(plan)")
      let fused = outputs(), plain = outputs()
      Evaluator.shared.evaluate(plain, backend: backend, without: .normalizationOperands)
      for (a, b) in zip(fused, plain) {
        let size = b.floats().reduce(0) { max($0, abs($1)) }
        for (a, b) in zip(a.floats(), b.floats()) { #expect(abs(a - b) <= 0.01 * size) }
      }
    }
  }

  @Test func nothingIsOverwrittenThatTheSameStepReadsOtherwise() {
    Backends.with(backend) {
      let a = numbers([64, 64], 1)
      evaluate(a)
      let values = matmul(a, a).floats()
      // The product is the sum's operand twice: as it is, and through a transposed view.
      let product = matmul(a, a)
      let sum = product + product.mT
      for (index, value) in sum.floats().enumerated() {
        let (i, j) = (index / 64, index % 64)
        #expect(value == values[i * 64 + j] + values[j * 64 + i])
      }
    }
  }

  @Test func slotsAreUpdatedInPlaceAndOldVersionsAreNotRead() {
    Backends.with(backend) {
      let slot = Slot(Tensor([1, 2, 3] as [Float]))
      slot.settle()
      for expected in [[2, 4, 6], [4, 8, 12]] as [[Float]] {
        slot.value = slot.value * 2
        slot.settle()
        #expect(slot.value.floats() == expected)
      }
      #expect(slot.version == 3)
      // Another reader of the old value in the same plan sees the old value.
      let old = slot.value + 0
      slot.value = slot.value * 10
      evaluate(old, slots: [slot])
      #expect(old.floats() == [4, 8, 12])
      #expect(slot.value.floats() == [40, 80, 120])
    }
  }

  @Test func checkpointedGradientsAreThePlainOnes() {
    Backends.with(backend) {
      let step = Step()
      evaluate([], slots: step.parameters)
      let plain = step.gradients().map { $0.floats() }
      let (loss, gradients) = valueAndGradient(withRespectTo: step.parameters.map(\.value)) {
        checkpointed { step.loss() }
      }
      for (tensor, values) in zip([loss] + gradients, plain) {
        for (a, b) in zip(tensor.floats(), values) { #expect(abs(a - b) <= 1e-5 * (1 + abs(b))) }
      }
    }
  }
}

/// Different, reproducible numbers in [-1, 1].
func numbers(_ shape: Shape, _ seed: Double) -> Tensor {
  let places = Tensor.iota(shape.count, dtype: .float32).reshaped(shape)
  return sin(places * 1.7 + seed)
}
