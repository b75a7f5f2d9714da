import KalsaeFormats

/// The stages of `tokenizer.json`, read from their objects. Every unknown kind or key is an error that names file and key.

extension ConfigJSON {
  /// A string that is one of a list, as an enum.
  func choice<Choice: CaseIterable & RawRepresentable>(
    _ key: String, or fallback: Choice? = nil
  ) throws -> Choice where Choice.RawValue == String {
    if let fallback, object[key] == nil || object[key] == .null {
      _ = try self(key, or: JSON.null)
      return fallback
    }
    let name: String = try self(key)
    guard let choice = Choice(rawValue: name) else {
      throw invalid(key, "is '\(name)'; known: \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return choice
  }

  func scalar(_ key: String) throws -> UInt32 {
    let text: String = try self(key)
    guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
      throw invalid(key, "should be a single character")
    }
    return scalar.value
  }

  func bytes(_ key: String, or fallback: String? = nil) throws -> [UInt8] {
    let text: String = try fallback.map { try self(key, or: $0) } ?? self(key)
    return Array(text.utf8)
  }

  /// `{"String": ...}` or `{"Regex": ...}`.
  func pattern(_ key: String) throws -> PreTokenizer.Splitter {
    guard let c = try nested(key) else { throw invalid(key, "is missing") }
    if let text: String = try c("String", or: nil) {
      try c.finish()
      return .literal(.string(Array(text.utf8)))
    }
    let source: String = try c("Regex")
    try c.finish()
    if let scanner = GPTScanner(pattern: source) { return .scanner(scanner) }
    do { return .literal(.pattern(try Pattern(source))) } catch {
      throw c.invalid("Regex", "is not understood: \(error)")
    }
  }

  func unknownType(_ type: String, _ what: String) -> ConfigError {
    invalid("type", "is '\(type)', which is no \(what) that is known")
  }

  /// The scheme, or what older files said instead of it.
  func prependScheme() throws -> PreTokenizer.PrependScheme {
    let old: Bool? = try self("add_prefix_space", or: nil)
    if object["prepend_scheme"] == nil, let old { return old ? .always : .never }
    return try choice("prepend_scheme", or: .always)
  }
}

extension Normalizer {
  init(_ c: ConfigJSON) throws {
    let type: String = try c("type")
    switch type {
    case "Sequence": self = .sequence(try c.nestedList("normalizers")?.map { try Normalizer($0) } ?? [])
    case "BertNormalizer":
      self = .bert(
        BertNormalizer(
          cleansText: try c("clean_text", or: true), separatesHan: try c("handle_chinese_chars", or: true),
          stripsAccents: try c("strip_accents", or: nil), lowercases: try c("lowercase", or: true)))
    case "Strip": self = .strip(left: try c("strip_left", or: true), right: try c("strip_right", or: true))
    case "StripAccents": self = .stripAccents
    case "Lowercase": self = .lowercase
    case "Nmt": self = .nmt
    case "ByteLevel": self = .byteLevel
    case "Prepend": self = .prepend(try c.bytes("prepend"))
    case "Replace":
      let content = try c.bytes("content")
      switch try c.pattern("pattern") {
      case .literal(let literal): self = .replace(literal, content: content)
      case .scanner(let scanner): self = .replace(.pattern(try Pattern(scanner.pattern)), content: content)
      }
    case "Precompiled":
      let text: String = try c("precompiled_charsmap", or: "")
      guard let bytes = Base64.decode(text) else { throw c.invalid("precompiled_charsmap", "is not base64") }
      if bytes.isEmpty {
        self = .sequence([])
      } else {
        guard let map = PrecompiledMap(bytes) else {
          throw c.invalid("precompiled_charsmap", "is damaged: its sizes do not fit; fetch the file again")
        }
        self = .precompiled(map)
      }
    default:
      guard let form = UnicodeNormalizer.Form(rawValue: type) else { throw c.unknownType(type, "normalizer") }
      self = .unicode(form)
    }
    try c.finish()
  }
}

extension PreTokenizer {
  init(_ c: ConfigJSON) throws {
    let type: String = try c("type")
    switch type {
    case "Sequence": self = .sequence(try c.nestedList("pretokenizers")?.map { try PreTokenizer($0) } ?? [])
    case "BertPreTokenizer": self = .bert
    case "ByteLevel":
      self = .byteLevel(
        addsPrefixSpace: try c("add_prefix_space", or: true), trimsOffsets: try c("trim_offsets", or: true),
        usesPattern: try c("use_regex", or: true))
    case "CharDelimiterSplit": self = .delimiter(try c.scalar("delimiter"))
    case "Digits": self = .digits(individually: try c("individual_digits", or: false))
    case "FixedLength":
      let length: Int = try c("length", or: 5)
      guard length > 0 else { throw c.invalid("length", "should be at least 1") }
      self = .fixedLength(length)
    case "Metaspace":
      _ = try c("str_rep", or: JSON.null)
      self = .metaspace(
        replacement: try c.scalar("replacement"), scheme: try c.prependScheme(),
        splits: try c("split", or: true))
    case "Punctuation": self = .punctuation(try c.choice("behavior", or: .isolated))
    case "Split":
      self = .split(try c.pattern("pattern"), try c.choice("behavior"), inverted: try c("invert", or: false))
    case "UnicodeScripts": self = .unicodeScripts
    case "Whitespace": self = .whitespace
    case "WhitespaceSplit": self = .whitespaceSplit
    default: throw c.unknownType(type, "pre-tokenizer")
    }
    try c.finish()
  }

