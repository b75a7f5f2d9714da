import KalsaeFormats

/// Vocabularies without a pipeline: `vocab.txt` of BERT, `vocab.json` and `merges.txt` of GPT-2 and its like, CLIP's merges.
/// What the pipeline must be follows from the files and from the configuration beside them.
enum VocabularyFiles {
  // MARK: vocab.txt

  static func wordPiece(_ path: String, _ config: FolderConfig) throws -> Tokenizer {
    let bytes = try readText(path)
    var vocabulary = Vocabulary(capacity: bytes.count / 8)
    var lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    for line in lines { vocabulary.append(line.last == 0x0D ? line.dropLast() : line) }
    guard let unknown = vocabulary.id(config.unknown ?? "[UNK]") else {
      throw TokenizerError(
        path, "has no line \(config.unknown ?? "[UNK]"): this is not a vocabulary of BERT's kind")
    }
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].compactMap { token in
      vocabulary.id(token).map { AddedToken(id: $0, content: token, isSpecial: true) }
    }
    // A vocabulary without capitals cannot be of a cased model.
    let hasCapitals = vocabulary.tokens.contains { _, token in
      token.first != UInt8(ascii: "[") && token.contains { (0x41...0x5A).contains($0) }
    }
    let normalizer = BertNormalizer(
      separatesHan: config.tokenizesChinese ?? true, stripsAccents: config.stripsAccents,
      lowercases: config.lowercases ?? !hasCapitals)
    let pipeline = Pipeline(
      normalizer: .bert(normalizer), preTokenizer: .bert,
      model: .wordPiece(
        WordPiece(
          vocabulary: vocabulary, unknown: unknown, continuingPrefix: Array("##".utf8), maximumWordLength: 100
        )),
      postProcessor: bertProcessor(vocabulary), decoder: .wordPiece(prefix: Array("##".utf8), cleansUp: true),
      addedTokens: special, texts: vocabulary)
    return Tokenizer(pipeline)
  }

  static func bertProcessor(_ vocabulary: Vocabulary) -> PostProcessor? {
    guard let start = vocabulary.id("[CLS]"), let separator = vocabulary.id("[SEP]") else { return nil }
    return .bert(separator: .init(token: "[SEP]", id: separator), start: .init(token: "[CLS]", id: start))
  }

  // MARK: vocab.json and merges.txt

  static func byteLevel(_ vocabularyPath: String, _ mergesPath: String, _ config: FolderConfig) throws
    -> Tokenizer
  {
    let vocabulary: Vocabulary
    do {
      vocabulary = try MappedFile(path: vocabularyPath).withUnsafeBytes { raw in
        try raw.withMemoryRebound(to: UInt8.self) { bytes in
          var json = JSONReader(bytes)
          let vocabulary = try RawModel.vocabulary(&json)
          try json.expectEnd()
          return vocabulary
        }
      }
    } catch let error as JSONError {
      throw ConfigError(file: vocabularyPath, .syntax(error))
    }
    let merges = try readMerges(readText(mergesPath), mergesPath)
    if vocabulary.tokens.contains(where: { $0.token.suffix(4).elementsEqual(Array("</w>".utf8)) }) {
      return try clip(vocabulary, merges, mergesPath)
    }
    let model = try BPE(vocabulary: vocabulary, merges: merges) { TokenizerError(mergesPath, $0) }
    let qwen = config.className.hasPrefix("Qwen2")
    let prefixes = config.addsPrefixSpace ?? false
    let scanner = GPTScanner.cl100k(digits: 1)
    let preTokenizer: PreTokenizer =
      qwen
      ? .sequence([
        .split(.scanner(scanner), .isolated, inverted: false),
        .byteLevel(addsPrefixSpace: false, trimsOffsets: false, usesPattern: false),
      ]) : .byteLevel(addsPrefixSpace: prefixes, trimsOffsets: true, usesPattern: true)
    var processor: PostProcessor? = .byteLevel(
      trimsOffsets: false, addsPrefixSpace: prefixes, usesPattern: true)
    if ["Roberta", "Bart", "Longformer", "LED"].contains(where: { config.className.hasPrefix($0) }),
      let start = vocabulary.id("<s>"), let end = vocabulary.id("</s>")
    {
      processor = .roberta(
        separator: .init(token: "</s>", id: end), start: .init(token: "<s>", id: start), trimsOffsets: true,
        addsPrefixSpace: prefixes)
    }
    var texts = vocabulary
    let added = config.addedTokens(&texts, defaults: ["<|endoftext|>"])
    let pipeline = Pipeline(
      normalizer: qwen ? .unicode(.NFC) : nil, preTokenizer: preTokenizer, model: .bpe(model.onBytes()),
      postProcessor: processor, decoder: .byteLevel, addedTokens: added, texts: vocabulary)
    return Tokenizer(pipeline)
  }

  /// Lines of two tokens; a first line that begins with "#version" is none.
  private static func readMerges(_ bytes: [UInt8], _ path: String) throws -> [(left: String, right: String)] {
    var merges: [(left: String, right: String)] = []
    for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
      let line = line.last == 0x0D ? line.dropLast() : line
      if line.isEmpty || index == 0 && line.starts(with: Array("#version".utf8)) { continue }
      guard let pair = RawModel.pair(String(decoding: line, as: UTF8.self)) else {
        throw TokenizerError(path, "line \(index + 1) should be two tokens with a space between")
      }
      merges.append(pair)
    }
    return merges
  }

  // MARK: CLIP

  /// `bpe_simple_vocab_16e6.txt`, packed or not: merges alone, of which CLIP uses lines 2 to 48895.
  static func clip(_ path: String) throws -> Tokenizer {
    let file = try MappedFile(path: path)
    let bytes = try file.withUnsafeBytes { raw in
      guard Gunzip.isGzip(raw) else { return Array(raw) }
      guard let unpacked = Gunzip.unpack(raw, limit: 1 << 28) else {
        throw TokenizerError(path, "is damaged gzip data; fetch the file again")
      }
      return unpacked
    }
    let lines = bytes.split(separator: 0x0A, maxSplits: 48895, omittingEmptySubsequences: false)
    guard lines.count == 48896 else {
      throw TokenizerError(path, "has \(lines.count) lines; CLIP's vocabulary has 48895 or more")
    }
    let merges = try readMerges(Array(lines[1..<48895].joined(separator: [0x0A])), path)
    // Printable bytes come first in the alphabet's order, the others after them.
    let letters = ByteAlphabet.scalars.sorted().map { scalar in
      var letter: [UInt8] = []
      UTF8Scalars.append(scalar, to: &letter)
      return letter
    }
    var vocabulary = Vocabulary(capacity: 49408)
    for letter in letters { vocabulary.append(letter) }
    for letter in letters { vocabulary.append(letter + Array("</w>".utf8)) }
    for merge in merges { vocabulary.append(Array(merge.left.utf8) + merge.right.utf8) }
    vocabulary.append("<|startoftext|>".utf8)
    vocabulary.append("<|endoftext|>".utf8)
    return try clip(vocabulary, merges, path)
  }

  private static func clip(
    _ vocabulary: Vocabulary, _ merges: [(left: String, right: String)], _ path: String
  ) throws -> Tokenizer {
    guard let start = vocabulary.id("<|startoftext|>"), let end = vocabulary.id("<|endoftext|>") else {
      throw TokenizerError(
        path, "has words that end in </w> but no <|startoftext|> and <|endoftext|>, as CLIP has")
    }
    var model = try BPE(vocabulary: vocabulary, merges: merges) { TokenizerError(path, $0) }
    model.endSuffix = Array("</w>".utf8)
    model.unknown = end
    let words = try Pattern(#"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"#)
    let pipeline = Pipeline(
      normalizer: .sequence([
        .unicode(.NFC), .replace(.pattern(try Pattern(#"\s+"#)), content: [0x20]), .lowercase,
      ]),
      preTokenizer: .sequence([
        .split(.literal(.pattern(words)), .removed, inverted: true),
        .byteLevel(addsPrefixSpace: false, trimsOffsets: true, usesPattern: true),
      ]),
      model: .bpe(model.onBytes()),
      postProcessor: .roberta(
        separator: .init(token: "<|endoftext|>", id: end), start: .init(token: "<|startoftext|>", id: start),
        trimsOffsets: false, addsPrefixSpace: false),
      decoder: .sequence([
        .byteLevel, .replace(.string(Array("</w>".utf8)), content: [0x20]),
        .strip(content: 0x20, start: 0, stop: 1),
      ]),
      addedTokens: [start, end].map { id in
        AddedToken(id: id, content: id == start ? "<|startoftext|>" : "<|endoftext|>", isSpecial: true)
      },
      texts: vocabulary)
    return Tokenizer(pipeline)
  }
}
