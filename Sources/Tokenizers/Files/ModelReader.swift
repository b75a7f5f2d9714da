import KalsaeFormats

/// The `model` of a `tokenizer.json` as it lies in the file. Vocabulary and merges, which are most of the file, are read
/// straight into tables; the rest stays JSON.
struct RawModel {
  var settings = JSONObject()
  /// BPE, WordPiece, WordLevel.
  var vocabulary: Vocabulary? = nil
  /// Unigram.
  var scores: [Double]? = nil
  var merges: [(left: String, right: String)]? = nil

  init(_ json: inout JSONReader) throws(JSONError) {
    try json.expect("{")
    var first = true
    while let key = try json.nextKey(&first) {
      switch key {
      case "vocab" where json.peek() == UInt8(ascii: "{"): try readVocabulary(&json)
      case "vocab" where json.peek() == UInt8(ascii: "["): try readScores(&json)
      case "merges" where json.peek() == UInt8(ascii: "["): try readMerges(&json)
      default:
        guard settings[key] == nil else { throw json.failure("duplicate key '\(JSON.shown(key))'") }
        settings[key] = try json.value()
      }
    }
  }

  /// An object of tokens and their numbers; also the whole of a `vocab.json`.
  static func vocabulary(_ json: inout JSONReader) throws(JSONError) -> Vocabulary {
    try json.expect("{")
    var first = true
    var entries: [(String, Int32)] = []
    while let token = try json.nextKey(&first) {
      guard case .integer(let id) = try json.number(), id >= 0, id < 1 << 24 else {
        throw json.failure(
          "the number of the token '\(JSON.shown(token))' must be an integer from 0 to 16777215")
      }
      entries.append((token, Int32(id)))
    }
    var vocabulary = Vocabulary(capacity: entries.count)
    for (token, id) in entries {
      guard vocabulary.token(id) == nil else {
        throw json.failure("two tokens have the number \(id), one of them '\(JSON.shown(token))'")
      }
      guard vocabulary.insert(token.utf8, id: id) else {
        throw json.failure("the token '\(JSON.shown(token))' is there twice")
      }
    }
    return vocabulary
  }

  private mutating func readVocabulary(_ json: inout JSONReader) throws(JSONError) {
    vocabulary = try Self.vocabulary(&json)
  }

  private mutating func readScores(_ json: inout JSONReader) throws(JSONError) {
    var vocabulary = Vocabulary(), scores: [Double] = []
    try json.expect("[")
    var first = true
    while try json.nextElement(&first) {
      try json.expect("[")
      let token = try json.string()
      try json.expect(",")
      switch try json.number() {
      case .integer(let value): scores.append(Double(value))
      case .double(let value): scores.append(value)
      default: break
      }
      try json.expect("]")
      vocabulary.append(token.utf8)
    }
    (self.vocabulary, self.scores) = (vocabulary, scores)
  }

  /// "a b" or ["a", "b"].
  private mutating func readMerges(_ json: inout JSONReader) throws(JSONError) {
    var merges: [(String, String)] = []
    try json.expect("[")
    var first = true
    while try json.nextElement(&first) {
      if json.peek() == UInt8(ascii: "[") {
        try json.expect("[")
        let left = try json.string()
        try json.expect(",")
        merges.append((left, try json.string()))
        try json.expect("]")
      } else {
        let text = try json.string()
        guard let pair = Self.pair(text) else {
          throw json.failure("the merge '\(JSON.shown(text))' should be two tokens with a space between")
        }
        merges.append(pair)
      }
    }
    self.merges = merges
  }

  static func pair(_ text: String) -> (left: String, right: String)? {
    let utf8 = text.utf8
    guard let space = utf8.firstIndex(of: 0x20) else { return nil }
    let right = utf8.index(after: space)
    guard space > utf8.startIndex, right < utf8.endIndex, !utf8[right...].contains(0x20) else { return nil }
    return (String(text[..<space]), String(text[right...]))
  }
}

extension BPE {
  /// Ranks merges by their place. `problem` tells of merges whose tokens are not in the vocabulary.
  init(
    vocabulary: Vocabulary, merges: [(left: String, right: String)], continuingPrefix: [UInt8] = [],
    problem: (String) -> any Error
  ) throws {
    var table = PairTable(capacity: merges.count)
    var list: [(left: Int32, right: Int32)] = []
    list.reserveCapacity(merges.count)
    var merged: [UInt8] = []
    for (rank, merge) in merges.enumerated() {
      guard let left = vocabulary.id(merge.left.utf8), let right = vocabulary.id(merge.right.utf8) else {
        throw problem(
          "merge \(rank + 1) joins '\(JSON.shown(merge.left))' and '\(JSON.shown(merge.right))', which are not both in the vocabulary"
        )
      }
      merged.removeAll(keepingCapacity: true)
      merged.append(contentsOf: merge.left.utf8)
      merged.append(contentsOf: merge.right.utf8.dropFirst(continuingPrefix.count))
      guard let id = vocabulary.id(merged) else {
        throw problem(
          "merge \(rank + 1) makes '\(JSON.shown(String(decoding: merged, as: UTF8.self)))', which is not in the vocabulary"
        )
      }
      table.insert(left, right, rank: rank, id: id)
      list.append((left, right))
    }
    self.init(vocabulary: vocabulary, merges: table, mergeList: list)
  }

  /// The same model on raw bytes: every token that GPT-2's alphabet can spell becomes its bytes.
  func onBytes() -> BPE {
    var result = self
    var raw = Vocabulary(capacity: vocabulary.count)
    for (id, token) in vocabulary.tokens {
      if let bytes = ByteAlphabet.decode(token) { raw.insert(bytes, id: id) }
    }
    result.vocabulary = raw
    result.isByteLevel = true
    result.endSuffix = ByteAlphabet.decode(endSuffix) ?? endSuffix
    result.prepare()
    return result
  }
}