  /// Whether the last step spells bytes in GPT-2's alphabet, and no other does.
  var endsInBytes: Bool {
    switch self {
    case .byteLevel: true
    case .sequence(let steps):
      steps.last?.endsInBytes == true && !steps.dropLast().contains(where: \.spellsBytes)
    default: false
    }
  }

  var spellsBytes: Bool {
    switch self {
    case .byteLevel: true
    case .sequence(let steps): steps.contains(where: \.spellsBytes)
    default: false
    }
  }
}

extension PostProcessor {
  init(_ c: ConfigJSON) throws {
    let type: String = try c("type")
    func tokenPair(_ key: String) throws -> TokenPair {
      let pair: [JSON] = try c(key)
      guard pair.count == 2, case .string(let token) = pair[0], case .integer(let id) = pair[1], id >= 0,
        id < 1 << 24
      else { throw c.invalid(key, "should be a token and its number") }
      return TokenPair(token: token, id: Int32(id))
    }
    switch type {
    case "Sequence": self = .sequence(try c.nestedList("processors")?.map { try PostProcessor($0) } ?? [])
    case "BertProcessing": self = .bert(separator: try tokenPair("sep"), start: try tokenPair("cls"))
    case "RobertaProcessing":
      self = .roberta(
        separator: try tokenPair("sep"), start: try tokenPair("cls"),
        trimsOffsets: try c("trim_offsets", or: true), addsPrefixSpace: try c("add_prefix_space", or: true))
    case "ByteLevel":
      self = .byteLevel(
        trimsOffsets: try c("trim_offsets", or: true), addsPrefixSpace: try c("add_prefix_space", or: true),
        usesPattern: try c("use_regex", or: true))
    case "TemplateProcessing":
      var tokens: [String: SpecialToken] = [:]
      if let list = try c.nested("special_tokens") {
        for name in list.object.keys {
          guard let token = try list.nested(name) else { throw list.invalid(name, "is missing") }
          _ = try token("id", or: name)
          let ids: [Int] = try token("ids"), texts: [String] = try token("tokens", or: [name])
          guard ids.count == texts.count, ids.allSatisfy({ $0 >= 0 && $0 < 1 << 24 }) else {
            throw token.invalid("ids", "should be as many numbers as there are tokens")
          }
          tokens[name] = SpecialToken(ids: ids.map { Int32($0) }, tokens: texts)
          try token.finish()
        }
      }
      func pieces(_ key: String) throws -> [Piece] {
        try (c.nestedList(key) ?? []).map { item in
          let piece: Piece
          if let text = try item.nested("Sequence") {
            let name: String = try text("id")
            guard name == "A" || name == "B" else { throw text.invalid("id", "should be A or B") }
            piece = .text(isSecond: name == "B", type: Int32(try text("type_id", or: 0) as Int))
            try text.finish()
          } else if let special = try item.nested("SpecialToken") {
            let name: String = try special("id")
            guard tokens[name] != nil else {
              throw special.invalid("id", "is '\(name)', which special_tokens does not have")
            }
            piece = .special(name, type: Int32(try special("type_id", or: 0) as Int))
            try special.finish()
          } else {
            throw c.invalid(key, "should hold objects with Sequence or SpecialToken")
          }
          try item.finish()
          return piece
        }
      }
      self = .template(single: try pieces("single"), pair: try pieces("pair"), tokens: tokens)
    default: throw c.unknownType(type, "post-processor")
    }
    try c.finish()
  }
}

extension Decoder {
  init(_ c: ConfigJSON) throws {
    let type: String = try c("type")
    switch type {
    case "Sequence": self = .sequence(try c.nestedList("decoders")?.map { try Decoder($0) } ?? [])
    case "BPEDecoder": self = .bpe(suffix: try c.bytes("suffix", or: "</w>"))
    case "ByteLevel":
      // The keys of the pre-tokenizer of this name, which mean nothing here.
      for key in ["add_prefix_space", "trim_offsets", "use_regex"] { _ = try c(key, or: JSON.null) }
      self = .byteLevel
    case "ByteFallback": self = .byteFallback
    case "Fuse": self = .fuse
    case "CTC":
      self = .ctc(
        pad: try c.bytes("pad_token", or: "<pad>"), delimiter: try c.bytes("word_delimiter_token", or: "|"),
        cleansUp: try c("cleanup", or: true))
    case "Metaspace":
      _ = try c("str_rep", or: JSON.null)
      self = .metaspace(
        replacement: try c.scalar("replacement"), scheme: try c.prependScheme(),
        splits: try c("split", or: true))
    case "Replace":
      guard case .literal(let literal) = try c.pattern("pattern") else {
        throw c.invalid("pattern", "is a pattern of whole texts, which a decoder cannot replace")
      }
      self = .replace(literal, content: try c.bytes("content"))
    case "Strip":
      self = .strip(
        content: try c.scalar("content"), start: try c("start", or: 0), stop: try c("stop", or: 0))
    case "WordPiece":
      self = .wordPiece(prefix: try c.bytes("prefix", or: "##"), cleansUp: try c("cleanup", or: true))
    default: throw c.unknownType(type, "decoder")
    }
    try c.finish()
  }
}

/// Base64 of RFC 4648.
enum Base64 {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  static func decode(_ text: String) -> [UInt8]? {
    var values = [UInt8](repeating: 0xFF, count: 256)
    for (value, byte) in alphabet.enumerated() { values[Int(byte)] = UInt8(value) }
    var result: [UInt8] = [], bits: UInt32 = 0, count = 0
    result.reserveCapacity(text.utf8.count * 3 / 4)
    for byte in text.utf8 {
      if byte == UInt8(ascii: "=") { break }
      guard values[Int(byte)] != 0xFF else { return nil }
      bits = bits << 6 | UInt32(values[Int(byte)])
      count += 6
      if count >= 8 {
        count -= 8
        result.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
      }
    }
    return result
  }

  static func encode(_ bytes: [UInt8]) -> String {
    var result: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = bytes[start..<min(start + 3, bytes.count)]
      var bits: UInt32 = 0
      for index in 0..<3 { bits = bits << 8 | (index < group.count ? UInt32(group[start + index]) : 0) }
      for index in 0..<4 {
        result.append(
          index <= group.count ? alphabet[Int(bits >> UInt32(18 - 6 * index) & 0x3F)] : UInt8(ascii: "="))
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
