import KalsaeTensors

/// The derivatives of a loss by every parameter of a module, and what an update needs to know of them as a whole.
///
/// A training step:
///
///     let (loss, gradients) = valueAndGradient(contents) { mse(model(x, t), noise) }
///     let clipped = gradients.clipped(toNorm: 1)
///     optimizer.update(clipped, learningRate: 2e-4)
///     evaluate(loss, clipped.norm, slots: optimizer.slots)
public struct Gradients: Sendable {
  /// In the order of the parameters, as the loss gave them: neither clipped nor scaled.
  public let tensors: [Tensor]
  /// The Euclidean norm over all elements of all gradients, before clipping; a float32 scalar.
  public let norm: Tensor
  /// The factor that an update applies to the gradients; a float32 scalar.
  public let scale: Tensor

  public init(_ tensors: [Tensor]) {
    require(!tensors.isEmpty, "Gradients: there are none")
    self.tensors = tensors
    norm = sqrt(apply(SumOfSquares(), tensors)[0])
    scale = Tensor(1)
  }

  private init(_ tensors: [Tensor], norm: Tensor, scale: Tensor) {
    (self.tensors, self.norm, self.scale) = (tensors, norm, scale)
  }

  /// Whether all gradients are finite, a bool scalar. Updates leave everything as it is when they are not.
  public var isFinite: Tensor { KalsaeTensors.isFinite(norm) }

  /// The gradients scaled down to `maximum` where their norm exceeds it (arXiv 1211.5063, algorithm 1).
  ///
  /// Only the factor is computed here; the update applies it as it reads the gradients.
  public func clipped(toNorm maximum: Double) -> Gradients {
    require(maximum > 0, "clipped: the largest norm must be positive, not \(maximum)")
    // PyTorch's guard against a division by zero, kept so that runs compare.
    return Gradients(tensors, norm: norm, scale: scale * minimum(maximum / (norm + 1e-6), 1))
  }
}

/// A loss and its derivatives by every parameter of a module, as one graph.
public func valueAndGradient(
  _ contents: ModuleContents, _ loss: () throws -> Tensor
) rethrows -> (value: Tensor, gradients: Gradients) {
  let parameters = contents.parameters.map(\.parameter.value)
  let (value, gradients) = try valueAndGradient(withRespectTo: parameters, loss)
  return (value, Gradients(gradients))
}

/// A loss and its derivatives by every parameter of `module`, in the order of `module.contents.parameters`.
public func valueAndGradient(
  _ module: some Module, _ loss: () throws -> Tensor
) rethrows -> (value: Tensor, gradients: Gradients) {
  try valueAndGradient(module.contents, loss)
}
