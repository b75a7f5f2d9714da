/// What is put around the tokens of one text or two: the post-processors of `tokenizer.json`.
indirect enum PostProcessor: Sendable {
  case template(single: [Piece], pair: [Piece], tokens: [String: SpecialToken])
  /// [CLS] A [SEP] and [CLS] A [SEP] B [SEP].
  case bert(separator: TokenPair, start: TokenPair)
  /// <s> A </s> and <s> A </s> </s> B </s>.
  case roberta(separator: TokenPair, start: TokenPair, trimsOffsets: Bool, addsPrefixSpace: Bool)
  case byteLevel(trimsOffsets: Bool, addsPrefixSpace: Bool, usesPattern: Bool)
  case sequence([PostProcessor])

  struct TokenPair: Sendable, Equatable {
    var token: String, id: Int32
  }

  enum Piece: Sendable, Equatable {
    case text(isSecond: Bool, type: Int32)
    case special(String, type: Int32)
  }

  struct SpecialToken: Sendable, Equatable {
    var ids: [Int32], tokens: [String]
  }

  /// How many tokens it adds.
  func addedCount(isPair: Bool) -> Int {
    switch self {
    case .template(let single, let pair, let tokens):
      (isPair ? pair : single).reduce(0) { count, piece in
        guard case .special(let name, _) = piece else { return count }
        return count + (tokens[name]?.ids.count ?? 0)
      }
    case .bert: isPair ? 3 : 2
    case .roberta: isPair ? 4 : 2
    case .byteLevel: 0
    case .sequence(let steps): steps.reduce(0) { $0 + $1.addedCount(isPair: isPair) }
    }
  }

  /// Joins the parts, a text each until a step puts tokens between them.
  func process(_ parts: [Encoding], addsSpecialTokens: Bool) -> [Encoding] {
    switch self {
    case .sequence(let steps):
      return steps.reduce(parts) { $1.process($0, addsSpecialTokens: addsSpecialTokens) }
    case .byteLevel(let trims, let addsPrefixSpace, _):
      return trims ? parts.map { Self.trimmed($0, addsPrefixSpace) } : parts
    case .bert(let separator, let start):
      guard addsSpecialTokens else { return parts }
      return parts.enumerated().map { index, part in
        var result = Encoding(), type = Int32(index)
        if index == 0 { result.appendSpecial(start, type: 0) } else { type = 1 }
        result.append(part, type: type)
        result.appendSpecial(separator, type: type)
        return result.with(
          part.overflowing.map { window in
            var around = Encoding()
            if index == 0 { around.appendSpecial(start, type: 0) }
            around.append(window, type: type)
            around.appendSpecial(separator, type: type)
            return around
          })
      }
    case .roberta(let separator, let start, let trims, let addsPrefixSpace):
      let parts = trims ? parts.map { Self.trimmed($0, addsPrefixSpace) } : parts
      guard addsSpecialTokens else { return parts }
      return parts.enumerated().map { index, part in
        func around(_ part: Encoding) -> Encoding {
          var result = Encoding()
          result.appendSpecial(index == 0 ? start : separator, type: 0)
          result.append(part, type: 0)
          result.appendSpecial(separator, type: 0)
          return result
        }
        return around(part).with(part.overflowing.map(around))
      }
    case .template(let single, let pair, let tokens):
      let template = parts.count > 1 ? pair : single
      func fill(_ parts: [Encoding]) -> [Encoding] {
        template.compactMap { piece in
          switch piece {
          case .text(let isSecond, let type):
            guard parts.indices.contains(isSecond ? 1 : 0) else { return nil }
            var result = Encoding()
            result.append(parts[isSecond ? 1 : 0], type: type)
            return result
          case .special(let name, let type):
            guard addsSpecialTokens, let token = tokens[name] else { return nil }
            var result = Encoding()
            for (id, text) in zip(token.ids, token.tokens) {
              result.appendSpecial(TokenPair(token: text, id: id), type: type)
            }
            return result
          }
        }
      }
      var result = fill(parts)
      // A template joins all it has; what overflowed is filled in the same way.
      let windows = parts.indices.flatMap { index in
        parts[index].overflowing.map { window in
          var others = parts
          others[index] = window
          return fill(others).joined()
        }
      }
      if !result.isEmpty { result[0].overflowing = windows }
      return result
    }
  }

  /// Offsets without the white space at the ends of tokens, as far as it is in the tokens' texts.
  private static func trimmed(_ encoding: Encoding, _ addsPrefixSpace: Bool) -> Encoding {
    var result = encoding
    for index in result.ids.indices {
      let range = result.offsets[index]
      guard !range.isEmpty else { continue }
      let scalars = result.tokens[index].unicodeScalars
      func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar == "\u{120}" || scalar.properties.isWhitespace }
      var leading = scalars.prefix(while: isSpace).count
      let trailing = scalars.reversed().prefix(while: isSpace).count
      // One space at the start is the one that was put there.
      if leading == 1, addsPrefixSpace, index == 0 || range.lowerBound == 0 { leading = 0 }
      let start = min(range.lowerBound + leading, range.upperBound)
      result.offsets[index] = start..<max(start, range.upperBound - trailing)
    }
    return result
  }
}

extension Encoding {
  mutating func appendSpecial(_ token: PostProcessor.TokenPair, type: Int32) {
    append(token.id, token.token, 0..<0, type: type, isSpecial: true)
  }

  func with(_ overflowing: [Encoding]) -> Encoding {
    var result = self
    result.overflowing = overflowing
    return result
  }
}

extension [Encoding] {
  /// All parts as one; a later part without a type of its own is of type 1.
  func joined() -> Encoding {
    var result = Encoding(), windows: [Encoding] = []
    for part in self {
      result.append(part)
      windows += part.overflowing
    }
    result.overflowing = windows
    return result
  }
}
