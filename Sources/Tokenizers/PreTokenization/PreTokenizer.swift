/// How text is split before the model sees it: the pre-tokenizers of `tokenizer.json`.
indirect enum PreTokenizer: Sendable {
  case bert
  case byteLevel(addsPrefixSpace: Bool, trimsOffsets: Bool, usesPattern: Bool)
  case delimiter(UInt32)
  case digits(individually: Bool)
  case fixedLength(Int)
  case metaspace(replacement: UInt32, scheme: PrependScheme, splits: Bool)
  case punctuation(SplitBehavior)
  case sequence([PreTokenizer])
  case split(Splitter, SplitBehavior, inverted: Bool)
  case unicodeScripts
  case whitespace
  case whitespaceSplit

  enum PrependScheme: String, CaseIterable, Sendable { case first, never, always }

  enum Splitter: Sendable {
    case scanner(GPTScanner)
    case literal(Normalizer.Literal)
  }
}

/// What becomes of the matches of a split.
enum SplitBehavior: String, CaseIterable, Sendable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"
}

/// Text and the places of its pieces.
struct Pieces {
  struct Piece: Equatable {
    var start: UInt32, end: UInt32
    var range: Range<Int> { Int(start)..<Int(end) }
  }

  var text: Text
  var pieces: [Piece]

  init(_ text: Text) {
    self.text = text
    pieces = text.bytes.isEmpty ? [] : [Piece(start: 0, end: UInt32(text.bytes.count))]
  }

  /// A part of a piece that a pattern has looked at.
  struct Part {
    var start: Int, end: Int, isMatch: Bool
  }

  /// Splits every piece into the parts that `find` gives, which cover it in order, by a behaviour.
  mutating func split(
    _ behavior: SplitBehavior, _ find: (UnsafePointer<UInt8>, Range<Int>, inout [Part]) -> Void
  ) {
    var result: [Piece] = []
    result.reserveCapacity(pieces.count * 2)
    var parts: [Part] = []
    text.bytes.withUnsafeBufferPointer { bytes in
      for piece in pieces {
        parts.removeAll(keepingCapacity: true)
        find(bytes.baseAddress!, piece.range, &parts)
        behavior.join(&parts)
        for part in parts where part.start < part.end {
          result.append(Piece(start: UInt32(part.start), end: UInt32(part.end)))
        }
      }
    }
    pieces = result
  }

  /// Splits by a property of single scalars: each matching scalar is a part.
  mutating func split(_ behavior: SplitBehavior, where isMatch: (UInt32) -> Bool) {
    split(behavior) { bytes, range, parts in
      var position = range.lowerBound, start = position
      while position < range.upperBound {
        let (scalar, length) = UTF8Scalars.decode(bytes, position)
        if isMatch(scalar) {
          if start < position { parts.append(.init(start: start, end: position, isMatch: false)) }
          parts.append(.init(start: position, end: position + length, isMatch: true))
          start = position + length
        }
        position += length
      }
      if start < position { parts.append(.init(start: start, end: position, isMatch: false)) }
    }
  }
}

extension SplitBehavior {
  func join(_ parts: inout [Pieces.Part]) {
    switch self {
    case .removed: parts.removeAll { $0.isMatch }
    case .isolated: break
    case .contiguous:
      var joined: [Pieces.Part] = []
      for part in parts {
        if let last = joined.last, last.isMatch == part.isMatch {
          joined[joined.count - 1].end = part.end
        } else {
          joined.append(part)
        }
      }
      parts = joined
    case .mergedWithPrevious:
      var joined: [Pieces.Part] = [], wasMatch = false
      for part in parts {
        if part.isMatch, !wasMatch, !joined.isEmpty {
          joined[joined.count - 1].end = part.end
        } else {
          joined.append(part)
        }
        wasMatch = part.isMatch
      }
      parts = joined
    case .mergedWithNext:
      var joined: [Pieces.Part] = [], wasMatch = false
      for part in parts.reversed() {
        if part.isMatch, !wasMatch, !joined.isEmpty {
          joined[joined.count - 1].start = part.start
        } else {
          joined.append(part)
        }
        wasMatch = part.isMatch
      }
      parts = joined.reversed()
    }
  }
}

extension PreTokenizer {
  /// Splits. With `keepsBytes` a byte-level step at the end leaves the bytes as they are, for a model that knows its
  /// vocabulary as bytes. `isStart`: the text begins where the input does.
  func apply(_ pieces: inout Pieces, isStart: Bool, keepsBytes: Bool, _ stack: inout [Pattern.Retry]) {
    let table = ScalarTable.shared
    switch self {
    case .sequence(let steps):
      for (index, step) in steps.enumerated() {
        step.apply(&pieces, isStart: isStart, keepsBytes: keepsBytes && index == steps.count - 1, &stack)
      }
    case .bert:
      pieces.split(.removed) { table.isWhitespace($0) }
      pieces.split(.isolated) { table.isPunctuation($0) }
    case .whitespaceSplit: pieces.split(.removed) { table.isWhitespace($0) }
    case .whitespace: splitWords(&pieces)
    case .punctuation(let behavior): pieces.split(behavior) { table.isPunctuation($0) }
    case .digits(let individually):
      pieces.split(individually ? .isolated : .contiguous) { table.isIn(.number, $0) }
    case .delimiter(let delimiter): pieces.split(.removed) { $0 == delimiter }
    case .fixedLength(let length):
      pieces.split(.isolated) { bytes, range, parts in
        var start = range.lowerBound
        while start < range.upperBound {
          var end = start, count = 0
          while end < range.upperBound, count < length {
            end += UTF8Scalars.length(bytes[end])
            count += 1
          }
          parts.append(.init(start: start, end: end, isMatch: true))
          start = end
        }
      }
    case .unicodeScripts: UnicodeScripts.split(&pieces)
    case .split(let splitter, let behavior, let inverted):
      split(&pieces, splitter, behavior, inverted, &stack)
    case .metaspace(let replacement, let scheme, let splits):
      metaspace(&pieces, replacement, scheme, splits, isStart: isStart)
    case .byteLevel(let addsPrefixSpace, _, let usesPattern):
      if addsPrefixSpace { prefixSpaces(&pieces) }
      if usesPattern {
        split(&pieces, .scanner(.gpt2), .isolated, false, &stack)
      }
      if !keepsBytes { mapBytes(&pieces) }
    }
  }

