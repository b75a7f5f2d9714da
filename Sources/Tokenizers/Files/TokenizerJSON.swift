import KalsaeFormats

/// `tokenizer.json`, the file of Hugging Face's tokenizers library.
enum TokenizerJSON {
  static func read(_ path: String) throws -> Tokenizer {
    let file = try MappedFile(path: path)
    do {
      return try file.withUnsafeBytes { raw in
        try raw.withMemoryRebound(to: UInt8.self) { bytes in
          var json = JSONReader(bytes)
          return try read(&json, path)
        }
      }
    } catch let error as JSONError {
      throw ConfigError(file: path, .syntax(error))
    }
  }

  private static func read(_ json: inout JSONReader, _ path: String) throws -> Tokenizer {
    var rest = JSONObject(), raw: RawModel? = nil
    var first = true
    try json.expect("{")
    while let key = try json.nextKey(&first) {
      if key == "model", json.peek() == UInt8(ascii: "{") {
        let model = try RawModel(&json)
        rest[key] = .object(model.settings)
        raw = model
      } else {
        guard rest[key] == nil else { throw json.failure("duplicate key '\(JSON.shown(key))'") }
        rest[key] = try json.value()
      }
    }
    try json.expectEnd()
    let c = try ConfigJSON(.object(rest), file: path)
    _ = try c("version", or: JSON.null)
    guard let raw, let settings = try c.nested("model") else {
      throw TokenizerError(path, "has no 'model': this is not a tokenizer.json")
    }
    let preTokenizer = try c.nested("pre_tokenizer").map { try PreTokenizer($0) }
    let normalizer = try c.nested("normalizer").map { try Normalizer($0) }
    let model = try model(raw, settings, path, onBytes: preTokenizer?.endsInBytes == true)
    let pipeline = Pipeline(
      normalizer: normalizer, preTokenizer: preTokenizer, model: model,
      postProcessor: try c.nested("post_processor").map { try PostProcessor($0) },
      decoder: try c.nested("decoder").map { try Decoder($0) },
      addedTokens: try (c.nestedList("added_tokens") ?? []).map { try addedToken($0) },
      texts: raw.vocabulary ?? Vocabulary())
    let tokenizer = Tokenizer(
      pipeline, truncation: try c.nested("truncation").map { try truncation($0) },
      padding: try c.nested("padding").map { try padding($0) })
    try c.finish()
    return tokenizer
  }

  // MARK: Models

  private static func model(_ raw: RawModel, _ c: ConfigJSON, _ path: String, onBytes: Bool) throws -> Model {
    let guess = raw.merges != nil ? "BPE" : raw.scores != nil ? "Unigram" : "WordPiece"
    let type: String = try c("type", or: guess)
    guard let vocabulary = raw.vocabulary else { throw TokenizerError(path, "'model.vocab' is missing") }
    if type != "Unigram", raw.scores != nil {
      throw TokenizerError(path, "'model.vocab' should be an object of tokens and their numbers")
    }
    func id(_ key: String) throws -> Int32? {
      guard let token: String = try c(key, or: nil) else { return nil }
      guard let id = vocabulary.id(token) else {
        throw c.invalid(key, "is '\(token)', which is not in the vocabulary")
      }
      return id
    }
    defer { _ = try? c("vocab", or: JSON.null) }
    let model: Model
    switch type {
    case "BPE":
      let prefix = try c.bytes("continuing_subword_prefix", or: "")
      guard let merges = raw.merges else { throw TokenizerError(path, "'model.merges' is missing") }
      var bpe = try BPE(vocabulary: vocabulary, merges: merges, continuingPrefix: prefix) {
        TokenizerError(path, "'model.merges': " + $0)
      }
      bpe.continuingPrefix = prefix
      bpe.endSuffix = try c.bytes("end_of_word_suffix", or: "")
      // The unknown token may be named and yet be missing: then there is none, as in the original.
      let unknown: String? = try c("unk_token", or: nil)
      bpe.unknown = unknown.flatMap { vocabulary.id($0) }
      bpe.fusesUnknown = try c("fuse_unk", or: false)
      bpe.ignoresMerges = try c("ignore_merges", or: false)
      if try c("byte_fallback", or: false) { bpe.byteTokens = byteTokens(vocabulary) }
      if let dropout: Double = try c("dropout", or: nil), dropout != 0 {
        throw c.invalid("dropout", "is \(dropout), which belongs to training; set it to null")
      }
      bpe.prepare()
      model = .bpe(onBytes ? bpe.onBytes() : bpe)
    case "WordPiece":
      let unknown: String = try c("unk_token", or: "[UNK]")
      guard let unknownID = vocabulary.id(unknown) else {
        throw c.invalid("unk_token", "is '\(unknown)', which is not in the vocabulary")
      }
      model = .wordPiece(
        WordPiece(
          vocabulary: vocabulary, unknown: unknownID,
          continuingPrefix: try c.bytes("continuing_subword_prefix", or: "##"),
          maximumWordLength: try c("max_input_chars_per_word", or: 100)))
    case "WordLevel": model = .wordLevel(WordLevel(vocabulary: vocabulary, unknown: try id("unk_token")))
    case "Unigram":
      guard let scores = raw.scores else {
        throw TokenizerError(path, "'model.vocab' should be a list of tokens and their scores")
      }
      let unknown: Int? = try c("unk_id", or: nil)
      if let unknown, !scores.indices.contains(unknown) {
        throw c.invalid("unk_id", "is \(unknown), but the vocabulary has \(scores.count) tokens")
      }
      model = .unigram(
        Unigram(
          vocabulary: vocabulary, scores: scores, unknown: unknown.map { Int32($0) },
          byteTokens: try c("byte_fallback", or: false) ? byteTokens(vocabulary) : nil,
          usesSinglePrecision: false))
    default: throw c.unknownType(type, "model")
    }
    try c.finish()
    return model
  }

