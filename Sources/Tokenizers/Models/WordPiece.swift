/// WordPiece (Schuster and Nakajima 2012; Devlin et al. 2018): the longest token that begins the word, then the longest
/// continuation, and so on; a word that cannot be covered, or that is too long, is unknown as a whole.
struct WordPiece: Sendable {
  let vocabulary: Vocabulary
  let unknown: Int32
  let continuingPrefix: [UInt8]
  /// In scalars.
  let maximumWordLength: Int
  private let trie: ByteTrie
  private let continuation: Int32

  init(vocabulary: Vocabulary, unknown: Int32, continuingPrefix: [UInt8], maximumWordLength: Int) {
    (self.vocabulary, self.unknown) = (vocabulary, unknown)
    (self.continuingPrefix, self.maximumWordLength) = (continuingPrefix, maximumWordLength)
    var trie = ByteTrie(capacity: vocabulary.count * 3)
    for (id, token) in vocabulary.tokens where vocabulary.id(token) == id { trie.insert(token, id) }
    self.trie = trie
    continuation = trie.node(continuingPrefix)
  }

  func encode(_ bytes: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [Token]) {
    let start = tokens.count
    if count > maximumWordLength,
      UTF8Scalars.count(UnsafeBufferPointer(start: bytes, count: count)) > maximumWordLength
    {
      tokens.append(Token(id: unknown, length: Int32(count)))
      return
    }
    var position = 0
    while position < count {
      var node: Int32 = position == 0 ? 0 : continuation
      var end = position, found: Int32 = -1, at = position
      while node >= 0, at < count {
        node = trie.child(node, bytes[at])
        at += 1
        // Tokens are whole scalars, so a token that fits ends where one ends.
        if node >= 0, trie.values[Int(node)] >= 0 { (found, end) = (trie.values[Int(node)], at) }
      }
      guard found >= 0 else {
        tokens.removeLast(tokens.count - start)
        tokens.append(Token(id: unknown, length: Int32(count)))
        return
      }
      tokens.append(Token(id: found, length: Int32(end - position)))
      position = end
    }
  }
}

/// Whole words, looked up.
struct WordLevel: Sendable {
  let vocabulary: Vocabulary
  let unknown: Int32?

  func encode(_ bytes: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [Token]) {
    if let id = vocabulary.id(bytes, count) ?? unknown { tokens.append(Token(id: id, length: Int32(count))) }
  }
}

/// The longest token at every place, bytes where there is none: RWKV's "World" tokenizer.
struct LongestMatch: Sendable {
  let vocabulary: Vocabulary
  let unknown: Int32?
  private let trie: ByteTrie

  /// `contents`: the bytes of each token.
  init(vocabulary: Vocabulary, unknown: Int32?, contents: [[UInt8]]) {
    (self.vocabulary, self.unknown) = (vocabulary, unknown)
    var trie = ByteTrie(capacity: contents.count * 4)
    for (id, content) in contents.enumerated() where !content.isEmpty { trie.insert(content, Int32(id)) }
    self.trie = trie
  }

  func encode(_ bytes: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [Token]) {
    var position = 0
    while position < count {
      var node: Int32 = 0, end = position + 1, found = unknown ?? -1, at = position
      while at < count {
        node = trie.child(node, bytes[at])
        if node < 0 { break }
        at += 1
        if trie.values[Int(node)] >= 0 { (found, end) = (trie.values[Int(node)], at) }
      }
      if found >= 0 { tokens.append(Token(id: found, length: Int32(end - position))) }
      position = end
    }
  }
}
