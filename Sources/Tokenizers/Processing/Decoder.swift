/// From tokens back to text: the decoders of `tokenizer.json`. Every step maps a list of byte strings to another.
indirect enum Decoder: Sendable {
  case bpe(suffix: [UInt8])
  case byteLevel
  case byteFallback
  case ctc(pad: [UInt8], delimiter: [UInt8], cleansUp: Bool)
  case fuse
  case metaspace(replacement: UInt32, scheme: PreTokenizer.PrependScheme, splits: Bool)
  case replace(Normalizer.Literal, content: [UInt8])
  case sequence([Decoder])
  case strip(content: UInt32, start: Int, stop: Int)
  case wordPiece(prefix: [UInt8], cleansUp: Bool)
  case sentencePiece(SentencePieceDecoder)
  /// Tokens are bytes with escapes, as RWKV writes them.
  case escaped

  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    switch self {
    case .sequence(let steps): return steps.reduce(tokens) { $1.decode($0) }
    case .fuse: return [Array(tokens.joined())]
    case .byteLevel:
      // A token outside the alphabet, such as an added one, stands for itself.
      return [Array(tokens.map { ByteAlphabet.decode($0) ?? $0 }.joined())]
    case .byteFallback: return Self.fallback(tokens)
    case .bpe(let suffix):
      return tokens.enumerated().map { index, token in
        Self.replacing(suffix, in: token, with: index == tokens.count - 1 ? [] : [0x20])
      }
    case .replace(let literal, let content):
      return tokens.map { token in
        var result: [UInt8] = [], position = 0
        for match in literal.matches(in: token) {
          result += token[position..<match.lowerBound] + content
          position = match.upperBound
        }
        return result + token[position...]
      }
    case .strip(let content, let start, let stop):
      var unit: [UInt8] = []
      UTF8Scalars.append(content, to: &unit)
      return tokens.map { token in
        var token = token[...]
        for _ in 0..<start where token.starts(with: unit) { token = token.dropFirst(unit.count) }
        for _ in 0..<stop where token.suffix(unit.count).elementsEqual(unit) {
          token = token.dropLast(unit.count)
        }
        return Array(token)
      }
    case .metaspace(let replacement, let scheme, _):
      var unit: [UInt8] = []
      UTF8Scalars.append(replacement, to: &unit)
      return tokens.enumerated().map { index, token in
        Self.replacing(unit, in: token, with: index == 0 && scheme != .never ? [] : [0x20])
      }
    case .wordPiece(let prefix, let cleansUp):
      return tokens.enumerated().map { index, token in
        var result = token
        if index > 0 {
          result = token.starts(with: prefix) ? Array(token.dropFirst(prefix.count)) : [0x20] + token
        }
        return cleansUp ? Self.cleanedUp(result) : result
      }
    case .ctc(let pad, let delimiter, let cleansUp):
      var result: [[UInt8]] = []
      for (index, token) in tokens.enumerated() where index == 0 || tokens[index - 1] != token {
        var text = Self.replacing(pad, in: token, with: [])
        if cleansUp { text = Self.replacing(delimiter, in: Self.cleanedUp(text), with: [0x20]) }
        if !text.isEmpty { result.append(text) }
      }
      return result
    case .escaped: return tokens.map { GGUFTokenizer.unescaped(String(decoding: $0, as: UTF8.self)) }
    case .sentencePiece(let options): return [options.decode(Self.fallback(tokens))]
    }
  }

  /// Runs of <0x..> tokens become their bytes, or one U+FFFD each where those are not UTF-8.
  private static func fallback(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var result: [[UInt8]] = [], run: [UInt8] = []
    func flush() {
      guard !run.isEmpty else { return }
      if String(validating: run, as: UTF8.self) != nil {
        result.append(run)
      } else {
        result += repeatElement([0xEF, 0xBF, 0xBD], count: run.count)
      }
      run = []
    }
    for token in tokens {
      if let byte = byteValue(token) {
        run.append(byte)
      } else {
        flush()
        result.append(token)
      }
    }
    flush()
    return result
  }

  /// The byte of a token such as <0x0A>.
  static func byteValue(_ token: some Collection<UInt8>) -> UInt8? {
    guard token.count == 6, token.starts(with: Array("<0x".utf8)), token.suffix(1).first == UInt8(ascii: ">")
    else { return nil }
    return UInt8(String(decoding: token.dropFirst(3).prefix(2), as: UTF8.self), radix: 16)
  }

  static func replacing(_ old: [UInt8], in bytes: [UInt8], with new: [UInt8]) -> [UInt8] {
    guard !old.isEmpty else { return bytes }
    var result: [UInt8] = []
    var position = 0
    while position < bytes.count {
      if bytes[position] == old[0], bytes[position...].starts(with: old) {
        result += new
        position += old.count
      } else {
        result.append(bytes[position])
        position += 1
      }
    }
    return result
  }

  /// English as it is written: no space before punctuation and contractions.
  private static func cleanedUp(_ bytes: [UInt8]) -> [UInt8] {
    let rules = [
      (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
      (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ]
    return rules.reduce(bytes) { replacing(Array($1.0.utf8), in: $0, with: Array($1.1.utf8)) }
  }
}

/// SentencePiece's own way back: bytes are joined, U+2581 is a space, those before the text go, and what was unknown is
/// shown as such.
struct SentencePieceDecoder: Sendable {
  var stripsPrefix = true, removesExtraSpaces = true, isSuffix = false
  /// The unknown token and what stands for it.
  var unknown: [UInt8] = [], surface: [UInt8] = []

  func decode(_ tokens: [[UInt8]]) -> [UInt8] {
    let space: [UInt8] = [0xE2, 0x96, 0x81]
    var result: [UInt8] = [], isPrefixDone = !stripsPrefix
    for (index, token) in tokens.enumerated() {
      if !unknown.isEmpty, token == unknown {
        result += surface
        continue
      }
      var token = token[...]
      if isSuffix {
        if stripsPrefix, index == tokens.count - 1, token.suffix(3).elementsEqual(space) {
          token = token.dropLast(3)
        }
      } else if !isPrefixDone, result.isEmpty, token.starts(with: space) {
        token = token.dropFirst(3)
        isPrefixDone = !removesExtraSpaces
      }
      result += Decoder.replacing(space, in: Array(token), with: [0x20])
    }
    return result
  }
}
