import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeGeneration
import KalsaeModels
import KalsaeNeural
import KalsaeTensors
import KalsaeTokenizers
import KalsaeTraining

/// A model whose attention can be looked at.
///
///     let model = try AttentionModel(runOrModel: "runs/shakespeare")
///     let record = try model.attention(to: "To be, or not to be")
///     try AttentionOutput(path: "attention.html").write(record, title: "To be")
public struct AttentionModel {
  /// Runs the network on tokens int32 (1, T) and what says which of two texts they belong to, (1, T).
  typealias TextPass = (_ tokens: Tensor, _ segments: Tensor) -> Void

  private enum Reader {
    /// `layer` says the path of the block of layer i.
    case text(Tokenizer, vocabulary: Int, context: Int, layer: (Int) -> String, pass: TextPass)
    case picture(ViTModel, PictureInput)
    case translation(Translator)
  }

  private let reader: Reader

  /// Opens a run folder, or a model folder: config.json, model.safetensors and, for text, a tokenizer.
  public init(runOrModel path: String, weights: RunWeights = .ema, step: Int? = nil) throws {
    let run = RunFolder(path)
    guard run.exists else {
      throw RunError("\(path) is neither a run folder nor a model folder: it has no config.json")
    }
    let config = try ConfigJSON(path: run.configPath)
    if let task: String = try config("task", or: nil) {
      switch task {
      case LanguageModelConfiguration.task:
        let model = try GPT2LMHeadModel(run: run, weights: weights, step: step).transformer
        self.init(model, try Tokenizer(path: run.tokenizerPath))
      case MaskedLanguageModelConfiguration.task:
        let filler = try MaskFiller(runOrModel: path, weights: weights, step: step)
        self.init(filler.model.bert, filler.tokenizer)
      case TranslationConfiguration.task:
        self.init(try Translator(run: path, weights: weights, step: step))
      default:
        throw RunError("\(path) is a run of \(task), whose attention cannot be shown")
      }
      return
    }
    let architecture: String? = try config("architectures", or: [String]?.none)?.first
    let type: String? = try config("model_type", or: nil)
    switch type {
    case "gpt2":
      self.init(try GPT2Model(folder: path, GPT2Config(config)), try Tokenizer(path: path))
    case "bert":
      let c = try BertConfig(config)
      // The head of masked words alone does without the pooler.
      let model =
        architecture == "BertForMaskedLM"
        ? try BertForMaskedLM(folder: path, c).bert : try BertModel(folder: path, c)
      self.init(model, try Tokenizer(path: path))
    case "vit":
      let c = try ViTConfig(config)
      let model =
        architecture == "ViTModel"
        ? try ViTModel(folder: path, c) : try ViTForImageClassification(folder: path, c).vit
      self.init(model, try PictureInput(folder: path))
    case "transformer" where architecture != "Transformer":
      let c = try TransformerConfig(config)
      guard c.vocab_size != nil else { throw config.invalid("vocab_size", "is needed by a translator") }
      self.init(
        Translator(
          model: try TransformerForTranslation(folder: path, c), tokenizer: try Tokenizer(path: path)))
    default:
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

  public init(_ model: ViTModel, _ input: PictureInput = .init()) { reader = .picture(model, input) }

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
    case .picture(let model, let processing):
      return try model.attention(to: Image(contentsOf: input), processing)
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
