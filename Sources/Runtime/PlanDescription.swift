import KalsaeCompiler
import KalsaeTensors

extension Plan: CustomStringConvertible {
  /// One line a step: the op, its operands, the implementation it got; then the totals.
  package var description: String {
    var lines = steps.map { step in
      let inputs = step.inputs.map { "\($0.spec)" }.joined(separator: ", ")
      let outputs = step.outputs.map { "\($0.spec)" }.joined(separator: ", ")
      return "\(type(of: step.op).name) [\(step.kernel.implementation)] \(inputs) -> \(outputs)"
    }
    lines.append("\(steps.count) steps, arena \(arenaBytes) bytes, \(bytesMoved) bytes moved, \(flops) FLOPs")
    return lines.joined(separator: "\n")
  }

  /// The number of steps of each implementation, most frequent first.
  package var kernelCounts: [(kernel: String, count: Int)] {
    var counts: [String: Int] = [:]
    for step in steps { counts["\(type(of: step.op).name) [\(step.kernel.implementation)]", default: 0] += 1 }
    return counts.map { ($0.key, $0.value) }.sorted { ($1.count, $0.kernel) < ($0.count, $1.kernel) }
  }
}
