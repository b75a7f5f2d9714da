import KalsaeCPUBackend
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors
import Testing

/// The products of plans: what they store, and the weights that are kept for them.
@Suite struct ProductPlanTests {
  let backend = CPUBackend()

  /// As in the residual stream of a Transformer, whose other products read the sum in bfloat16 again.
  @Test func productsInBFloat16AreStoredUnroundedIntoAFloat32Stream() {
    Backends.with(backend) {
      let w = numbers([48, 80], 3).cast(to: .bfloat16), bias = numbers([48], 5)
      let x = numbers([2, 7, 80], 4).cast(to: .bfloat16), stream = numbers([2, 7, 48], 6)
      evaluate([w, bias, x, stream])
      func sums() -> [Tensor] {
        let y = (matmul(x, w.mT) + bias.cast(to: .bfloat16)).cast(to: .float32) + stream
        return [y, square(y.cast(to: .bfloat16))]
      }
      let plan = Evaluator.shared.plan(for: sums(), backend: backend)
      let sum = plan.steps.first { ($0.op as? FusedMatMul)?.hasResidual == true }
      #expect(sum?.outputs[0].dtype == .float32, "\(plan)")
      let expected = matmul(x.cast(to: .float32), w.cast(to: .float32).mT) + bias + stream
      let fused = sums(), plain = sums()
      Evaluator.shared.evaluate(plain, backend: backend, without: .epilogues)
      for (index, b) in expected.floats().enumerated() {
        #expect(abs(fused[0].floats()[index] - b) <= 1e-4 * max(1, abs(b)))
        #expect(abs(plain[0].floats()[index] - b) <= 0.05 * max(1, abs(b)))
      }
    }
  }

