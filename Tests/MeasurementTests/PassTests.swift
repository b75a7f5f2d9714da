import KalsaeCPUBackend
import KalsaeCompiler
import KalsaeNeural
import KalsaeReferenceBackend
import KalsaeRuntime
import KalsaeTensors
import Testing

/// Whichever pass is left out, values stay what they are: passes change what a plan costs.
///
/// Decomposing what has no kernel, laying out operands and planning memory are no choice: without them nothing runs.
@Suite(.serialized) struct PassTests {
  /// Each optional pass alone, then all of them.
  static let omissions = OptionalPasses.each + [("all", .all)]

  @Test func everyOptionalPassHasAName() {
    let count = OptionalPasses.each.count
    #expect(Set(OptionalPasses.each.map(\.name)).count == count)
    #expect(OptionalPasses.each.allSatisfy { $0.pass.rawValue.nonzeroBitCount == 1 })
    #expect(Int(OptionalPasses.all.rawValue) == 1 << count - 1, "a pass is not in the list")
  }

  /// Some of these graphs make a lot of a rounding error. So what counts is the distance from what the reference backend
  /// computes in Double: with a pass left out, it is as small as with all of them.
  @Test(arguments: 0..<8 as Range<UInt64>, [DType.float32, .bfloat16])
  func randomGraphsKeepTheirValues(_ seed: UInt64, _ precision: DType) {
    Backends.with(backend) {
      let exact = RandomGraph(seed: seed, length: 24, precision: .float32).outputs()
      Evaluator.shared.evaluate(exact, backend: ReferenceBackend())
      let graph = RandomGraph(seed: seed, length: 24, precision: precision), whole = graph.outputs()
      evaluate(whole)
      let usual = errors(whole, exact).max()!
      if precision == .float32 { #expect(usual < 1e-3, "graph \(seed)") }
      let allowed = max(precision == .float32 ? 1e-5 : 0.05, 8 * usual)
      for (name, pass) in Self.omissions {
        let outputs = graph.outputs()
        Evaluator.shared.evaluate(outputs, backend: backend, without: pass)
        for (index, error) in errors(outputs, exact).enumerated() {
          #expect(
            error <= allowed, "graph \(seed) without \(name): tensor \(index) of \(outputs[index].shape)")
        }
      }
    }
  }

  @Test(arguments: 0..<3 as Range<UInt64>)
  func theReferenceBackendAgrees(_ seed: UInt64) {
    let reference = ReferenceBackend(passes: .all)
    Backends.with(backend) {
      let graph = RandomGraph(seed: seed, length: 16, precision: .float32)
      let computed = graph.outputs(), expected = graph.outputs()
      evaluate(computed)
      Evaluator.shared.evaluate(expected, backend: reference)
      expectEqual(computed, expected, within: 1e-4, "graph \(seed) on the processor")
      for (name, pass) in Self.omissions {
        let outputs = graph.outputs()
        Evaluator.shared.evaluate(outputs, backend: reference, without: pass)
        expectEqual(outputs, expected, within: 1e-5, "graph \(seed) by the reference without \(name)")
      }
    }
  }

  /// A training step: loss, norm of the gradients, and what the optimizer makes of each gradient.
  @Test(arguments: SmallTraining.Architecture.allCases, [DType.float32, .bfloat16])
  func trainingStepsKeepTheirValues(_ architecture: SmallTraining.Architecture, _ precision: DType) {
    expectSame(architecture, precision) { training, pass in
      let (tensors, slots) = training.step(0)
      Evaluator.shared.evaluate(tensors, slots: slots, backend: backend, without: pass)
      // Not the parameters: Adam divides a gradient by its own size, rounding errors of tiny ones included.
      return tensors + training.optimizer.state.map(\.slot.value)
    }
  }

  /// Gradients alone leave the weights as they are, which are then kept converted and packed.
  @Test(arguments: SmallTraining.Architecture.allCases, [DType.float32, .bfloat16])
  func gradientsKeepTheirValues(_ architecture: SmallTraining.Architecture, _ precision: DType) {
    expectSame(architecture, precision) { training, pass in
      let (loss, gradients) = training.valueAndGradient(0)
      let tensors = [loss] + gradients.tensors
      Evaluator.shared.evaluate(tensors, backend: backend, without: pass)
      return tensors
    }
  }

  private let backend = CPUBackend(threads: 2)

  private func expectSame(
    _ architecture: SmallTraining.Architecture, _ precision: DType,
    _ values: (SmallTraining, OptionalPasses) -> [Tensor]
  ) {
    Backends.with(backend) {
      let expected = values(SmallTraining(architecture, precision: precision), [])
      for (name, pass) in Self.omissions {
        expectEqual(
          values(SmallTraining(architecture, precision: precision), pass), expected,
          within: precision == .float32 ? 1e-5 : 0.1, "\(architecture) without \(name)")
      }
    }
  }
}
