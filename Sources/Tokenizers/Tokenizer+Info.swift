import KalsaeFormats

extension Tokenizer {
  /// What the tokenizer is made of, for people: model, sizes, the kinds of its stages, its added tokens.
  public var info: JSONObject {
    var info: JSONObject = ["model": .string(modelName), "vocabulary": .integer(vocabularySize)]
    if case .bpe(let model) = pipeline.model { info["merges"] = .integer(model.merges.count) }
    info["normalizer"] = .string(Self.kinds(pipeline.normalizer?.json, "normalizers"))
    info["pre-tokenizer"] = .string(Self.kinds(pipeline.preTokenizer?.json, "pretokenizers"))
    info["post-processor"] = .string(Self.kinds(pipeline.postProcessor?.json, "processors"))
    info["decoder"] = .string(Self.kinds(pipeline.decoder?.json, "decoders"))
    if let truncation { info["truncation"] = .integer(truncation.maximumLength) }
    info["added tokens"] = .array(pipeline.addedTokens.map { .string($0.content) })
    return info
  }

  /// The types of a stage and of those in it.
  private static func kinds(_ json: JSON?, _ list: String) -> String {
    guard case .object(let object)? = json, case .string(let type)? = object["type"] else { return "none" }
    guard case .array(let parts)? = object[list] else { return type }
    return parts.map { kinds($0, list) }.joined(separator: ", ")
  }
}

extension Tokenizer {
  /// The text after normalisation alone.
  public func normalized(_ text: String) -> String {
    var unicode = UnicodeNormalizer()
    let text = Text(Array(text.utf8), base: 0, isTracked: false)
    return String(decoding: (pipeline.normalizer?.apply(text, &unicode) ?? text).bytes, as: UTF8.self)
  }

  /// The pieces of normalized text that the model gets, one at a time.
  public func pieces(of text: String) -> [String] {
    var unicode = UnicodeNormalizer(), stack: [Pattern.Retry] = []
    let text = Text(Array(text.utf8), base: 0, isTracked: false)
    var pieces = Pieces(pipeline.normalizer?.apply(text, &unicode) ?? text)
    pipeline.preTokenizer?.apply(&pieces, isStart: true, keepsBytes: false, &stack)
    return pieces.pieces.map { String(decoding: pieces.text.bytes[$0.range], as: UTF8.self) }
  }
}
