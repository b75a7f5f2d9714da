import KalsaeCheckpoints
import KalsaeModels
import KalsaeNeural
import KalsaeTensors

// The inputs and outputs of each architecture, as its library calls them. Pictures and feature maps are (N, C, H, W) in
// files and (N, H, W, C) in the program.

/// (N, C, H, W) -> (N, H, W, C).
private func channelsLast(_ x: Tensor) -> Tensor { x.transposed(0, 2, 3, 1) }

/// (N, H, W, C) -> (N, C, H, W); other ranks have no channels to move.
private func channelsFirst(_ x: Tensor) -> Tensor { x.rank == 4 ? x.transposed(0, 3, 1, 2) : x }

/// The error for heads that are not here.
private func unknownHead(
  _ architectures: [String]?, _ config: ConfigJSON, _ supported: String
) -> ConfigError {
  config.invalid("architectures", "is \(architectures ?? []); supported: \(supported)")
}

extension ForwardModel {
  /// Tokens of a text model and what goes with them.
  private struct Text {
    let tokens: Tensor, mask: Tensor?, segments: Tensor?, positions: Tensor?

    init(_ inputs: inout NamedInputs, words: Int, positions limit: Int, segments: Int? = nil) throws {
      tokens = try inputs.required(
        inputs.indices("input_ids", "B", "T", below: words, "the vocabulary"), "input_ids")
      mask = try inputs.flags("attention_mask", "B", "T")
      self.segments = try segments.flatMap { count in
        try inputs.indices("token_type_ids", "B", "T", below: count, "type_vocab_size")
      }
      positions = try inputs.indices("position_ids", "B", "T", below: limit, "the table of positions")
      let count = tokens.shape[1]
      if positions == nil, count > limit {
        throw ForwardError(
          "\(inputs.file.path): 'input_ids' has \(count) tokens a sequence, but the model has \(limit) positions"
        )
      }
    }
  }

  static func gpt2(
    _ folder: String, _ c: GPT2Config, _ architectures: [String]?, _ config: ConfigJSON
  ) throws -> Self {
    func text(_ inputs: inout NamedInputs) throws -> Text {
      try Text(&inputs, words: c.vocab_size, positions: c.n_positions)
    }
    switch architectures?.first {
    case "GPT2LMHeadModel", nil:
      let model = try GPT2LMHeadModel(folder: folder, c)
      return ForwardModel(model) { inputs, observe in
        let x = try text(&inputs)
        return [
          "logits": model(x.tokens, attentionMask: x.mask, positions: x.positions, observe: observe)
        ]
      }
    case "GPT2Model":
      let model = try GPT2Model(folder: folder, c)
      return ForwardModel(model) { inputs, observe in
        let x = try text(&inputs)
        return [
          "last_hidden_state": model(
            x.tokens, attentionMask: x.mask, positions: x.positions, observe: observe)
        ]
      }
    default: throw unknownHead(architectures, config, "GPT2LMHeadModel, GPT2Model")
    }
  }

  static func bert(
    _ folder: String, _ c: BertConfig, _ architectures: [String]?, _ config: ConfigJSON
  ) throws -> Self {
    func text(_ inputs: inout NamedInputs) throws -> Text {
      try Text(
        &inputs, words: c.vocab_size, positions: c.max_position_embeddings, segments: c.type_vocab_size)
    }
    switch architectures?.first {
    case "BertForPreTraining", nil:
      let model = try BertForPreTraining(folder: folder, c)
      return ForwardModel(model) { inputs, observe in
        let x = try text(&inputs)
        let (words, relationship) = model(
          x.tokens, attentionMask: x.mask, segments: x.segments, positions: x.positions, observe: observe)
        return ["prediction_logits": words, "seq_relationship_logits": relationship]
      }
    case "BertForMaskedLM":
      let model = try BertForMaskedLM(folder: folder, c)
      return ForwardModel(model) { inputs, observe in
        let x = try text(&inputs)
        return [
          "logits": model(
            x.tokens, attentionMask: x.mask, segments: x.segments, positions: x.positions, observe: observe)
        ]
      }
    case "BertForSequenceClassification":
      let model = try BertForSequenceClassification(folder: folder, c)
      return ForwardModel(model) { inputs, observe in
        let x = try text(&inputs)
        return [
          "logits": model(
            x.tokens, attentionMask: x.mask, segments: x.segments, positions: x.positions, observe: observe)
        ]
      }
    case "BertModel":
      let model = try BertModel(folder: folder, c)
      return ForwardModel(model) { inputs, observe in
        let x = try text(&inputs)
        let (hidden, pooled) = model(
          x.tokens, attentionMask: x.mask, segments: x.segments, positions: x.positions, observe: observe)
        return ["last_hidden_state": hidden, "pooler_output": pooled!]
      }
    default:
      throw unknownHead(
        architectures, config,
        "BertForPreTraining, BertForMaskedLM, BertForSequenceClassification, BertModel")
    }
  }

