import KalsaeRuntime
import KalsaeTensors
import Testing

/// Each tensor differs from the expected one by no more than `tolerance`: the Euclidean norm of the difference against
/// that of the values, or, where a tensor is nothing but rounding errors, a hundredth of the largest of all.
func expectEqual(
  _ tensors: [Tensor], _ expected: [Tensor], within tolerance: Float, _ what: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  let expected = expected.map { $0.floats() }
  func size(_ values: [Float]) -> Float {
    (values.reduce(0) { $0 + $1 * $1 } / Float(max(values.count, 1))).squareRoot()
  }
  let largest = expected.dropFirst().reduce(0) { max($0, size($1)) }
  for (index, (tensor, values)) in zip(tensors, expected).enumerated() {
    let error = size(zip(tensor.floats(), values).map { $0 - $1 }) / max(size(values), 0.01 * largest)
    #expect(error <= tolerance, "\(what): tensor \(index), \(tensor.shape)", sourceLocation: sourceLocation)
  }
}
