import KalsaeCPUBackend
import KalsaeCompiler
import KalsaeMeasurement
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import Testing

/// Blocks that are computed again for the gradient change what training keeps in memory, and nothing else.
@Suite(.serialized) struct RecomputationTests {
  /// With dropout, whose masks are drawn again.
  @Test(arguments: SmallTraining.Architecture.allCases, [DType.float32, .bfloat16])
  func gradientsAreThePlainOnes(_ architecture: SmallTraining.Architecture, _ precision: DType) {
    let backend = CPUBackend(threads: 2)
    Backends.with(backend) {
      func results(recomputing: Bool) -> (values: [Tensor], steps: Int) {
        let training = SmallTraining(architecture, precision: precision, recomputes: recomputing)
        let (loss, gradients) = training.valueAndGradient(0)
        let values = [loss] + gradients.tensors
        let steps = Evaluator.shared.plan(for: values, backend: backend).steps.count
        evaluate(values)
        return (values, steps)
      }
      let plain = results(recomputing: false), again = results(recomputing: true)
      expectEqual(again.values, plain.values, within: precision == .float32 ? 5e-6 : 0.01, "\(architecture)")
      // Two of them compute an activation again in any case.
      let least = [.gpt2, .vit].contains(architecture) ? 1.13 : 1.15
      #expect(Double(again.steps) > least * Double(plain.steps), "\(again.steps) steps, \(plain.steps)")
    }
  }

  /// Of what a step keeps beside weights, gradients and moments less than half is left.
  @Test(arguments: [Workload.ddpmTrain, .gpt2Train, .transformerTrain], [DType.float32, .bfloat16])
  func activationsAreHalvedAtLeast(_ workload: Workload, _ precision: DType) {
    let plans = [false, true].map { WorkloadCosts(workload, precision, recomputes: $0).plan }
    // An update writes parameters and two moments, each as large as the gradients.
    let updates = plans[0].steps.filter { $0.op is AdamUpdate }
    let gradients = updates.flatMap(\.outputs).reduce(0) { $0 + $1.spec.byteCount } / 3
    let activations = plans.map { $0.arenaBytes - gradients }
    #expect(gradients > 0 && activations[1] > 0)
    #expect(2 * activations[1] < activations[0], "\(activations) bytes")
  }
}