  static func vit(
    _ folder: String, _ c: ViTConfig, _ architectures: [String]?, _ config: ConfigJSON
  ) throws -> Self {
    func pixels(_ inputs: inout NamedInputs) throws -> Tensor {
      let shape: [NamedInputs.Extent] = [
        "N", .exactly(c.num_channels), .exactly(c.image_size.rows), .exactly(c.image_size.columns),
      ]
      return channelsLast(
        try inputs.required(
          inputs.numbers("pixel_values", shape[0], shape[1], shape[2], shape[3]), "pixel_values"))
    }
    switch architectures?.first {
    case "ViTForImageClassification", nil:
      let model = try ViTForImageClassification(folder: folder, c)
      return ForwardModel(model) { inputs, observe in
        ["logits": model(try pixels(&inputs), observe: observe)]
      }
    case "ViTModel":
      let model = try ViTModel(folder: folder, c)
      return ForwardModel(model) { inputs, observe in
        let (hidden, pooled) = model(try pixels(&inputs), observe: observe)
        return ["last_hidden_state": hidden, "pooler_output": pooled!]
      }
    default: throw unknownHead(architectures, config, "ViTForImageClassification, ViTModel")
    }
  }

  static func alexNet(_ model: AlexNet) -> Self {
    ForwardModel(model) { inputs, observe in
      let pixels = try inputs.required(
        inputs.numbers("pixel_values", "N", .exactly(model.config.num_channels), "H", "W"), "pixel_values")
      let least = AlexNet.smallestSize
      guard pixels.shape[2] >= least, pixels.shape[3] >= least else {
        throw ForwardError(
          "\(inputs.file.path): 'pixel_values' has \(pixels.shape[2]) x \(pixels.shape[3]) pixels; at least "
            + "\(least) x \(least) are needed")
      }
      return ["logits": model(channelsLast(pixels)) { observe($0, channelsFirst($1)) }]
    }
  }

  static func transformer(
    _ folder: String, _ c: TransformerConfig, _ architectures: [String]?, _ config: ConfigJSON
  ) throws -> Self {
    switch architectures?.first {
    case "TransformerForTranslation", nil:
      guard let words = c.vocab_size else { throw config.invalid("vocab_size", "is needed by a translator") }
      let model = try TransformerForTranslation(folder: folder, c)
      return ForwardModel(model) { inputs, observe in
        let source = try inputs.required(
          inputs.indices("input_ids", "B", "S", below: words, "the vocabulary"), "input_ids")
        let targets = c.target_vocab_size ?? words
        let target = try inputs.required(
          inputs.indices("decoder_input_ids", "B", "T", below: targets, "the target vocabulary"),
          "decoder_input_ids")
        let sourceMask = try inputs.flags("attention_mask", "B", "S")
        let targetMask = try inputs.flags("decoder_attention_mask", "B", "T")
        for (name, tokens) in [("input_ids", source), ("decoder_input_ids", target)]
        where tokens.shape[1] > c.max_position_embeddings {
          throw ForwardError(
            "\(inputs.file.path): '\(name)' has \(tokens.shape[1]) tokens a sequence, but max_position_embeddings is "
              + "\(c.max_position_embeddings)")
        }
        return [
          "logits": model(
            source, target, sourceMask: sourceMask, targetMask: targetMask, observe: observe)
        ]
      }
    case "Transformer":
      let model = try Transformer(folder: folder, c)
      return ForwardModel(model) { inputs, observe in try bare(model, &inputs, observe) }
    default: throw unknownHead(architectures, config, "TransformerForTranslation, Transformer")
    }
  }

