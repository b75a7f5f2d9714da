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

  /// Where passes change what is rounded to bfloat16, and a random graph has carried it on.
  static func tolerance(_ precision: DType) -> Float { precision == .float32 ? 1e-5 : 0.05 }

  @Test func everyOptionalPassHasAName() {
    #expect(Set(OptionalPasses.each.map(\.name)).count == OptionalPasses.each.count)
    #expect(OptionalPasses.each.reduce(0) { $0 + $1.pass.rawValue.nonzeroBitCount } == 13)
    #expect(OptionalPasses.all.rawValue.nonzeroBitCount == 13)
  }

  @Test(arguments: 0..<8 as Range<UInt64>, [DType.float32, .bfloat16])
  func randomGraphsKeepTheirValues(_ seed: UInt64, _ precision: DType) {
    let backend = CPUBackend(threads: 2)
    Backends.with(backend) {
      let graph = RandomGraph(seed: seed, length: 24, precision: precision)
      let expected = graph.outputs()
      evaluate(expected)
      for (name, pass) in Self.omissions {
        let outputs = graph.outputs()
        Evaluator.shared.evaluate(outputs, backend: backend, without: pass)
        expectEqual(outputs, expected, within: Self.tolerance(precision), "graph \(seed) without \(name)")
      }
    }
  }

  @Test(arguments: 0..<3 as Range<UInt64>)
  func theReferenceBackendAgrees(_ seed: UInt64) {
    let cpu = CPUBackend(threads: 2), reference = ReferenceBackend(passes: .all)
    Backends.with(cpu) {
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
    let backend = CPUBackend(threads: 2)
    Backends.with(backend) {
      // Not the parameters: Adam divides a gradient by its own size, rounding errors of tiny ones included.
      func step(without pass: OptionalPasses) -> [Tensor] {
        let training = SmallTraining(architecture, precision: precision)
        let (tensors, slots) = training.step(0)
        Evaluator.shared.evaluate(tensors, slots: slots, backend: backend, without: pass)
        return tensors + training.optimizer.state.map(\.slot.value)
      }
      let expected = step(without: [])
      for (name, pass) in Self.omissions {
        expectEqual(
          step(without: pass), expected, within: Self.tolerance(precision), "\(architecture) without \(name)")
      }
    }
  }
}
