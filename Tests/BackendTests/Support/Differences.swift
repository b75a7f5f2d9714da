import KalsaeReferenceBackend
import KalsaeTensors
import Testing

/// Tensors as a function of some of their leaves, computed in Double.
struct NumericFunction {
  let leaves: [Tensor]
  let outputs: [Tensor]

  /// `body` applied to leaves with the specs of `arrays`.
  init(_ arrays: [NDArray], _ body: ([Tensor]) -> [Tensor]) {
    leaves = arrays.map { $0.tensor() }
    outputs = body(leaves)
  }

  func callAsFunction(_ arrays: [NDArray]) -> [NDArray] {
    var interpreter = ReferenceInterpreter()
    for (leaf, array) in zip(leaves, arrays) { interpreter.set(leaf, array) }
    return interpreter.values(outputs)
  }
}

/// `body` followed by the gradients of its floating-point outputs, weighted at random, by its floating-point inputs.
func gradientFunction(_ body: @escaping ([Tensor]) -> [Tensor]) -> ([Tensor]) -> [Tensor] {
  { inputs in
    let outputs = body(inputs).filter { $0.dtype.isFloatingPoint }
    let variables = inputs.filter { $0.dtype.isFloatingPoint }
    guard !outputs.isEmpty else { return [] }
    return vectorJacobianProduct(of: outputs, cotangents(outputs), withRespectTo: variables)
  }
}

/// The same random cotangents for the same specs.
func cotangents(_ outputs: [Tensor]) -> [Tensor] {
  var random = SampleRandom(seed: "cotangents of \(outputs.map(\.spec))")
  return outputs.map { random.normal($0.shape, $0.dtype).tensor() }
}

/// The gradients of the weighted floating-point outputs of `body`, by the graph and by five-point differences.
///
/// The differences' error is of the order 1e-12: h^4 times the fifth derivative, and rounding over h.
func comparedGradients(_ arrays: [NDArray], _ body: @escaping ([Tensor]) -> [Tensor]) -> [(
  graph: NDArray, differences: NDArray
)] {
  let graph = NumericFunction(arrays, gradientFunction(body))(arrays)
  guard !graph.isEmpty else { return [] }
  let function = NumericFunction(arrays) { body($0).filter { $0.dtype.isFloatingPoint } }
  var weightInterpreter = ReferenceInterpreter()
  let weights = weightInterpreter.values(cotangents(function.outputs))
  let h = 1e-3

  var variables = arrays.indices.filter { arrays[$0].dtype.isFloatingPoint }.makeIterator()
  return graph.map { gradient in
    let variable = variables.next()!
    var differences = gradient
    for element in gradient.values.indices {
      func outputs(_ step: Double) -> [NDArray] {
        var moved = arrays
        moved[variable].values[element] += step
        return function(moved)
      }
      let (a, b, c, d) = (outputs(-2 * h), outputs(-h), outputs(h), outputs(2 * h))
      var sum = 0.0
      for o in weights.indices {
        for i in weights[o].values.indices {
          let slope = 8 * (c[o].values[i] - b[o].values[i]) - (d[o].values[i] - a[o].values[i])
          sum += weights[o].values[i] * slope
        }
      }
      differences.values[element] = sum / (12 * h)
    }
    return (gradient, differences)
  }
}

/// Expects gradients by the graph to equal difference quotients.
func expectGradients(
  _ arrays: [NDArray], within tolerance: Double, _ comment: Comment? = nil,
  sourceLocation: SourceLocation = #_sourceLocation, of body: @escaping ([Tensor]) -> [Tensor]
) {
  for (index, pair) in comparedGradients(arrays, body).enumerated() {
    let error = largestError(pair.graph, pair.differences)
    #expect(
      error <= tolerance,
      "gradient \(index): error \(error), \(pair.graph.values) where differences give \(pair.differences.values) \(comment ?? "")",
      sourceLocation: sourceLocation)
  }
}

/// The largest difference over the largest expected magnitude (or, of tiny arrays, over 1e-3).
func largestError(_ actual: NDArray, _ expected: NDArray) -> Double {
  guard actual.shape == expected.shape else { return .infinity }
  let scale = expected.values.reduce(1e-3) { max($0, $1.isFinite ? $1.magnitude : 0) }
  return zip(actual.values, expected.values).reduce(0) { max($0, distance($1.0, $1.1) / scale) }
}

/// The largest difference, each over its expected magnitude (or 1e-6).
func largestElementwiseError(_ actual: NDArray, _ expected: NDArray) -> Double {
  guard actual.shape == expected.shape else { return .infinity }
  return zip(actual.values, expected.values).reduce(0) { error, pair in
    max(error, distance(pair.0, pair.1) / (pair.1.isFinite ? max(pair.1.magnitude, 1e-6) : 1))
  }
}

/// Equal infinities, and NaN twice, are equal.
private func distance(_ a: Double, _ b: Double) -> Double {
  if a == b || (a.isNaN && b.isNaN) { return 0 }
  return a.isFinite && b.isFinite ? abs(a - b) : .infinity
}
