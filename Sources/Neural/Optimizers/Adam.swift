import KalsaeTensors

/// Adam (arXiv 1412.6980, algorithm 1): steps scaled by running means of the gradient and of its square.
public struct Adam: Optimizer {
  public let contents: ModuleContents
  public var beta1: Double, beta2: Double, epsilon: Double
  /// An L2 penalty: `weightDecay p` is added to the gradient of p.
  public var weightDecay: Double
  private let core: AdamCore

  public init(
    _ contents: ModuleContents, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
    weightDecay: Double = 0
  ) {
    self.contents = contents
    (self.beta1, self.beta2, self.epsilon, self.weightDecay) = (beta1, beta2, epsilon, weightDecay)
    core = AdamCore(contents, isDecoupled: false)
  }

  public var state: [(path: String, slot: Slot)] { core.state(contents) }

  public func update(_ gradients: Gradients, learningRate: Tensor) {
    checkUpdate(gradients, of: contents, by: "Adam")
    core.update(contents, gradients, learningRate, beta1, beta2, epsilon, weightDecay)
  }
}

/// Adam with decoupled weight decay (arXiv 1711.05101, algorithm 2): p shrinks by `learningRate weightDecay p` a step.
///
/// Unless told otherwise only matrices and higher ranks shrink, as is the custom with Transformers: a bias or the gain of
/// a normalisation near zero makes no network simpler. PyTorch's default is `decays: { _, _ in true }`.
public struct AdamW: Optimizer {
  public let contents: ModuleContents
  public var beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double
  private let core: AdamCore

  /// - Parameter decays: whether the parameter at a path shrinks.
  public init(
    _ contents: ModuleContents, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
    weightDecay: Double = 0.01,
    decays: (_ path: String, _ parameter: Parameter) -> Bool = { $1.shape.rank > 1 }
  ) {
    self.contents = contents
    (self.beta1, self.beta2, self.epsilon, self.weightDecay) = (beta1, beta2, epsilon, weightDecay)
    core = AdamCore(contents, isDecoupled: true, decays: decays)
  }

  public var state: [(path: String, slot: Slot)] { core.state(contents) }

  public func update(_ gradients: Gradients, learningRate: Tensor) {
    checkUpdate(gradients, of: contents, by: "AdamW")
    core.update(contents, gradients, learningRate, beta1, beta2, epsilon, weightDecay)
  }
}

/// The moments and the step count of both variants, and the one fused update.
private struct AdamCore: Sendable {
  let m: Accumulator, v: Accumulator
  /// Steps taken; float32, as in PyTorch's checkpoints, exact to 16.7 million.
  let step: Slot
  let isDecoupled: Bool
  /// Which parameters decay, and which do not, by their places.
  let decaying: [Int], others: [Int]

  init(
    _ contents: ModuleContents, isDecoupled: Bool, decays: (String, Parameter) -> Bool = { _, _ in true }
  ) {
    let places = contents.parameters.indices
    decaying = places.filter { decays(contents.parameters[$0].path, contents.parameters[$0].parameter) }
    others = Array(Set(places).subtracting(decaying)).sorted()
    m = Accumulator("m", like: contents)
    v = Accumulator("v", like: contents)
    step = Slot(.zeros([]))
    self.isDecoupled = isDecoupled
  }

  func state(_ contents: ModuleContents) -> [(path: String, slot: Slot)] {
    [("step", step)] + m.named(contents) + v.named(contents)
  }

  func update(
    _ contents: ModuleContents, _ gradients: Gradients, _ rate: Tensor, _ beta1: Double, _ beta2: Double,
    _ epsilon: Double, _ decay: Double
  ) {
    let isFinite = gradients.isFinite
    let t = select(isFinite, step.value + 1, step.value)
    // 1 - beta^t without the cancellation that float32 has at small t.
    func correction(_ beta: Double) -> Tensor { -expm1(t * logarithm(beta)) }
    let (first, second) = (correction(beta1), correction(beta2))
    for (places, decay) in [(decaying, decay), (others, 0)] where !places.isEmpty {
      let scalars = [
        rate, Tensor(beta1), Tensor(beta2), Tensor(epsilon), Tensor(decay), first, second,
        gradients.scale, isFinite,
      ]
      let lists = [contents.parameters.map(\.parameter.slot), m.slots, v.slots].map { slots in
        places.map { slots[$0] }
      }
      let op = AdamUpdate(count: places.count, isDecoupled: isDecoupled)
      let result = apply(
        op,
        scalars + lists[0].map(\.value) + places.map { gradients.tensors[$0] } + lists[1].map(\.value)
          + lists[2].map(\.value))
      assignAll(result[...], to: lists.flatMap(\.self))
    }
    step.value = t
  }
}
