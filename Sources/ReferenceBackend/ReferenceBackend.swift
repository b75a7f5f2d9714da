import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

/// Runs plans with plain loops in Double: the oracle of the tests, and what works everywhere.
///
/// Every value that a plan keeps is rounded to its element type; inside an op nothing is.
package struct ReferenceBackend: Backend {
  /// The passes to exercise; by default those that leave each op to be computed as it was written.
  package let passes: OptionalPasses
  /// Whether composite ops reach the backend whole, to be computed without rounding in between.
  package let claimsComposites: Bool

  package init(passes: OptionalPasses = .plain, claimsComposites: Bool = false) {
    self.passes = passes
    self.claimsComposites = claimsComposites
  }

  package var name: String { "reference/\(passes.rawValue)\(claimsComposites ? "/whole" : "")" }

  package func claims(_ op: any CompositeOp, _ inputs: [Spec]) -> Bool { claimsComposites }

  package func reads(_ layout: Layout, input index: Int, of op: any Op, _ inputs: [Spec]) -> Bool { true }

  package func inPlace(_ op: any Op, _ inputs: [Spec]) -> [(output: Int, input: Int)] {
    // All inputs are read before the first output is written.
    (op as? any InPlaceOp)?.aliases(inputCount: inputs.count) ?? []
  }

  package func prepare() {}

  package func makeArena(byteCount: Int) -> UnsafeMutableRawPointer {
    .allocate(byteCount: byteCount, alignment: 64)
  }

  package func freeArena(_ arena: UnsafeMutableRawPointer, byteCount: Int) { arena.deallocate() }

  package func lower(_ op: any Op, _ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let evaluate = evaluator(of: op)
    return Kernel("reference") { addresses in
      let values = inputs.indices.map {
        NDArray(inputs[$0].spec, at: addresses[$0], strides: inputs[$0].layout.strides)
      }
      for (index, value) in evaluate(values).enumerated() {
        require(
          value.spec == outputs[index].spec,
          "\(type(of: op).name): computed \(value.spec) where the plan has \(outputs[index].spec)")
        value.store(at: addresses[inputs.count + index], strides: outputs[index].layout.strides)
      }
    }
  }

  private func evaluator(of op: any Op) -> @Sendable ([NDArray]) -> [NDArray] {
    switch op {
    case let op as any ReferenceOp: return { op.evaluate($0) }
    case let op as any CompositeOp: return { op.evaluateDecomposed($0) }
    default: fatalError("\(type(of: op).name): the reference backend has no implementation")
    }
  }
}

extension CompositeOp {
  /// The outputs by the decomposition, all in Double.
  func evaluateDecomposed(_ inputs: [NDArray]) -> [NDArray] {
    let standIns = inputs.map { Tensor(standInFor: $0.spec) }
    var interpreter = ReferenceInterpreter()
    for (standIn, value) in zip(standIns, inputs) { interpreter.set(standIn, value) }
    return interpreter.values(decomposed(standIns))
  }
}
