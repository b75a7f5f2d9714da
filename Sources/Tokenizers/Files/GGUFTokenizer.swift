import KalsaeFormats

/// The tokenizer in the metadata of a GGUF file, as llama.cpp reads it.
struct GGUFTokenizer {
  private let header: GGUFHeader
  private let tokens: [String]
  private let kinds: [SentencePieceFile.Kind]

  static func read(_ path: String) throws -> Tokenizer {
    let header = try GGUFHeader(path: path)
    guard let model = try header.string("tokenizer.ggml.model") else {
      throw TokenizerError(path, "has no 'tokenizer.ggml.model': there is no vocabulary in this file")
    }
    let reader = try GGUFTokenizer(header)
    switch model {
    case "gpt2": return try reader.bpe(try header.string("tokenizer.ggml.pre") ?? "")
    case "gemma4": return try reader.bpe("gemma4")
    case "whitespace": return try reader.bpe("whitespace")
    case "llama", "t5": return try reader.sentencePiece(isUnigram: model == "t5")
    case "bert": return try reader.wordPiece()
    case "rwkv": return try reader.longestMatch()
    case "no_vocab", "none":
      throw TokenizerError(path, "'tokenizer.ggml.model' is '\(model)': the file has no vocabulary")
    default:
      throw TokenizerError(
        path,
        "'tokenizer.ggml.model' is '\(JSON.shown(model))'; known: gpt2, llama, bert, t5, rwkv, gemma4, whitespace"
      )
    }
  }

  private init(_ header: GGUFHeader) throws {
    self.header = header
    guard let tokens = try header.strings("tokenizer.ggml.tokens"), !tokens.isEmpty else {
      throw TokenizerError(header.path, "'tokenizer.ggml.tokens' is missing")
    }
    self.tokens = tokens
    let types = try header.integers("tokenizer.ggml.token_type")
    guard types == nil || types!.count == tokens.count else {
      throw TokenizerError(
        header.path, "'tokenizer.ggml.token_type' has \(types!.count) items for \(tokens.count) tokens")
    }
    kinds = types?.map { SentencePieceFile.Kind(rawValue: $0) ?? .normal } ?? tokens.map { _ in .normal }
  }

  private func id(_ name: String) throws -> Int32? {
    let key = "tokenizer.ggml.\(name)_token_id"
    guard let id = try header.integer(key) else { return nil }
    guard tokens.indices.contains(id) else {
      throw TokenizerError(header.path, "'\(key)' is \(id), but there are \(tokens.count) tokens")
    }
    return Int32(id)
  }

  private func around(_ start: Int32?, _ end: Int32?, _ addsStart: Bool, _ addsEnd: Bool) throws
    -> PostProcessor?
  {
    func pair(_ id: Int32?, _ adds: Bool, _ key: String) throws -> PostProcessor.TokenPair? {
      guard try header.bool("tokenizer.ggml.add_\(key)_token") ?? adds, let id else { return nil }
      return .init(token: tokens[Int(id)], id: id)
    }
    return .around(start: try pair(start, addsStart, "bos"), end: try pair(end, addsEnd, "eos"))
  }

  /// Control and unknown tokens are special; what users defined is found in any text.
  private var addedTokens: [AddedToken] {
    tokens.indices.compactMap { index in
      let kind = kinds[index]
      guard kind == .control || kind == .userDefined || kind == .unknown else { return nil }
      return AddedToken(id: Int32(index), content: tokens[index], isSpecial: kind != .userDefined)
    }
  }

  private func vocabulary() -> Vocabulary {
    var vocabulary = Vocabulary(capacity: tokens.count)
    for token in tokens { vocabulary.append(token.utf8) }
    return vocabulary
  }

  // MARK: Models

  private func bpe(_ name: String) throws -> Tokenizer {
    guard let pattern = GGUFPattern.named(name) else {
      throw TokenizerError(header.path, "'tokenizer.ggml.pre' is '\(JSON.shown(name))', which is not known")
    }
    guard let lines = try header.strings("tokenizer.ggml.merges") else {
      throw TokenizerError(header.path, "'tokenizer.ggml.merges' is missing")
    }
    var merges: [(left: String, right: String)] = []
    merges.reserveCapacity(lines.count)
    for (index, line) in lines.enumerated() {
      guard let pair = RawModel.pair(line) else {
        throw TokenizerError(
          header.path, "'tokenizer.ggml.merges': item \(index) should be two tokens with a space between")
      }
      merges.append(pair)
    }
    let vocabulary = vocabulary()
    var model = try BPE(vocabulary: vocabulary, merges: merges) {
      TokenizerError(header.path, "'tokenizer.ggml.merges': " + $0)
    }
    model.ignoresMerges = pattern.ignoresMerges
    if !pattern.spellsBytes {
      model.byteTokens = TokenizerJSON.byteTokens(vocabulary)
      model.unknown = try id("unknown")
    }
    model.prepare()
    var steps: [PreTokenizer] = try pattern.patterns.map { source in
      let splitter: PreTokenizer.Splitter =
        try GPTScanner(pattern: source).map { .scanner($0) } ?? .literal(.pattern(Pattern(source)))
      return .split(splitter, .isolated, inverted: false)
    }
    if pattern.spellsBytes {
      steps.append(.byteLevel(addsPrefixSpace: false, trimsOffsets: false, usesPattern: false))
    }
    let pipeline = Pipeline(
      normalizer: pattern.spellsBytes ? nil : .replace(.string([0x20]), content: Array("\u{2581}".utf8)),
      preTokenizer: .sequence(steps), model: .bpe(pattern.spellsBytes ? model.onBytes() : model),
      postProcessor: try around(id("bos"), id("eos"), pattern.addsStart, pattern.addsEnd),
      decoder: pattern.spellsBytes
        ? .byteLevel : .sentencePiece(SentencePieceDecoder(stripsPrefix: false, removesExtraSpaces: false)),
      addedTokens: addedTokens, texts: vocabulary)
    return Tokenizer(pipeline)
  }

