import KalsaeDiffusion
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// A workload with its data and parameters in place.
package struct PreparedWorkload {
  /// What changes from evaluation to evaluation, what they assign to, and the graph of one.
  package struct Evaluation {
    package let inputs: [Tensor], slots: [Slot]
    package let graph: () -> [Tensor]

    init(_ inputs: [Tensor], slots: [Slot] = [], graph: @escaping () -> [Tensor]) {
      (self.inputs, self.slots, self.graph) = (inputs, slots, graph)
    }
  }

  package let evaluation: (_ index: Int) -> Evaluation
  /// One run.
  let run: (_ index: Int) -> Void
  /// Evaluations of a run.
  let evaluations: Int
  /// What one evaluation must read and write, where that is less than all operands of the plan.
  let bytes: Int?
  let items: (count: Int, unit: String)?

  init(
    evaluations: Int = 1, bytes: Int? = nil, items: (count: Int, unit: String)? = nil,
    run: ((_ index: Int) -> Void)? = nil, evaluation: @escaping (_ index: Int) -> Evaluation
  ) {
    self.evaluation = evaluation
    var repeated = RepeatedStep()
    self.run =
      run ?? {
        let evaluation = evaluation($0)
        _ = repeated(evaluation.inputs, slots: evaluation.slots, evaluation.graph)
      }
    (self.evaluations, self.bytes, self.items) = (evaluations, bytes, items)
  }

  /// The tensors and slots of one evaluation. Each is evaluated before the next is made.
  package func step(_ index: Int) -> ([Tensor], [Slot]) {
    let evaluation = evaluation(index)
    return (evaluation.graph(), evaluation.slots)
  }

  /// Random parameters and data; made within the autocast precision, if any.
  package init(_ workload: Workload, precision: DType, batch: Int) {
    switch workload {
    case .matmul: self = .matmul(precision)
    case .convolution: self = .convolution(precision)
    case .ddpmTrain: self = .ddpmTrain(batch)
    case .ddpmSample: self = .ddpmSample(batch)
    case .ddpmFashionTrain: self = .ddpmFashionTrain(batch)
    case .gpt2Train: self = .gpt2Train(batch)
    case .gpt2Prefill: self = .gpt2Prefill(batch)
    case .gpt2Decode: self = .gpt2Decode(batch)
    case .transformerTrain: self = .transformerTrain(batch)
    case .bertBase: self = .bertBase(batch)
    case .vitBase: self = .vitBase(batch)
    }
  }

  /// A network with random weights.
  static func model<M: Module>(_ make: () -> M) -> (model: M, contents: ModuleContents) {
    let model = Initialization.with(seed: 1, make), contents = model.contents
    evaluate([], slots: contents.slots)
    return (model, contents)
  }

  /// One call of a network; the memory of its results is given back.
  static func call(
    _ inputs: [Tensor], items: (count: Int, unit: String)? = nil, _ body: @escaping () -> [Tensor]
  ) -> PreparedWorkload {
    PreparedWorkload(items: items) { _ in Evaluation(inputs, graph: body) }
  }

  /// Training steps of a loss on fixed data, each with a random key of its own.
  static func training(
    _ optimizer: some Optimizer, _ inputs: [Tensor], rate: Double, items: (count: Int, unit: String),
    clippedTo norm: Double? = nil, average: MovingAverage? = nil,
    _ loss: @escaping (_ key: RandomKey) -> Tensor
  ) -> PreparedWorkload {
    let slots = optimizer.slots + (average?.slots ?? [])
    evaluate([], slots: slots)
    return PreparedWorkload(items: items) { index in
      let key = RandomKey(seed: 0, step: UInt64(index)), rate = Tensor(rate)
      return Evaluation([key.tensor, rate] + inputs, slots: slots) {
        let (loss, gradients) = valueAndGradient(optimizer.contents) { Mode.training(key) { loss(key) } }
        let clipped = norm.map(gradients.clipped(toNorm:)) ?? gradients
        optimizer.update(clipped, learningRate: rate)
        average?.update(if: clipped.isFinite)
        return norm == nil ? [loss] : [loss, clipped.norm]
      }
    }
  }

  private static let key = RandomKey(seed: 1)

  private static func matmul(_ precision: DType) -> PreparedWorkload {
    let a = Slot(Tensor.normal([4096, 768], key: key, stream: 0).cast(to: precision))
    let b = Slot(Tensor.normal([768, 3072], key: key, stream: 1).cast(to: precision))
    evaluate([], slots: [a, b])
    return call([]) { [KalsaeTensors.matmul(a.value, b.value)] }
  }

  private static func convolution(_ precision: DType) -> PreparedWorkload {
    let x = Slot(Tensor.normal([16, 32, 32, 128], key: key, stream: 0).cast(to: precision))
    let w = Slot(Tensor.normal([128, 128, 3, 3], key: key, stream: 1).cast(to: precision))
    evaluate([], slots: [x, w])
    return call([]) { [conv2d(x.value, w.value, padding: 1)] }
  }

  private static func ddpmSample(_ batch: Int) -> PreparedWorkload {
    let (model, _) = model { UNet2DModel(.ddpmCIFAR10) }
    let x = Tensor.normal([batch, 32, 32, 3], key: key)
    evaluate(x)
    let times = Tensor([Int32](repeating: 500, count: batch))
    return call([x, times], items: (batch, "images")) { [model(x, times)] }
  }

  private static func ddpmTrain(_ batch: Int) -> PreparedWorkload {
    let (model, contents) = model { UNet2DModel(.ddpmCIFAR10) }
    let objective = TrainingLoss(.linear())
    let x0 = Tensor.normal([batch, 32, 32, 3], key: key)
    evaluate(x0)
    return training(Adam(contents), [x0], rate: 2e-4, items: (batch, "images")) { key in
      objective(x0, key: key) { model($0, $1) }
    }
  }

  /// What `kalsae train ddpm` does in a step, on pictures of Fashion-MNIST's size.
  private static func ddpmFashionTrain(_ batch: Int) -> PreparedWorkload {
    let config = UNet2DConfig.standard(size: 28, channels: 1)
    let (model, contents) = model { UNet2DModel(config) }
    // Its own first weights are never computed.
    let averaged = Initialization.with(seed: 1) { UNet2DModel(config) }
    let average = MovingAverage(of: contents, in: averaged.contents, decay: 0.9995)
    let objective = TrainingLoss(.linear())
    let x0 = Tensor.normal([batch, 28, 28, 1], key: key)
    evaluate(x0)
    return training(
      Adam(contents), [x0], rate: 1e-3, items: (batch, "images"), clippedTo: 1, average: average
    ) { key in objective(x0, key: key) { model($0, $1) } }
  }
}

extension UNet2DConfig {
  /// The network of "Denoising Diffusion Probabilistic Models" for CIFAR-10 (arXiv 2006.11239, appendix B).
  public static var ddpmCIFAR10: UNet2DConfig {
    var config = UNet2DConfig()
    config.sample_size = ImageSize(32)
    config.block_out_channels = [128, 256, 256, 256]
    config.layers_per_block = 2
    config.down_block_types = [.plain, .attention, .plain, .plain]
    config.up_block_types = [.plain, .plain, .attention, .plain]
    config.attention_head_dim = nil
    config.downsample_padding = 0
    config.flip_sin_to_cos = false
    config.freq_shift = 1
    config.norm_eps = 1e-6
    config.dropout = 0.1
    return config
  }
}
