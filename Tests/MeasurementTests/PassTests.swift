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
    #expect(Set(OptionalPasses.each.map(\.name)).count == OptionalPasses.each.count)
    #expect(OptionalPasses.each.reduce(0) { $0 + $1.pass.rawValue.nonzeroBitCount } == 11)
    #expect(OptionalPasses.all.rawValue.nonzeroBitCount == 11)
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
        expectEqual(outputs, expected, precision, "graph \(seed) without \(name)")
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
      expectEqual(computed, expected, .float32, "graph \(seed) on the processor", factor: 10)
      for (name, pass) in Self.omissions {
        let outputs = graph.outputs()
        Evaluator.shared.evaluate(outputs, backend: reference, without: pass)
        expectEqual(outputs, expected, .float32, "graph \(seed) by the reference without \(name)")
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
        expectEqual(step(without: pass), expected, precision, "\(architecture) without \(name)")
      }
    }
  }

  /// Elements differ by no more than rounding: relative to the largest of their tensor, or, where a tensor is nothing
  /// but rounding errors, of all tensors.
  private func expectEqual(
    _ tensors: [Tensor], _ expected: [Tensor], _ precision: DType, _ what: String, factor: Float = 1
  ) {
    let tolerance: Float = factor * (precision == .float32 ? 1e-5 : 0.05)
    let expected = expected.map { $0.floats() }
    func size(_ values: [Float]) -> Float { values.reduce(0) { max($0, abs($1)) } }
    let largest = expected.dropFirst().reduce(0) { max($0, size($1)) }
    for (index, (tensor, values)) in zip(tensors, expected).enumerated() {
      let allowed = tolerance * max(size(values), 0.01 * largest)
      // Written so that no NaN slips through.
      let wrong = zip(tensor.floats(), values).first { !(abs($0 - $1) <= allowed) }
      #expect(
        wrong == nil, "\(what): tensor \(index), \(tensor.shape), with numbers up to \(size(values))")
    }
  }
}