  private func sentencePiece(isUnigram: Bool) throws -> Tokenizer {
    guard let scores = try header.doubles("tokenizer.ggml.scores"), scores.count == tokens.count else {
      throw TokenizerError(header.path, "'tokenizer.ggml.scores' should have one number a token")
    }
    var file = SentencePieceFile()
    file.pieces = tokens.indices.map {
      .init(text: Array(tokens[$0].utf8), score: Float(scores[$0]), kind: kinds[$0])
    }
    file.modelType = isUnigram ? 1 : 2
    file.addsPrefix = try header.bool("tokenizer.ggml.add_space_prefix") ?? !isUnigram
    file.removesExtraSpaces = try header.bool("tokenizer.ggml.remove_extra_whitespaces") ?? false
    file.isSuffix = try header.bool("tokenizer.ggml.treat_whitespace_as_suffix") ?? false
    file.map =
      try header.integers("tokenizer.ggml.precompiled_charsmap")?.map { UInt8(truncatingIfNeeded: $0) } ?? []
    file.unknown = Int(try id("unknown") ?? (isUnigram ? 2 : 0))
    file.start = Int(try id("bos") ?? 1)
    file.end = Int(try id("eos") ?? (isUnigram ? 1 : 2))
    let settings = SentencePieceTokenizer.Settings(
      file: file, addsStart: try header.bool("tokenizer.ggml.add_bos_token") ?? !isUnigram,
      addsEnd: try header.bool("tokenizer.ggml.add_eos_token") ?? isUnigram)
    return try SentencePieceTokenizer.make(settings, path: header.path)
  }

  /// Words are stored with U+2581 before them, continuations bare.
  private func wordPiece() throws -> Tokenizer {
    var vocabulary = Vocabulary(capacity: tokens.count)
    for token in tokens {
      if token.hasPrefix("\u{2581}") {
        vocabulary.append(
          token.unicodeScalars.dropFirst().reduce(into: []) { UTF8Scalars.append($1.value, to: &$0) })
      } else if token.hasPrefix("["), token.hasSuffix("]"), token.utf8.count > 2 {
        vocabulary.append(token.utf8)
      } else {
        vocabulary.append(Array("##".utf8) + token.utf8)
      }
    }
    let unknown = try id("unknown") ?? vocabulary.id("[UNK]")
    guard let unknown else {
      throw TokenizerError(header.path, "'tokenizer.ggml.unknown_token_id' is missing")
    }
    let pipeline = Pipeline(
      normalizer: .bert(BertNormalizer()), preTokenizer: .bert,
      model: .wordPiece(
        WordPiece(
          vocabulary: vocabulary, unknown: unknown, continuingPrefix: Array("##".utf8),
          maximumWordLength: Int.max)),
      postProcessor: VocabularyFiles.bertProcessor(vocabulary),
      decoder: .wordPiece(prefix: Array("##".utf8), cleansUp: true), addedTokens: addedTokens,
      texts: vocabulary)
    return Tokenizer(pipeline)
  }

  /// RWKV's tokens are byte strings with escapes: "\x00", "\t".
  private func longestMatch() throws -> Tokenizer {
    let contents = tokens.map { Self.unescaped($0) }
    let vocabulary = vocabulary()
    let model = LongestMatch(vocabulary: vocabulary, unknown: try id("unknown"), contents: contents)
    return Tokenizer(
      Pipeline(
        model: .longestMatch(model), decoder: .escaped, addedTokens: addedTokens, texts: vocabulary))
  }

  static func unescaped(_ token: String) -> [UInt8] {
    var result: [UInt8] = []
    var bytes = Array(token.utf8)[...]
    while let byte = bytes.popFirst() {
      guard byte == UInt8(ascii: "\\"), let next = bytes.popFirst() else {
        result.append(byte)
        continue
      }
      switch next {
      case UInt8(ascii: "t"): result.append(0x09)
      case UInt8(ascii: "n"): result.append(0x0A)
      case UInt8(ascii: "r"): result.append(0x0D)
      case UInt8(ascii: "x"):
        let value = UInt8(String(decoding: bytes.prefix(2), as: UTF8.self), radix: 16)
        bytes = bytes.dropFirst(2)
        result.append(value ?? 0)
      default: result.append(next)
      }
    }
    return result
  }
}
