import KalsaeFormats

/// What happens to text before it is split: the normalizers of `tokenizer.json`.
indirect enum Normalizer: Sendable {
  case bert(BertNormalizer)
  case strip(left: Bool, right: Bool)
  case stripAccents
  case unicode(UnicodeNormalizer.Form)
  case sequence([Normalizer])
  case lowercase
  case nmt
  case precompiled(PrecompiledMap)
  /// The same rules as SentencePiece itself applies them, with its treatment of spaces: not a part of `tokenizer.json`.
  case sentencePiece(
    PrecompiledMap?, removesExtraSpaces: Bool, addsPrefix: Bool, escapesSpaces: Bool, isSuffix: Bool)
  case replace(Literal, content: [UInt8])
  case prepend([UInt8])
  case byteLevel

  /// What a replacement or a split looks for.
  enum Literal: Sendable {
    case string([UInt8])
    case pattern(Pattern)
  }

  func apply(_ text: Text, _ worker: inout UnicodeNormalizer) -> Text {
    switch self {
    case .bert(let options): return options.apply(text, &worker)
    case .strip(let left, let right): return strip(text, left, right)
    case .stripAccents: return Self.stripMarks(text, .mark)
    case .unicode(let form): return worker.normalize(text, form)
    case .sequence(let steps): return steps.reduce(text) { $1.apply($0, &worker) }
    case .lowercase: return Self.lowercase(text)
    case .nmt: return nmt(text)
    case .precompiled(let map): return map.normalizeByGrapheme(text)
    case .sentencePiece(let map, let removesExtra, let addsPrefix, let escapes, let isSuffix):
      return Self.sentencePiece(
        map?.normalize(text) ?? text, removesExtra: removesExtra, addsPrefix: addsPrefix, escapes: escapes,
        isSuffix: isSuffix)
    case .replace(let literal, let content): return replace(text, literal, content)
    case .prepend(let prefix):
      guard !text.bytes.isEmpty else { return text }
      var builder = TextBuilder(text)
      builder.append(prefix, from: 0..<UTF8Scalars.length(text.bytes[0]))
      builder.keep(0..<text.bytes.count)
      return builder.finished()
    case .byteLevel: return Self.mapBytes(text)
    }
  }

  static func lowercase(_ text: Text) -> Text {
    guard text.bytes.contains(where: { $0 >= 0x80 || (0x41...0x5A).contains($0) }) else { return text }
    let table = ScalarTable.shared
    return text.mappingScalars { scalar, range, out in
      if scalar < 0x80 {
        out.append((0x41...0x5A).contains(scalar) ? scalar | 0x20 : scalar, from: range)
      } else if table.isIn(.of(.Lo, .Mn, .Po, .Ps, .Pe, .Lm), scalar) {
        out.keep(range)
      } else {
        for lower in Unicode.Scalar(scalar)!.properties.lowercaseMapping.unicodeScalars {
          out.append(lower.value, from: range)
        }
      }
    }
  }

  /// Drops marks of the given categories, which decomposition has set apart.
  static func stripMarks(_ text: Text, _ marks: Category.Mask) -> Text {
    if text.bytes.allSatisfy({ $0 < 0xCC }) { return text }
    let table = ScalarTable.shared
    return text.mappingScalars { scalar, range, out in
      if scalar < 0x300 || !table.isIn(marks, scalar) { out.keep(range) }
    }
  }

  /// Every byte as its scalar in GPT-2's alphabet.
  static func mapBytes(_ text: Text) -> Text {
    var builder = TextBuilder(text)
    var start = 0, end = 0
    for index in text.bytes.indices {
      if index == end { (start, end) = (index, index + UTF8Scalars.length(text.bytes[index])) }
      builder.append(ByteAlphabet.scalars[Int(text.bytes[index])], from: start..<min(end, text.bytes.count))
    }
    return builder.finished()
  }

  private func strip(_ text: Text, _ left: Bool, _ right: Bool) -> Text {
    let table = ScalarTable.shared
    let kept = text.bytes.withUnsafeBufferPointer { bytes -> Range<Int> in
      guard let start = bytes.baseAddress else { return 0..<0 }
      var range = 0..<bytes.count
      while left, !range.isEmpty {
        let (scalar, length) = UTF8Scalars.decode(start, range.lowerBound)
        guard table.isWhitespace(scalar) else { break }
        range = range.lowerBound + length..<range.upperBound
      }
      while right, !range.isEmpty {
        let before = UTF8Scalars.before(start, range.upperBound)
        guard table.isWhitespace(UTF8Scalars.decode(start, before).value) else { break }
        range = range.lowerBound..<before
      }
      return range
    }
    guard kept.count < text.bytes.count else { return text }
    var builder = TextBuilder(text)
    builder.keep(kept)
    return builder.finished()
  }

  /// The clean-up of Google's translation models: controls go, other spaces become the space.
  private func nmt(_ text: Text) -> Text {
    text.mappingScalars { scalar, range, out in
      switch scalar {
      case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: break
      case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD:
        out.append(0x20, from: range)
      default: out.keep(range)
      }
    }
  }

  private func replace(_ text: Text, _ literal: Literal, _ content: [UInt8]) -> Text {
    let matches = literal.matches(in: text.bytes)
    guard !matches.isEmpty else { return text }
    var builder = TextBuilder(text)
    var position = 0
    for match in matches {
      builder.keep(position..<match.lowerBound)
      builder.append(content, from: match)
      position = match.upperBound
    }
    builder.keep(position..<text.bytes.count)
    return builder.finished()
  }

  /// SentencePiece's own rules for spaces: none outside, one between words, written U+2581, one more before the text.
  private static func sentencePiece(
    _ text: Text, removesExtra: Bool, addsPrefix: Bool, escapes: Bool, isSuffix: Bool
  ) -> Text {
    let space: [UInt8] = escapes ? [0xE2, 0x96, 0x81] : [0x20]
    let bytes = text.bytes
    var start = 0, end = bytes.count
    if removesExtra {
      while start < end, bytes[start] == 0x20 { start += 1 }
      while end > start, bytes[end - 1] == 0x20 { end -= 1 }
    }
    var builder = TextBuilder(text)
    guard start < end else { return builder.finished() }
    if addsPrefix, !isSuffix { builder.append(space, from: start..<start + UTF8Scalars.length(bytes[start])) }
    var position = start
    while position < end {
      if bytes[position] == 0x20 {
        let isRepeated = removesExtra && position > start && bytes[position - 1] == 0x20
        if !isRepeated { builder.append(space, from: position..<position + 1) }
        position += 1
      } else {
        var next = position + 1
        while next < end, bytes[next] != 0x20 { next += 1 }
        builder.keep(position..<next)
        position = next
      }
    }
    if addsPrefix, isSuffix { builder.append(space, from: end - 1..<end) }
    return builder.finished()
  }
}

