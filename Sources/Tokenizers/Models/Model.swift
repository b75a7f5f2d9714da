/// What turns words into tokens.
enum Model: Sendable {
  case bpe(BPE)
  case wordPiece(WordPiece)
  case unigram(Unigram)
  case wordLevel(WordLevel)
  case longestMatch(LongestMatch)

  struct Scratch {
    var bpe = BPE.Scratch()
    var unigram = Unigram.Scratch()
  }

  @inline(__always)
  func encode(
    _ bytes: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [Token], _ scratch: inout Scratch
  ) {
    switch self {
    case .bpe(let model): model.encode(bytes, count, into: &tokens, &scratch.bpe)
    case .wordPiece(let model): model.encode(bytes, count, into: &tokens)
    case .unigram(let model): model.encode(bytes, count, into: &tokens, &scratch.unigram)
    case .wordLevel(let model): model.encode(bytes, count, into: &tokens)
    case .longestMatch(let model): model.encode(bytes, count, into: &tokens)
    }
  }

  /// The name in `tokenizer.json`.
  var name: String {
    switch self {
    case .bpe: "BPE"
    case .wordPiece: "WordPiece"
    case .unigram: "Unigram"
    case .wordLevel: "WordLevel"
    case .longestMatch: "LongestMatch"
    }
  }

  /// Whether the vocabulary is of bytes, so that a byte-level step need not spell them out.
  var isByteLevel: Bool {
    if case .bpe(let model) = self { return model.isByteLevel }
    return false
  }

  /// Whether no token but a run of them has U+2581 after anything else: text may then be cut before each such sign.
  static func cutsAtSpaces(_ vocabulary: Vocabulary) -> Bool {
    let space: [UInt8] = [0xE2, 0x96, 0x81]
    guard vocabulary.id(space) != nil else { return false }
    for (_, token) in vocabulary.tokens {
      var position = token.startIndex, seenOther = false
      while position < token.endIndex {
        if token[position...].starts(with: space) {
          if seenOther { return false }
          position += 3
        } else {
          seenOther = true
          position += 1
        }
      }
    }
    return true
  }
}
