import KalsaeData
import KalsaeDiffusion
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// A small model of each architecture, with random weights and data, and a training step with dropout.
struct SmallTraining {
  enum Architecture: String, CaseIterable { case unet2D, gpt2, transformer, bert, vit }

  let contents: ModuleContents
  let optimizer: AdamW
  private let precision: DType, recomputes: Bool
  private let loss: (RandomKey) -> Tensor

  /// The same weights and data every time; evaluated by the backend of the task.
  init(_ architecture: Architecture, precision: DType = .float32, recomputes: Bool = false) {
    (contents, loss) = Initialization.with(seed: 1) { Self.model(architecture) }
    (self.precision, self.recomputes) = (precision, recomputes)
    optimizer = AdamW(contents)
    evaluate([], slots: optimizer.slots)
  }

  /// What one training step evaluates: the loss and the gradients' norm, and all that the update changes.
  func step(_ index: Int) -> ([Tensor], [Slot]) {
    let (loss, gradients) = valueAndGradient(index)
    let clipped = gradients.clipped(toNorm: 1)
    optimizer.update(clipped, learningRate: 1e-3)
    return ([loss, clipped.norm], optimizer.slots)
  }

  func valueAndGradient(_ index: Int) -> (value: Tensor, gradients: Gradients) {
    let key = RandomKey(seed: 0, step: UInt64(index))
    return KalsaeNeural.valueAndGradient(contents) {
      Mode.training(key) {
        Autocast.with(precision == .bfloat16 ? precision : nil) {
          Recomputation.with(recomputes) { loss(key) }
        }
      }
    }
  }

  private static func model(_ architecture: Architecture) -> (ModuleContents, (RandomKey) -> Tensor) {
    switch architecture {
    case .unet2D:
      var config = UNet2DConfig()
      (config.sample_size, config.layers_per_block) = (ImageSize(16), 1)
      (config.block_out_channels, config.norm_num_groups) = ([32, 64], 8)
      (config.down_block_types, config.up_block_types) = ([.plain, .attention], [.attention, .plain])
      (config.attention_head_dim, config.dropout) = (nil, 0.1)
      let model = UNet2DModel(config), objective = TrainingLoss(.linear())
      let x0 = Tensor.normal([4, 16, 16, 3], key: RandomKey(seed: 2))
      evaluate(x0)
      return (model.contents, { key in objective(x0, key: key) { model($0, $1) } })
    case .gpt2:
      var config = GPT2Config()
      (config.vocab_size, config.n_positions, config.n_embd) = (96, 24, 32)
      (config.n_layer, config.n_head) = (3, 4)
      let model = GPT2LMHeadModel(config), inputs = tokens([2, 24], 96), labels = tokens([2, 24], 96, 1)
      return (
        model.contents,
        { _ in
          linearCrossEntropies(model.transformer(inputs), weight: model.lm_head.weight.value, labels: labels)
            .mean()
        }
      )
    case .transformer:
      var config = TransformerConfig()
      (config.d_model, config.nhead, config.dim_feedforward, config.vocab_size) = (32, 4, 64, 80)
      (config.num_encoder_layers, config.num_decoder_layers) = (2, 2)
      let model = TransformerForTranslation(config)
      let (source, target, labels) = (tokens([3, 12], 80), tokens([3, 10], 80, 1), tokens([3, 10], 80, 2))
      let mask = Tensor((0..<36).map { $0 % 12 < 9 ? 1 : 0 as Int32 }, [3, 12])
      return (
        model.contents,
        { _ in
          linearCrossEntropy(
            model.hidden(target, model.encode(source, mask: mask)), weight: model.generator.weight.value,
            labels: labels, labelSmoothing: 0.1, ignoredLabel: config.pad_token_id)
        }
      )
    case .bert:
      var config = BertConfig()
      (config.vocab_size, config.hidden_size, config.intermediate_size) = (80, 32, 64)
      (config.num_hidden_layers, config.num_attention_heads) = (2, 4)
      let model = BertForSequenceClassification(config), inputs = tokens([3, 16], 80)
      let labels = tokens([3], 2, 1)
      return (model.contents, { _ in crossEntropy(model(inputs), labels) })
    case .vit:
      var config = ViTConfig()
      (config.hidden_size, config.intermediate_size, config.image_size) = (32, 64, ImageSize(32))
      (config.patch_size, config.num_hidden_layers, config.num_attention_heads) = (ImageSize(8), 2, 4)
      (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.1, 0.1)
      let model = ViTForImageClassification(config), labels = tokens([3], 2, 1)
      let pixels = Tensor.normal([3, 32, 32, 3], key: RandomKey(seed: 2))
      evaluate(pixels)
      return (model.contents, { _ in crossEntropy(model(pixels), labels) })
    }
  }

  private static func tokens(_ shape: Shape, _ end: Int, _ seed: UInt64 = 0) -> Tensor {
    var random = SplitMix64(key: seed)
    return Tensor((0..<shape.count).map { _ in Int32(random.below(UInt64(end))) }, shape)
  }
}