  /// A residual in bfloat16 is added in bfloat16, wherever the sum goes.
  @Test func aSumOfTwoProductsInBFloat16IsWidenedAfterwards() {
    Backends.with(backend) {
      let w = numbers([48, 80], 3).cast(to: .bfloat16), x = numbers([7, 80], 4).cast(to: .bfloat16)
      let v = numbers([32, 48], 5).cast(to: .bfloat16), z = numbers([7, 32], 6).cast(to: .bfloat16)
      evaluate([w, x, v, z])
      let y = exp((matmul(x, w.mT) + matmul(z, v)).cast(to: .float32) * 0.1)
      func wide(_ x: Tensor) -> Tensor { x.cast(to: .float32) }
      let expected = exp((matmul(wide(x), wide(w).mT) + matmul(wide(z), wide(v))) * 0.1)
      for (a, b) in zip(y.floats(), expected.floats()) { #expect(abs(a - b) <= 0.02 * b) }
    }
  }

  /// Products in bfloat16 with a weight as it lies, transposed, and a part of it; with what may follow them.
  @Test func weightsArePackedUntilTheyChange() {
    Backends.with(backend) {
      let weight = Slot(numbers([48, 80], 3)), bias = numbers([48], 5)
      let x = numbers([7, 80], 4), residual = numbers([3, 48], 6), z = numbers([3, 48], 7)
      evaluate([x, bias, residual, z], slots: [weight])
      func products() -> [Tensor] {
        Autocast.with(.bfloat16) {
          [
            gelu(matmul(x, weight.value.mT) + bias.cast(to: .bfloat16)),
            matmul(x.sliced(0, 1..<4), weight.value.mT) + residual.cast(to: .bfloat16),
            matmul(z, weight.value), matmul(x, weight.value.sliced(0, 16..<32).mT),
          ]
        }
      }
      func values() -> [[Float]] { products().map { $0.floats() } }
      let plan = Evaluator.shared.plan(for: products(), backend: backend)
      let packed = plan.steps.filter { $0.op is PackedMatMul }.count
      #expect(packed == (Machine.hasFastBFloat16 ? 4 : 0), "\(plan)")
      for _ in 0..<2 {
        let plain = products()
        Evaluator.shared.evaluate(plain, backend: backend, without: .all)
        for (a, b) in zip(values(), plain) {
          let b = b.floats(), size = b.reduce(0) { max($0, abs($1)) }
          for (a, b) in zip(a, b) { #expect(abs(a - b) <= 0.01 * size) }
        }
        weight.value = weight.value * -0.5
        evaluate([], slots: [weight])
      }
    }
  }

  /// Strided rows and columns may get another kernel, which would read the packed weights wrongly.
  @Test func packedWeightsAreReadAsTheyArePacked() {
    Backends.with(backend) {
      let weight = Slot(numbers([64, 64], 3))
      let x = numbers([64, 256], 4).cast(to: .bfloat16), y = numbers([256, 96], 5).cast(to: .bfloat16)
      evaluate([x, y], slots: [weight])
      func products() -> [Tensor] {
        let w = weight.value.cast(to: .bfloat16).mT
        return [x.mT, y.sliced(1, 16..<80), y.reshaped(64, 4, 96).at(1, axis: 1).sliced(1, 0..<64)].map {
          matmul($0, w)
        }
      }
      let packed = products(), plain = products()
      if Machine.hasFastBFloat16 {
        let plan = Evaluator.shared.plan(for: packed, backend: backend)
        #expect(plan.steps.filter { $0.op is PackedMatMul }.count == 3, "\(plan)")
      }
      evaluate(packed)
      Evaluator.shared.evaluate(plain, backend: backend, without: .packedWeights)
      expectNear(packed, plain, 0.01)
    }
  }

  /// One row, as in decoding, goes another way than many; both are the same product.
  @Test(arguments: [DType.float32, .bfloat16])
  func fewRowsAreMultipliedWithTheMatrixAsItLies(_ dtype: DType) {
    Backends.with(backend) {
      let w = numbers([260, 300], 1).cast(to: dtype), bias = numbers([260], 2)
      let x = numbers([8, 300], 3).cast(to: dtype), residual = numbers([8, 260], 4).cast(to: dtype)
      evaluate([w, bias, x, residual])
      func layer(_ rows: Range<Int>) -> Tensor {
        matmul(x.sliced(0, rows), w.mT) + bias.cast(to: dtype) + residual.sliced(0, rows)
      }
      let one = layer(2..<3), all = layer(0..<8)
      let plan = Evaluator.shared.plan(for: [one], backend: backend)
      #expect(plan.steps.contains { $0.kernel.implementation == "rows" }, "\(plan)")
      let tolerance: Float = dtype == .float32 ? 1e-4 : 0.1
      for (a, b) in zip(one.floats(), all.sliced(0, 2..<3).floats()) {
        #expect(abs(a - b) <= tolerance * max(1, abs(b)))
      }
    }
  }

  /// Rows of a weight that the plan changes are converted as they lie, and transposed as a view.
  @Test func partsOfWeightsAreConvertedAsTheyLie() {
    Backends.with(backend) {
      let x = numbers([6, 20], 1), weight = Slot(numbers([48, 20], 2))
      evaluate([x], slots: [weight])
      func product() -> Tensor {
        Autocast.with(.bfloat16) { matmul(x, weight.value.sliced(0, 16..<48).mT) }
      }
      let y = product()
      weight.value = weight.value * 0.5
      let plan = Evaluator.shared.plan(for: [y], slots: [weight], backend: backend)
      let casts = plan.steps.filter { $0.outputs.first?.dtype == .bfloat16 && $0.op is any ElementwiseOp }
      #expect(casts.contains { $0.outputs[0].shape == [32, 20] }, "\(plan)")
      #expect(!casts.contains { $0.outputs[0].shape == [20, 32] }, "\(plan)")
      evaluate([y], slots: [weight])
      let plain = product()
      Evaluator.shared.evaluate([plain], backend: backend, without: .movements)
      for (a, b) in zip(y.floats(), plain.floats()) { #expect(abs(a - 2 * b) <= 0.02 * max(1, abs(a))) }
    }
  }

  /// In float32 a matrix that lies transposed is kept in a second copy for many rows, others are read as they lie.
  @Test func transposedWeightsArePackedForManyRows() {
    Backends.with(backend) {
      let weight = Slot(numbers([48, 80], 3)), bias = numbers([48], 5)
      let x = numbers([70, 80], 4), z = numbers([70, 48], 7)
      evaluate([x, bias, z], slots: [weight])
      func products() -> [Tensor] {
        [
          gelu(matmul(x, weight.value.mT) + bias), matmul(x, weight.value.sliced(0, 16..<32).mT),
          matmul(x.sliced(0, 1..<60), weight.value.mT), matmul(z, weight.value),
        ]
      }
      for _ in 0..<2 {
        let packed = products(), plain = products()
        let plan = Evaluator.shared.plan(for: packed, backend: backend)
        #expect(plan.steps.filter { $0.op is PackedMatMul }.count == 2, "\(plan)")
        evaluate(packed)
        Evaluator.shared.evaluate(plain, backend: backend, without: .packedWeights)
        expectNear(packed, plain, 1e-5)
        weight.value = weight.value * -0.5
        evaluate([], slots: [weight])
      }
    }
  }

  @Test func plansThatExtendACacheKeepOneCopyOfTheirWeights() {
    Backends.with(backend) {
      let weight = Slot(numbers([48, 80], 3)), cache = Slot(Tensor.zeros([128, 48])),
        x = numbers([70, 80], 4)
      evaluate([x], slots: [weight, cache])
      cache.value = cache.value.updated(matmul(x, weight.value.mT), at: Tensor(0, .int32), axis: 0)
      let plan = Evaluator.shared.plan(for: [], slots: [cache], backend: backend)
      #expect(plan.keptBytes == 0, "\(plan)")
      evaluate([], slots: [cache])
    }
  }

  /// Into a cache that nothing else reads; else the old contents are read first.
  @Test func cachesAreExtendedWhenTheirRowsAreAtHand() {
    Backends.with(backend) {
      let weight = Slot(numbers([48, 80], 3)), cache = Slot(Tensor.zeros([128, 48])),
        x = numbers([70, 80], 4)
      evaluate([x], slots: [weight, cache])
      for isRead in [false, true] {
        let old = cache.value, rows = matmul(x, weight.value.mT)
        let others = exp(matmul(rows, weight.value)).sum()
        let wanted = isRead ? others + old.sum() : others
        cache.value = old.updated(rows, at: Tensor(isRead ? 50 : 0, .int32), axis: 0)
        let plan = Evaluator.shared.plan(for: [wanted], slots: [cache], backend: backend)
        let update = plan.steps.firstIndex { $0.op is UpdateSlice }!
        let exponential = plan.steps.firstIndex { $0.op is FusedElementwise || $0.op is Unary }!
        #expect((update < exponential) == !isRead, "\(plan)")
        evaluate([wanted], slots: [cache])
      }
      let rows = matmul(x, weight.value.mT).floats(), stored = cache.value.floats()
      #expect(
        Array(stored[..<(50 * 48)]) == Array(rows[..<(50 * 48)])
          && Array(stored[(50 * 48)..<(120 * 48)]) == rows)
    }
  }

  /// One to four rows of bfloat16 read packed weights by a kernel of their own.
  @Test(.enabled(if: Machine.hasFastBFloat16), arguments: [1, 3, 4, 5])
  func fewRowsReadPackedWeights(_ rows: Int) {
    Backends.with(backend) {
      let weight = Slot(numbers([130, 81], 3)), bias = numbers([130], 5)
      let x = numbers([rows, 81], 4), residual = numbers([rows, 130], 6)
      evaluate([x, bias, residual], slots: [weight])
      func product() -> Tensor {
        Autocast.with(.bfloat16) { matmul(x, weight.value.mT) + bias.cast(to: .bfloat16) }
          .cast(to: .float32) + residual
      }
      let plan = Evaluator.shared.plan(for: [product()], backend: backend)
      let step = plan.steps.first { $0.op is PackedMatMul }
      #expect((step?.kernel.implementation == "rows") == (rows <= 4), "\(plan)")
      let packed = product(), plain = product()
      evaluate(packed)
      Evaluator.shared.evaluate([plain], backend: backend, without: .all)
      let b = plain.floats(), size = b.reduce(0) { max($0, abs($1)) }
      for (a, b) in zip(packed.floats(), b) { #expect(abs(a - b) <= 0.01 * size) }
    }
  }

  /// With what may follow a convolution, for a part of the kernel, which is read as it lies, and for other batch sizes.
  @Test(arguments: [DType.float32, .bfloat16])
  func kernelsOfConvolutionsArePackedUntilTheyChange(_ dtype: DType) {
    Backends.with(backend) {
      let kernel = Slot(numbers([48, 32, 3, 3], 3)), bias = numbers([48], 5)
      let x = numbers([4, 8, 8, 32], 4), residual = numbers([3, 8, 8, 48], 6).cast(to: dtype)
      evaluate([x, bias, residual], slots: [kernel])
      func convolutions() -> [Tensor] {
        Autocast.with(dtype) {
          [
            silu(conv2d(x, kernel.value, bias: bias, padding: 1)),
            conv2d(x.sliced(0, 1..<4), kernel.value, bias: bias, padding: 1) + residual,
            conv2d(x.sliced(0, 1..<2), kernel.value, padding: 1),
            conv2d(x, kernel.value.sliced(0, 16..<32), padding: 1),
          ]
        }
      }
      let count = dtype == .float32 || Machine.hasFastBFloat16 ? 3 : 0
      for _ in 0..<2 {
        let packed = convolutions(), plain = convolutions()
        let plan = Evaluator.shared.plan(for: packed, backend: backend)
        #expect(plan.steps.filter { $0.op is PackedConvolution }.count == count, "\(plan)")
        evaluate(packed)
        Evaluator.shared.evaluate(plain, backend: backend, without: .packedWeights)
        expectNear(packed, plain, dtype == .float32 ? 1e-5 : 0.01)
        kernel.value = kernel.value * -0.5
        evaluate([], slots: [kernel])
      }
    }
  }

  /// Each tensor within `tolerance` of the largest element of the other.
  private func expectNear(_ x: [Tensor], _ y: [Tensor], _ tolerance: Float) {
    for (x, y) in zip(x, y) {
      let y = y.floats(), size = y.reduce(0) { max($0, abs($1)) }
      for (a, b) in zip(x.floats(), y) { #expect(abs(a - b) <= tolerance * size) }
    }
  }
}
