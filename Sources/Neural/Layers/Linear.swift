import KalsaeTensors

/// `y = x W^T + b`: (..., in) -> (..., out), with weight (out, in) and bias (out).
public struct Linear: Layer {
  public let weight: Parameter
  public let bias: Parameter?

  /// The bias starts as PyTorch's does when it has no initializer of its own.
  public init(
    _ inputs: Int, _ outputs: Int, bias: Bool = true, initializer: Initializer = .layerDefault,
    biasInitializer: Initializer? = nil
  ) {
    let shape: Shape = [outputs, inputs]
    weight = Parameter(initializer(shape))
    let first = biasInitializer ?? .biasDefault(weight: shape)
    self.bias = bias ? Parameter(first([outputs])) : nil
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

/// A table of vectors: indices (...), int32 or int64, -> (..., features), with weight (count, features)
/// ("Formal Algorithms for Transformers", arXiv 2207.09238, algorithms 1 and 2: token and positional embedding).
public struct Embedding: Layer {
  public let weight: Parameter
  /// The index of padding, whose vector starts at zero and is not trained by looking it up.
  public let paddingIndex: Int?

  public init(
    _ count: Int, _ features: Int, paddingIndex: Int? = nil,
    initializer: Initializer = .normal(standardDeviation: 1)
  ) {
    require(
      paddingIndex.map((0..<count).contains) ?? true,
      "Embedding: the padding index \(paddingIndex ?? 0) is not among \(count)")
    let first = initializer([count, features])
    let isPadding = paddingIndex.map { Tensor.iota(count) .== Double($0) }
    weight = Parameter(isPadding.map { select($0.expanded(1), 0, first) } ?? first)
    self.paddingIndex = paddingIndex
  }

  public func callAsFunction(_ indices: Tensor) -> Tensor {
    let vectors = weight.value.gathered(indices)
    guard let paddingIndex else { return vectors }
    return select((indices .== Double(paddingIndex)).expanded(-1), stopGradient(vectors), vectors)
  }
}