extension Normalizer.Literal {
  /// The places of all matches from left to right, without overlap.
  func matches(in bytes: [UInt8]) -> [Range<Int>] {
    var result: [Range<Int>] = []
    bytes.withUnsafeBufferPointer { bytes in
      guard let start = bytes.baseAddress else { return }
      var stack: [Pattern.Retry] = []
      forEachMatch(start, 0..<bytes.count, &stack) { result.append($0) }
    }
    return result
  }

  func forEachMatch(
    _ bytes: UnsafePointer<UInt8>, _ range: Range<Int>, _ stack: inout [Pattern.Retry],
    _ body: (Range<Int>) -> Void
  ) {
    var position = range.lowerBound
    switch self {
    case .string(let wanted):
      guard !wanted.isEmpty else { return }
      while position + wanted.count <= range.upperBound {
        if bytes[position] == wanted[0], (1..<wanted.count).allSatisfy({ bytes[position + $0] == wanted[$0] })
        {
          body(position..<position + wanted.count)
          position += wanted.count
        } else {
          position += 1
        }
      }
    case .pattern(let pattern):
      while position <= range.upperBound, let match = pattern.firstMatch(bytes, range, from: position, &stack)
      {
        body(match)
        position = match.upperBound
        if match.isEmpty {
          guard position < range.upperBound else { return }
          position += UTF8Scalars.length(bytes[position])
        }
      }
    }
  }
}

/// BERT's clean-up (Devlin et al. 2018): controls go, spaces become the space, ideographs stand apart, and for uncased
/// models accents go and letters become small.
struct BertNormalizer: Sendable, Equatable {
  var cleansText = true, separatesHan = true
  /// nil: as `lowercases`.
  var stripsAccents: Bool? = nil
  var lowercases = true

  func apply(_ text: Text, _ worker: inout UnicodeNormalizer) -> Text {
    var text = text
    if cleansText || separatesHan { text = cleaned(text) }
    if stripsAccents ?? lowercases { text = Normalizer.stripMarks(worker.normalize(text, .NFD), .of(.Mn)) }
    return lowercases ? Normalizer.lowercase(text) : text
  }

  private func cleaned(_ text: Text) -> Text {
    guard text.bytes.contains(where: { $0 < 0x20 || $0 >= 0x7F }) else { return text }
    let table = ScalarTable.shared
    return text.mappingScalars { scalar, range, out in
      if scalar >= 0x20, scalar < 0x7F {
        out.keep(range)
        return
      }
      if cleansText {
        if scalar == 0x09 || scalar == 0x0A || scalar == 0x0D || table.isWhitespace(scalar) {
          // U+0085 is both: the test for controls comes first.
          if scalar != 0x0B, scalar != 0x0C, scalar != 0x85 { out.append(0x20, from: range) }
          return
        }
        if scalar == 0 || scalar == 0xFFFD
          || table.isIn(.of(.control, .format, .privateUse, .surrogate), scalar)
        {
          return
        }
      }
      guard separatesHan, Self.isHan(scalar) else {
        out.keep(range)
        return
      }
      out.append(0x20, from: range)
      out.keep(range)
      out.append(0x20, from: range)
    }
  }

  private static func isHan(_ value: UInt32) -> Bool {
    switch value {
    case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
      0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
      true
    default: false
    }
  }
}
