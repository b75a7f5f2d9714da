import KalsaeCPUBackend
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors
import Testing

/// In training, losses and gradients of a linear cross-entropy come from one kernel.
@Suite struct SharedLossTests {
  let backend = CPUBackend()
  let x = numbers([6, 4], 1), weight = numbers([9, 4], 2)
  let labels = Tensor([3, 0, 8, 3, 1, 5] as [Int32])

  func kernels(_ wanted: [Tensor]) -> [String] {
    Backends.with(backend) {
      Evaluator.shared.plan(for: wanted, backend: backend).steps.map(\.kernelName).filter {
        $0.contains("cross-entropy")
      }
    }
  }

  @Test func oneKernelInTraining() {
    let (loss, gradients) = valueAndGradient(withRespectTo: [x, weight]) {
      linearCrossEntropy(x, weight: weight, labels: labels)
    }
    // The loss is wanted twice over: as it is, and in what depends on it.
    let wanted = [loss, exp(loss) + 1] + gradients
    #expect(kernels(wanted) == ["LinearCrossEntropyGradient [blocked cross-entropy gradient]"])
    let plain = valueAndGradient(withRespectTo: [x, weight]) {
      crossEntropy(matmul(x, weight.mT), labels)
    }
    Backends.with(backend) {
      expectClose(wanted, [plain.value, exp(plain.value) + 1] + plain.gradients)
    }
  }

  @Test func twoKernelsWhereTheGradientDependsOnTheLoss() {
    let (loss, gradients) = valueAndGradient(withRespectTo: [x, weight]) {
      square(linearCrossEntropy(x, weight: weight, labels: labels))
    }
    #expect(kernels([loss] + gradients).count == 2)
    let plain = valueAndGradient(withRespectTo: [x, weight]) {
      square(crossEntropy(matmul(x, weight.mT), labels))
    }
    Backends.with(backend) { expectClose([loss] + gradients, [plain.value] + plain.gradients) }
  }

  @Test func otherLabelsAreOtherLosses() {
    let others = Tensor([0, 1, 2, 3, 4, 5] as [Int32])
    let (loss, gradients) = valueAndGradient(withRespectTo: [x]) {
      linearCrossEntropy(x, weight: weight, labels: labels)
    }
    let other = linearCrossEntropy(x, weight: weight, labels: others)
    #expect(kernels([loss, other] + gradients).count == 2)
    Backends.with(backend) { expectClose([other], [crossEntropy(matmul(x, weight.mT), others)]) }
  }

  /// Measuring needs no gradient.
  @Test func lossesAlone() {
    let loss = linearCrossEntropy(x, weight: weight, labels: labels)
    #expect(kernels([loss]) == ["LinearCrossEntropy [blocked cross-entropy]"])
  }

  /// Logits of 40,000 x 2,048 numbers are 328 MB; what lives at once is a block of at most 128 MiB, and small things.
  @Test func logitsNeverLiveInFull() {
    let (rows, classes) = (40_000, 2048)
    let x = Tensor.zeros([rows, 8]), weight = Tensor.zeros([classes, 8]),
      labels = Tensor.zeros([rows], dtype: .int32)
    let (loss, gradients) = valueAndGradient(withRespectTo: [x, weight]) {
      linearCrossEntropy(x, weight: weight, labels: labels)
    }
    Backends.with(backend) {
      let plan = Evaluator.shared.plan(for: [loss] + gradients, backend: backend)
      #expect(plan.arenaBytes < 140 << 20)
      #expect(plan.arenaBytes > 100 << 20, "the block is in it")
    }
  }

  private func expectClose(_ actual: [Tensor], _ expected: [Tensor]) {
    for (a, e) in zip(actual, expected) {
      #expect(zip(a.floats(), e.floats()).allSatisfy { abs($0 - $1) <= 1e-5 * (1 + abs($1)) })
    }
  }
}
