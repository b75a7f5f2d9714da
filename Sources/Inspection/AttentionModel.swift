import Foundation
import KalsaeCheckpoints
import KalsaeGeneration
import KalsaeModels
import KalsaeNeural
import KalsaePipelines
import KalsaeTensors
import KalsaeTokenizers
import KalsaeTraining

/// A model whose attention can be looked at.
///
///     let model = try AttentionModel(runOrModel: "runs/shakespeare")
///     let record = try model.attention(to: "To be, or not to be")
///     try AttentionOutput(path: "attention.html").write(record, title: "To be")
public struct AttentionModel {
  private enum Reader {
    /// `layer` says the path of the block of layer i; `pass` runs the network on tokens int32 (1, T) and what says which
    /// of two texts they belong to, (1, T).
    case text(
      Tokenizer, vocabulary: Int, context: Int, layer: (Int) -> String,
      pass: (_ tokens: Tensor, _ segments: Tensor) -> Void)
    case picture(ViTModel, ImageProcessor)
    case translation(Translator)
  }

  private let reader: Reader

  /// Opens a run folder, or a model folder: config.json, model.safetensors and, for text, a tokenizer.
  public init(runOrModel path: String, weights: RunWeights = .ema, step: Int? = nil) throws {
    let source = try ModelSource(path), config = source.config
    func load(_ module: some Module, _ file: SafetensorsFile, _ keyMap: KeyMap) throws {
      try loadParameters(into: module.contents, from: file, keyMap: keyMap)
    }
    func tokenizer() throws -> Tokenizer { try Tokenizer(path: source.tokenizerPath) }
    switch source.modelType {
    case "gpt2":
      let model = GPT2Model(try GPT2Config(config))
      try load(model, source.weights(weights, step: step), GPT2Model.keyMap)
      self.init(model, try tokenizer())
    case "bert":
      let c = try BertConfig(config), file = try source.weights(weights, step: step)
      // What has never told sequences apart has no pooler.
      if file.names.contains(where: { $0.hasSuffix("pooler.dense.weight") }) {
        let model = BertModel(c)
        try load(model, file, BertModel.keyMap)
        self.init(model, try tokenizer())
      } else {
        let model = BertForMaskedLM(c)
        try load(model, file, BertForMaskedLM.keyMap)
        self.init(model.bert, try tokenizer())
      }
    case "vit":
      let c = try ViTConfig(config), file = try source.weights(weights, step: step)
      let processor = try source.imageProcessor(
        over: .standard(.vit, size: c.image_size, channels: c.num_channels))
      guard processor.size == c.image_size else {
        throw InspectionError(
          "\(path): preprocessor_config.json makes pictures of \(processor.size.rows) x \(processor.size.columns) "
            + "pixels, the model takes \(c.image_size.rows) x \(c.image_size.columns)")
      }
      if file.names.contains("classifier.weight") {
        let model = ViTForImageClassification(c)
        try load(model, file, ViTForImageClassification.keyMap)
        self.init(model.vit, processor)
      } else {
        let model = ViTModel(c)
        try load(model, file, ViTModel.keyMap)
        self.init(model, processor)
      }
    case "transformer":
      let c = try TransformerConfig(config)
      guard c.vocab_size != nil else { throw config.invalid("vocab_size", "is needed by a translator") }
      let model = TransformerForTranslation(c)
      try load(model, source.weights(weights, step: step), TransformerForTranslation.keyMap)
      self.init(Translator(model: model, tokenizer: try tokenizer()))
    case let type:
      let found = type.map { "\"\($0)\"" } ?? "missing"
      throw config.invalid(
        "model_type", "is \(found); attention is shown of gpt2, bert, vit and of translators (transformer)")
    }
  }

  public init(_ model: GPT2Model, _ tokenizer: Tokenizer) {
    let c = model.config
    reader = .text(
      tokenizer, vocabulary: c.vocab_size, context: c.n_positions, layer: { "h.\($0).attn" },
      pass: { tokens, _ in _ = model(tokens) })
  }

  public init(_ model: BertModel, _ tokenizer: Tokenizer) {
    let c = model.config
    reader = .text(
      tokenizer, vocabulary: c.vocab_size, context: c.max_position_embeddings,
      layer: { "encoder.layer.\($0).attention" },
      pass: { _ = model($0, segments: c.type_vocab_size > 1 ? $1 : nil) })
  }

  public init(_ model: ViTModel, _ processor: ImageProcessor) { reader = .picture(model, processor) }

  public init(_ translator: Translator) { reader = .translation(translator) }

  /// The maps of all layers for a text or, with a model that looks at pictures, for the picture in the file `input`.
  ///
  /// A translator attends to its own translation, or to `target`.
  /// - Throws: when the input is empty, does not fit the model, or cannot be read.
  public func attention(to input: String, target: String? = nil) throws -> AttentionRecord {
    switch reader {
    case .translation(let translator): return try translator.attention(to: input, target)
    case _ where target != nil: throw InspectionError("only a translator has a target beside its text")
    case .text(let tokenizer, let vocabulary, let context, let name, let pass):
      let text = try AttentionText(input, tokenizer, vocabulary: vocabulary, context: context)
      let count = text.ids.count
      let maps = attentionMaps { pass(Tensor(text.ids, [1, count]), Tensor(text.types, [1, count])) }
      return AttentionRecord(
        tokens: [.init(name: "text", texts: text.texts)],
        layers: maps.enumerated().map { number, map in
          .init(name: name(number), number: number, queries: "text", keys: "text", of: map)
        })
    case .picture(let model, let processor): return try model.attention(to: input, processor)
    }
  }
}

/// The maps (1, heads, T, S) of a pass.
func attentionMaps(_ pass: () -> Void) -> [Tensor] {
  Mode.evaluation { AttentionMaps.recording(pass).maps }
}

extension AttentionRecord.Layer {
  /// All heads of a map (1, heads, T, S).
  init(name: String, number: Int, queries: String, keys: String, of map: Tensor) {
    self.init(
      name: name, number: number, queries: queries, keys: keys, heads: Array(0..<map.shape[1]),
      maps: map.at(0, axis: 0).cast(to: .float32))
  }
}
