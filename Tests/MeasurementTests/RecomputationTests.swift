import KalsaeCPUBackend
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
      #expect(Double(again.steps) > 1.15 * Double(plain.steps), "\(again.steps) steps, \(plain.steps)")
    }
  }
}
