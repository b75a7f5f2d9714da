import KalsaeRuntime
import KalsaeTensors
import Testing

/// How far each tensor is from the expected one: the Euclidean norm of the difference against that of the values, or,
/// where a tensor is nothing but rounding errors, a hundredth of the largest of all.
func errors(_ tensors: [Tensor], _ expected: [Tensor]) -> [Float] {
  let expected = expected.map { $0.floats() }
  func size(_ values: [Float]) -> Float {
    (values.reduce(0) { $0 + $1 * $1 } / Float(max(values.count, 1))).squareRoot()
  }
  let largest = expected.dropFirst().reduce(0) { max($0, size($1)) }
  return zip(tensors, expected).map { tensor, values in
    size(zip(tensor.floats(), values).map { $0 - $1 }) / max(size(values), 0.01 * largest)
  }
}

/// No tensor is further than `tolerance` from the expected one.
func expectEqual(
  _ tensors: [Tensor], _ expected: [Tensor], within tolerance: Float, _ what: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  for (index, error) in errors(tensors, expected).enumerated() {
    #expect(
      error <= tolerance, "\(what): tensor \(index) of \(tensors[index].shape)",
      sourceLocation: sourceLocation)
  }
}
