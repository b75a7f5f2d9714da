/// Byte-pair encoding (Sennrich et al. 2016; of bytes: Radford et al. 2019): a word begins as single characters, or bytes,
/// and the pair of the lowest rank is joined, the leftmost first, until no pair has a rank.
struct BPE: Sendable {
  var vocabulary: Vocabulary
  /// Ranks of joining pairs and what they become.
  var merges: PairTable
  /// In the order of their ranks, as pairs of token numbers; for writing.
  var mergeList: [(left: Int32, right: Int32)]
  /// The vocabulary is of raw bytes, one a starting symbol.
  var isByteLevel = false
  var unknown: Int32? = nil
  var fusesUnknown = false
  /// Characters outside the vocabulary become the tokens <0x00> to <0xFF>.
  var byteTokens: [Int32]? = nil
  var continuingPrefix: [UInt8] = [], endSuffix: [UInt8] = []
  /// A word that is a token is that token, whatever the merges say.
  var ignoresMerges = false
  /// The token of each byte, -1 where there is none.
  private var bytesIDs: [Int32] = []

  init(vocabulary: Vocabulary, merges: PairTable, mergeList: [(left: Int32, right: Int32)]) {
    (self.vocabulary, self.merges, self.mergeList) = (vocabulary, merges, mergeList)
  }

  /// Call when the settings are complete.
  mutating func prepare() {
    bytesIDs = (0..<256).map { vocabulary.id([UInt8($0)]) ?? -1 }
  }

  struct Symbol {
    var id: Int32, length: Int32
    /// Rank and id of the merge with the next symbol.
    var merge: UInt64
  }

  struct Node {
    var id: Int32, length: Int32, previous: Int32, next: Int32
  }

  struct Scratch {
    var symbols: [Symbol] = []
    var nodes: [Node] = []
    fileprivate var heap = Heap<Candidate>()
    var word: [UInt8] = []
  }

  func encode(
    _ bytes: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [Token], _ scratch: inout Scratch
  ) {
    if ignoresMerges || count == 1 && continuingPrefix.isEmpty && endSuffix.isEmpty,
      let id = vocabulary.id(bytes, count)
    {
      tokens.append(Token(id: id, length: Int32(count)))
      return
    }
    scratch.symbols.removeAll(keepingCapacity: true)
    start(bytes, count, &scratch)
    if scratch.symbols.count <= 48 {
      mergeShort(&scratch.symbols)
      for symbol in scratch.symbols { tokens.append(Token(id: symbol.id, length: symbol.length)) }
    } else {
      mergeLong(&scratch, &tokens)
    }
  }

  // MARK: Symbols

  private func start(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ scratch: inout Scratch) {
    let isPlain = continuingPrefix.isEmpty && endSuffix.isEmpty
    if isByteLevel, isPlain {
      for index in 0..<count {
        let id = bytesIDs[Int(bytes[index])]
        if id >= 0 {
          scratch.symbols.append(Symbol(id: id, length: 1, merge: PairTable.none))
        } else {
          appendUnknown(bytes + index, 1, isWordEnd: false, &scratch)
        }
      }
      return
    }
    var position = 0
    while position < count {
      let length = isByteLevel ? 1 : min(UTF8Scalars.length(bytes[position]), count - position)
      let id: Int32?
      if isPlain {
        id =
          length == 1
          ? (bytesIDs[Int(bytes[position])] >= 0 ? bytesIDs[Int(bytes[position])] : nil)
          : vocabulary.id(bytes + position, length)
      } else {
        scratch.word.removeAll(keepingCapacity: true)
        if position > 0 { scratch.word.append(contentsOf: continuingPrefix) }
        scratch.word.append(contentsOf: UnsafeBufferPointer(start: bytes + position, count: length))
        if position + length == count { scratch.word.append(contentsOf: endSuffix) }
        id = vocabulary.id(scratch.word)
      }
      if let id {
        scratch.symbols.append(Symbol(id: id, length: Int32(length), merge: PairTable.none))
      } else {
        appendUnknown(bytes + position, length, isWordEnd: position + length == count, &scratch)
      }
      position += length
    }
  }

