import KalsaeTensors

/// `y = x W^T + b`: (..., in) -> (..., out), with weight (out, in) and bias (out).
public struct Linear: Layer {
  public let weight: Parameter
  public let bias: Parameter?

  public init(
    _ inputs: Int, _ outputs: Int, bias: Bool = true, initializer: Initializer = .layerDefault
  ) {
    let shape: Shape = [outputs, inputs]
    weight = Parameter(initializer(shape))
    self.bias = bias ? Parameter(Initializer.biasDefault(weight: shape)([outputs])) : nil
  }

  /// A layer on existing parameters; sharing them ties weights.
  public init(weight: Parameter, bias: Parameter? = nil) {
    require(weight.shape.rank == 2, "Linear: the weight must be (out, in), not \(weight.shape)")
    (self.weight, self.bias) = (weight, bias)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    let y = matmul(x, weight.value.mT)
    return bias.map { y + $0.value.cast(to: y.dtype) } ?? y
  }
}

/// A table of vectors: indices (...), int32 or int64, -> (..., features), with weight (count, features).
public struct Embedding: Layer {
  public let weight: Parameter

  public init(
    _ count: Int, _ features: Int, initializer: Initializer = .normal(standardDeviation: 1)
  ) {
    weight = Parameter(initializer([count, features]))
  }

  public func callAsFunction(_ indices: Tensor) -> Tensor { weight.value.gathered(indices) }
}
