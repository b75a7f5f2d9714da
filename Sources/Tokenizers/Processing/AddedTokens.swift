/// A token that is found in the text itself, before the model sees it.
public struct AddedToken: Sendable, Equatable {
  public var id: Int32
  public var content: String
  /// Marks structure, as [CLS] does: left out when decoding on request, and not looked for in text that must be plain.
  public var isSpecial = false
  /// Only where no letter, digit or mark touches it.
  public var isSingleWord = false
  /// Takes the white space before, or after, with it.
  public var stripsLeft = false, stripsRight = false
  /// Looked for in the normalized text instead of the raw one.
  public var isNormalized = false

  public init(
    id: Int32, content: String, isSpecial: Bool = false, isSingleWord: Bool = false, stripsLeft: Bool = false,
    stripsRight: Bool = false, isNormalized: Bool = false
  ) {
    (self.id, self.content, self.isSpecial) = (id, content, isSpecial)
    (self.isSingleWord, self.stripsLeft, self.stripsRight) = (isSingleWord, stripsLeft, stripsRight)
    self.isNormalized = isNormalized
  }
}

/// Finds added tokens in text: at every place the longest, from left to right.
struct AddedTokenFinder: Sendable {
  private var trie = ByteTrie()
  private var firstBytes = [Bool](repeating: false, count: 256)
  private let tokens: [AddedToken]
  let isEmpty: Bool

  /// `contents`: what to look for, a token each.
  init(_ tokens: [AddedToken], contents: [[UInt8]]) {
    self.tokens = tokens
    isEmpty = tokens.isEmpty
    for (index, content) in contents.enumerated() where !content.isEmpty {
      trie.insert(content, Int32(index))
      firstBytes[Int(content[0])] = true
    }
  }

  /// The parts of a text: the tokens' places, with white space that belongs to them, and what lies between.
  func split(_ bytes: [UInt8], _ body: (Range<Int>, AddedToken?) -> Void) {
    let table = ScalarTable.shared
    bytes.withUnsafeBufferPointer { buffer in
      guard let bytes = buffer.baseAddress else { return }
      let count = buffer.count
      var start = 0, position = 0
      while position < count {
        guard firstBytes[Int(bytes[position])], let (index, end) = longest(bytes, position, count) else {
          position += 1
          continue
        }
        let token = tokens[index]
        if token.isSingleWord, touchesWord(bytes, position, end, count) {
          position = end
          continue
        }
        var from = position, to = end
        if token.stripsLeft {
          while from > start {
            let before = UTF8Scalars.before(bytes, from)
            guard table.isWhitespace(UTF8Scalars.decode(bytes, before).value) else { break }
            from = before
          }
        }
        if token.stripsRight {
          while to < count {
            let (scalar, length) = UTF8Scalars.decode(bytes, to)
            guard table.isWhitespace(scalar) else { break }
            to += length
          }
        }
        if start < from { body(start..<from, nil) }
        body(from..<to, token)
        (start, position) = (to, to)
      }
      if start < count { body(start..<count, nil) }
    }
  }

  private func longest(_ bytes: UnsafePointer<UInt8>, _ position: Int, _ count: Int) -> (Int, Int)? {
    var node: Int32 = 0, at = position
    var found: (Int, Int)? = nil
    while at < count {
      node = trie.child(node, bytes[at])
      if node < 0 { break }
      at += 1
      if trie.values[Int(node)] >= 0 { found = (Int(trie.values[Int(node)]), at) }
    }
    return found
  }

  private func touchesWord(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ count: Int) -> Bool {
    let table = ScalarTable.shared
    return start > 0 && table.isWord(UTF8Scalars.decode(bytes, UTF8Scalars.before(bytes, start)).value)
      || end < count && table.isWord(UTF8Scalars.decode(bytes, end).value)
  }
}
