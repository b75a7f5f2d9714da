import KalsaeTensors

/// Stochastic gradient descent with momentum as in PyTorch: velocity' = momentum velocity + g, p' = p - rate velocity'.
///
/// With Nesterov's momentum the step is g + momentum velocity' (Sutskever et al. 2013).
public struct SGD: Optimizer {
  public let contents: ModuleContents
  public var momentum: Double
  /// An L2 penalty: `weightDecay p` is added to the gradient of p.
  public var weightDecay: Double
  public let isNesterov: Bool
  private let velocity: Accumulator

  public init(
    _ contents: ModuleContents, momentum: Double = 0, weightDecay: Double = 0, isNesterov: Bool = false
  ) {
    self.contents = contents
    (self.momentum, self.weightDecay, self.isNesterov) = (momentum, weightDecay, isNesterov)
    velocity = Accumulator("velocity", like: contents)
  }

  public var state: [(path: String, slot: Slot)] { velocity.named(contents) }

  public func update(_ gradients: Gradients, learningRate: Tensor) {
    checkUpdate(gradients, of: contents, by: "SGD")
    let p = contents.parameters.map(\.parameter.slot)
    let scalars = [
      learningRate, Tensor(momentum), Tensor(weightDecay), gradients.scale, gradients.isFinite,
    ]
    let op = SGDUpdate(count: p.count, isNesterov: isNesterov)
    let result = apply(op, scalars + p.map(\.value) + gradients.tensors + velocity.values)
    assignAll(result[..<p.count], to: p)
    velocity.assign(result[p.count...])
  }
}