  private func split(
    _ pieces: inout Pieces, _ splitter: Splitter, _ behavior: SplitBehavior, _ inverted: Bool,
    _ stack: inout [Pattern.Retry]
  ) {
    switch splitter {
    case .scanner(let scanner):
      // The pattern matches everywhere.
      var result: [Pieces.Piece] = []
      if behavior == .isolated || behavior == .removed && inverted {
        result.reserveCapacity(pieces.text.bytes.count / 4)
        pieces.text.bytes.withUnsafeBufferPointer { bytes in
          for piece in pieces.pieces {
            scanner.split(bytes.baseAddress!, piece.range) { start, end in
              result.append(.init(start: UInt32(start), end: UInt32(end)))
            }
          }
        }
        pieces.pieces = result
        return
      }
      pieces.split(behavior) { bytes, range, parts in
        scanner.split(bytes, range) { parts.append(.init(start: $0, end: $1, isMatch: !inverted)) }
      }
    case .literal(let literal):
      pieces.split(behavior) { bytes, range, parts in
        var position = range.lowerBound
        literal.forEachMatch(bytes, range, &stack) { match in
          if position < match.lowerBound {
            parts.append(.init(start: position, end: match.lowerBound, isMatch: inverted))
          }
          parts.append(.init(start: match.lowerBound, end: match.upperBound, isMatch: !inverted))
          position = match.upperBound
        }
        if position < range.upperBound {
          parts.append(.init(start: position, end: range.upperBound, isMatch: inverted))
        }
      }
    }
  }

  /// `\w+|[^\w\s]+`
  private func splitWords(_ pieces: inout Pieces) {
    let table = ScalarTable.shared
    pieces.split(.removed) { bytes, range, parts in
      func kind(_ scalar: UInt32) -> Int { table.isWord(scalar) ? 0 : table.isWhitespace(scalar) ? 1 : 2 }
      var position = range.lowerBound, start = position, current = -1
      while position < range.upperBound {
        let (scalar, length) = UTF8Scalars.decode(bytes, position)
        let next = kind(scalar)
        if next != current {
          if start < position { parts.append(.init(start: start, end: position, isMatch: current == 1)) }
          (start, current) = (position, next)
        }
        position += length
      }
      if start < position { parts.append(.init(start: start, end: position, isMatch: current == 1)) }
    }
  }

  /// Rebuilds the text piece by piece; `body` appends what becomes of a piece.
  private func rebuild(
    _ pieces: inout Pieces, _ body: (Range<Int>, UnsafePointer<UInt8>, inout TextBuilder) -> Void
  ) {
    var builder = TextBuilder(pieces.text)
    var result: [Pieces.Piece] = []
    pieces.text.bytes.withUnsafeBufferPointer { bytes in
      for piece in pieces.pieces {
        let start = builder.bytes.count
        body(piece.range, bytes.baseAddress!, &builder)
        result.append(.init(start: UInt32(start), end: UInt32(builder.bytes.count)))
      }
    }
    pieces.text = builder.finished()
    pieces.pieces = result
  }

  private func prefixSpaces(_ pieces: inout Pieces) {
    guard pieces.pieces.contains(where: { pieces.text.bytes[Int($0.start)] != 0x20 }) else { return }
    rebuild(&pieces) { range, bytes, out in
      if bytes[range.lowerBound] != 0x20 {
        out.append(
          0x20, from: range.lowerBound..<range.lowerBound + UTF8Scalars.length(bytes[range.lowerBound]))
      }
      out.keep(range)
    }
  }

  private func mapBytes(_ pieces: inout Pieces) {
    rebuild(&pieces) { range, bytes, out in
      var position = range.lowerBound
      while position < range.upperBound {
        let end = position + UTF8Scalars.length(bytes[position])
        for index in position..<end {
          out.append(ByteAlphabet.scalars[Int(bytes[index])], from: position..<end)
        }
        position = end
      }
    }
  }

  private func metaspace(
    _ pieces: inout Pieces, _ replacement: UInt32, _ scheme: PrependScheme, _ splits: Bool, isStart: Bool
  ) {
    var isFirst = isStart
    rebuild(&pieces) { range, bytes, out in
      let (first, length) = UTF8Scalars.decode(bytes, range.lowerBound)
      let hasPrefix = first == replacement || first == 0x20
      if !hasPrefix, scheme == .always || scheme == .first && isFirst {
        out.append(replacement, from: range.lowerBound..<range.lowerBound + length)
      }
      isFirst = false
      var position = range.lowerBound
      while position < range.upperBound {
        var end = position
        while end < range.upperBound, bytes[end] != 0x20 { end += 1 }
        if position < end { out.keep(position..<end) }
        if end < range.upperBound { out.append(replacement, from: end..<end + 1) }
        position = end + 1
      }
    }
    if splits { pieces.split(.mergedWithNext) { $0 == replacement } }
  }
}
