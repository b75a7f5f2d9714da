import KalsaeCompiler
import KalsaeTensors

extension Plan: CustomStringConvertible {
  /// One line a step: the op, its operands, the implementation it got; then the totals.
  package var description: String {
    var lines = steps.map(\.description)
    lines.append("\(steps.count) steps, arena \(arenaBytes) bytes, \(bytesMoved) bytes moved, \(flops) FLOPs")
    return lines.joined(separator: "\n")
  }

}

extension Plan.Step: CustomStringConvertible {
  /// What runs: the op and the implementation it got.
  package var kernelName: String { "\(type(of: op).name) [\(kernel.implementation)]" }

  /// `MatMul [oneDNN brg:avx512_core] float32 (2, 3), float32 (3, 5) -> float32 (2, 5)`.
  package var description: String {
    func list(_ operands: [Operand]) -> String {
      operands.map { "\($0.spec)" + ($0.layout.isDense ? "" : " strided") }.joined(separator: ", ")
    }
    return "\(kernelName) \(list(inputs)) -> \(list(outputs))"
  }
}