  /// `nn.Transformer` with the arguments of its `forward`.
  private static func bare(
    _ model: Transformer, _ inputs: inout NamedInputs, _ observe: Observer
  ) throws -> KeyValuePairs<String, Tensor> {
    let c = model.config
    func oriented(_ x: Tensor) -> Tensor { c.batch_first ? x : x.swappingAxes(0, 1) }
    func sequence(_ name: String, _ letter: NamedInputs.Extent) throws -> Tensor {
      let width = NamedInputs.Extent.exactly(c.d_model)
      return oriented(
        try inputs.required(
          c.batch_first ? inputs.numbers(name, "B", letter, width) : inputs.numbers(name, letter, "B", width),
          name))
    }
    /// A mask (T, S), joined with true for padding (B, S).
    func mask(_ name: String, _ t: NamedInputs.Extent, _ padding: String, _ s: NamedInputs.Extent) throws
      -> Tensor?
    {
      let mask = try inputs.attentionMask(name, t, s)
      return joinedMasks(mask, try inputs.flags(padding, "B", s).map { paddingMask(.!$0) })
    }
    let source = try sequence("src", "S"), target = try sequence("tgt", "T")
    let sourceMask = try mask("src_mask", "S", "src_key_padding_mask", "S")
    let targetMask = try mask("tgt_mask", "T", "tgt_key_padding_mask", "T")
    let memoryMask = try mask("memory_mask", "T", "memory_key_padding_mask", "S")
    let show: Observer = { observe($0, oriented($1)) }
    let encoded = model.encode(source, mask: sourceMask, observe: show)
    let output = model.decode(
      target, model.source(encoded, mask: memoryMask), mask: targetMask, isCausal: false, observe: show)
    return ["output": oriented(output)]
  }

  static func unet2D(_ folder: String, _ c: UNet2DConfig) throws -> Self {
    let model = UNet2DModel(c)
    try loadParameters(
      into: model.contents, from: SafetensorsFile(folder: folder, name: "diffusion_pytorch_model"),
      keyMap: UNet2DModel.keyMap)
    return ForwardModel(model) { inputs, observe in
      let sample = try inputs.required(
        inputs.numbers("sample", "N", .exactly(c.in_channels), "H", "W"), "sample")
      guard sample.shape[2] % c.sizeMultiple == 0, sample.shape[3] % c.sizeMultiple == 0 else {
        throw ForwardError(
          "\(inputs.file.path): 'sample' has \(sample.shape[2]) x \(sample.shape[3]) pixels; multiples of "
            + "\(c.sizeMultiple) are needed")
      }
      let n = sample.shape[0]
      let times =
        try c.time_embedding_type == .learned
        ? inputs.indices("timestep", "N", below: c.num_train_timesteps!, "the table of timesteps")
        : inputs.perSample("timestep", n)
      let time = try inputs.required(times, "timestep")
      var labels: Tensor?
      switch (c.class_embed_type, c.num_class_embeds) {
      case (.timestep, _):
        labels = try inputs.required(inputs.perSample("class_labels", n), "class_labels").broadcast(to: [n])
      case (.identity, _):
        labels = try inputs.required(
          inputs.numbers("class_labels", "N", .exactly(c.embedding)), "class_labels")
      case (nil, let count?):
        labels = try inputs.required(
          inputs.indices("class_labels", "N", below: count, "the table of classes"), "class_labels")
      case (nil, nil): break
      }
      let output = model(channelsLast(sample), time, classLabels: labels) {
        observe($0, channelsFirst($1))
      }
      return ["sample": channelsFirst(output)]
    }
  }
}