  /// What is not in the vocabulary: its bytes' tokens, the unknown token, or nothing.
  private func appendUnknown(
    _ bytes: UnsafePointer<UInt8>, _ length: Int, isWordEnd: Bool, _ scratch: inout Scratch
  ) {
    if let byteTokens, (0..<length).allSatisfy({ byteTokens[Int(bytes[$0])] >= 0 }) {
      for index in 0..<length {
        scratch.symbols.append(Symbol(id: byteTokens[Int(bytes[index])], length: 1, merge: PairTable.none))
      }
    } else if let unknown {
      if fusesUnknown, let last = scratch.symbols.last, last.id == unknown {
        scratch.symbols[scratch.symbols.count - 1].length += Int32(length)
      } else {
        scratch.symbols.append(Symbol(id: unknown, length: Int32(length), merge: PairTable.none))
      }
    } else if let last = scratch.symbols.indices.last {
      // Nothing stands for it: what is before covers its bytes, so that later places stay right.
      scratch.symbols[last].length += Int32(length)
    } else {
      scratch.symbols.append(Symbol(id: -1, length: Int32(length), merge: PairTable.none))
    }
  }

  // MARK: Merging

  /// The best pair by a scan of the ranks: quadratic, but words are short.
  private func mergeShort(_ symbols: inout [Symbol]) {
    var count = symbols.count
    guard count > 1 else { return }
    symbols.withUnsafeMutableBufferPointer { symbols in
      for index in 0..<count - 1 {
        symbols[index].merge = merges.merge(symbols[index].id, symbols[index + 1].id)
      }
      while count > 1 {
        var best = -1, lowest = PairTable.none
        for index in 0..<count - 1 where symbols[index].merge < lowest {
          (best, lowest) = (index, symbols[index].merge)
        }
        guard best >= 0 else { break }
        symbols[best].id = Int32(truncatingIfNeeded: lowest)
        symbols[best].length += symbols[best + 1].length
        count -= 1
        var index = best + 1
        while index < count {
          symbols[index] = symbols[index + 1]
          index += 1
        }
        symbols[best].merge =
          best + 1 < count ? merges.merge(symbols[best].id, symbols[best + 1].id) : PairTable.none
        if best > 0 { symbols[best - 1].merge = merges.merge(symbols[best - 1].id, symbols[best].id) }
      }
    }
    symbols.removeLast(symbols.count - count)
  }

  /// The best pair from a heap: for text that is one long word.
  private func mergeLong(_ scratch: inout Scratch, _ tokens: inout [Token]) {
    scratch.nodes.removeAll(keepingCapacity: true)
    scratch.heap.removeAll(keepingCapacity: true)
    let count = scratch.symbols.count
    for (index, symbol) in scratch.symbols.enumerated() {
      scratch.nodes.append(
        Node(
          id: symbol.id, length: symbol.length, previous: Int32(index - 1),
          next: index + 1 < count ? Int32(index + 1) : -1))
    }
    func offer(_ left: Int32, _ scratch: inout Scratch) {
      let right = scratch.nodes[Int(left)].next
      guard right >= 0 else { return }
      let merge = merges.merge(scratch.nodes[Int(left)].id, scratch.nodes[Int(right)].id)
      guard merge != PairTable.none else { return }
      // Equal ranks: the leftmost first.
      scratch.heap.push(
        Candidate(
          key: merge & ~0xFFFF_FFFF | UInt64(left), id: Int32(truncatingIfNeeded: merge), right: right))
    }
    for index in 0..<count - 1 { offer(Int32(index), &scratch) }
    while let top = scratch.heap.pop() {
      let left = Int(truncatingIfNeeded: top.key & 0xFFFF_FFFF), right = Int(top.right)
      guard scratch.nodes[left].length > 0, scratch.nodes[left].next == top.right,
        merges.merge(scratch.nodes[left].id, scratch.nodes[right].id)
          == top.key & ~0xFFFF_FFFF | UInt64(UInt32(bitPattern: top.id))
      else { continue }
      scratch.nodes[left].id = top.id
      scratch.nodes[left].length += scratch.nodes[right].length
      scratch.nodes[left].next = scratch.nodes[right].next
      scratch.nodes[right].length = 0
      if scratch.nodes[right].next >= 0 {
        scratch.nodes[Int(scratch.nodes[right].next)].previous = Int32(left)
      }
      offer(Int32(left), &scratch)
      if scratch.nodes[left].previous >= 0 { offer(scratch.nodes[left].previous, &scratch) }
    }
    var index: Int32 = 0
    while index >= 0 {
      let node = scratch.nodes[Int(index)]
      tokens.append(Token(id: node.id, length: node.length))
      index = node.next
    }
  }
}

/// A pair that may merge: `key` orders by rank, then by place.
private struct Candidate: HeapElement {
  let key: UInt64, id: Int32, right: Int32
  func precedes(_ other: Candidate) -> Bool { key < other.key }
}