  /// The numbers of <0x00> to <0xFF>, -1 where one is missing.
  static func byteTokens(_ vocabulary: Vocabulary) -> [Int32] {
    (0..<256).map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      return vocabulary.id("<0x" + (digits.count == 1 ? "0" : "") + digits + ">") ?? -1
    }
  }

  // MARK: Around the model

  private static func addedToken(_ c: ConfigJSON) throws -> AddedToken {
    let id: Int = try c("id")
    guard id >= 0, id < 1 << 24 else { throw c.invalid("id", "should be from 0 to 16777215") }
    let special: Bool = try c("special", or: false)
    let token = AddedToken(
      id: Int32(id), content: try c("content"), isSpecial: special,
      isSingleWord: try c("single_word", or: false), stripsLeft: try c("lstrip", or: false),
      stripsRight: try c("rstrip", or: false), isNormalized: try c("normalized", or: !special))
    try c.finish()
    return token
  }

  private static func truncation(_ c: ConfigJSON) throws -> Truncation {
    let truncation = Truncation(
      maximumLength: try c("max_length"), strategy: try c.choice("strategy", or: .longestFirst),
      stride: try c("stride", or: 0), fromLeft: try isLeft(c))
    guard truncation.maximumLength >= 0 else { throw c.invalid("max_length", "should not be negative") }
    try c.finish()
    return truncation
  }

  private static func isLeft(_ c: ConfigJSON) throws -> Bool {
    let direction: String = try c("direction", or: "Right")
    guard direction == "Left" || direction == "Right" else {
      throw c.invalid("direction", "should be Left or Right")
    }
    return direction == "Left"
  }

  private static func padding(_ c: ConfigJSON) throws -> Padding {
    var length: Int? = nil
    let strategy: JSON = try c("strategy")
    switch strategy {
    case .string("BatchLongest"): break
    case .object(let object):
      guard case .integer(let fixed)? = object["Fixed"] else { fallthrough }
      length = fixed
    default: throw c.invalid("strategy", "should be \"BatchLongest\" or {\"Fixed\": n}")
    }
    let padding = Padding(
      length: length, multiple: try c("pad_to_multiple_of", or: nil),
      id: Int32(try c("pad_id", or: 0) as Int),
      typeID: Int32(try c("pad_type_id", or: 0) as Int), token: try c("pad_token", or: "[PAD]"),
      fromLeft: try isLeft(c))
    try c.finish()
    return padding
  }
}
