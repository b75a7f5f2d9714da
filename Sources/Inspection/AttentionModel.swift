import Foundation
import KalsaeCheckpoints
import KalsaeData
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

  enum Reader {
    case text(tokenizer: Tokenizer, vocabulary: Int, context: Int, pass: TextPass)
    case picture(ViTModel, PictureInput)
  }

  private let reader: Reader
  /// The path of the block of layer i.
  private let layerName: (Int) -> String

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
    default:
      throw config.invalid(
        "model_type", "is \(type.map { "\"\($0)\"" } ?? "missing"); attention is shown of gpt2, bert, vit")
    }
  }

  private init(reader: Reader, layerName: @escaping (Int) -> String) {
    (self.reader, self.layerName) = (reader, layerName)
  }

  public init(_ model: GPT2Model, _ tokenizer: Tokenizer) {
    let c = model.config
    self.init(
      reader: .text(tokenizer: tokenizer, vocabulary: c.vocab_size, context: c.n_positions) { tokens, _ in
        _ = model(tokens)
      }
    ) { "h.\($0).attn" }
  }

  public init(_ model: BertModel, _ tokenizer: Tokenizer) {
    let c = model.config
    self.init(
      reader: .text(tokenizer: tokenizer, vocabulary: c.vocab_size, context: c.max_position_embeddings) {
        _ = model($0, segments: c.type_vocab_size > 1 ? $1 : nil)
      }
    ) { "encoder.layer.\($0).attention" }
  }

  public init(_ model: ViTModel, _ input: PictureInput = .init()) {
    self.init(reader: .picture(model, input)) { "layers.\($0).attention" }
  }

  /// The maps of all layers for a text or, with a model that looks at pictures, for the picture in the file `input`.
  /// - Throws: when the input is empty, does not fit the model, or cannot be read.
  public func attention(to input: String) throws -> AttentionRecord {
    switch reader {
    case .text(var tokenizer, let vocabulary, let context, let pass):
      // What is looked at is the whole text, and nothing else.
      (tokenizer.truncation, tokenizer.padding) = (nil, nil)
      let encoding = tokenizer.encode(input)
      try check(encoding, vocabulary: vocabulary, context: context)
      let tokens = AttentionRecord.Tokens(name: "text", texts: readableTokens(encoding, of: input, tokenizer))
      let maps = maps {
        pass(Tensor(encoding.ids, [1, encoding.count]), Tensor(encoding.typeIDs, [1, encoding.count]))
      }
      return AttentionRecord(tokens: [tokens], layers: layers(maps, "text"))
    case .picture(let model, let input_):
      return try attention(to: Image(contentsOf: input), model, input_)
    }
  }

  private func attention(
    to image: Image, _ model: ViTModel, _ input: PictureInput
  ) throws -> AttentionRecord {
    let c = model.config
    guard c.num_channels == 1 || c.num_channels == 3 else {
      throw InspectionError("the model reads pictures of \(c.num_channels) channels; 1 or 3 are possible")
    }
    let seen = image.flattened(toChannels: c.num_channels)
      .resized(width: c.image_size.columns, height: c.image_size.rows)
    let pixels = try input.tensor(seen)
    let (rows, columns) = (
      c.image_size.rows / c.patch_size.rows, c.image_size.columns / c.patch_size.columns
    )
    let names = ["[CLS]"] + (0..<rows).flatMap { y in (0..<columns).map { x in "\(y),\(x)" } }
    let maps = maps { _ = model(pixels) }
    return AttentionRecord(
      tokens: [.init(name: "picture", texts: names)], layers: layers(maps, "picture"),
      picture: .init(image: seen, rows: rows, columns: columns))
  }

  private func check(_ encoding: Encoding, vocabulary: Int, context: Int) throws(InspectionError) {
    guard encoding.specialTokensMask.contains(0) else {
      throw InspectionError("an empty text: at least one token is needed")
    }
    if let strange = encoding.ids.first(where: { $0 < 0 || Int($0) >= vocabulary }) {
      throw InspectionError(
        "token \(strange) is outside the model's vocabulary of \(vocabulary): use the model's own tokenizer")
    }
    guard encoding.count <= context else {
      throw InspectionError(
        "the text has \(encoding.count) tokens, but the model sees only \(context): shorten it")
    }
  }

  private func maps(_ pass: () -> Void) -> [Tensor] {
    Mode.evaluation { AttentionMaps.recording(pass).maps }
  }

  /// Maps (1, heads, T, S), one a layer, as layers.
  private func layers(_ maps: [Tensor], _ tokens: String) -> [AttentionRecord.Layer] {
    maps.enumerated().map { number, map in
      .init(
        name: layerName(number), number: number, queries: tokens, keys: tokens,
        heads: Array(0..<map.shape[1]), maps: map.at(0, axis: 0).cast(to: .float32))
    }
  }
}
