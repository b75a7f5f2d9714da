/// Learns merges: joins the most frequent pair of neighbouring tokens again and again, of equally frequent ones that of the
/// smaller numbers (Sennrich et al. 2016). Counts of pairs are updated where a merge changes words, and a heap knows the
/// most frequent one.
struct PairTrainer {
  let size: Int
  let minimumFrequency: Int
  /// Before every token that does not begin a word.
  let prefix: [UInt8]

  private var vocabulary = Vocabulary()
  private var words: [(ids: [Int32], count: Int)] = []
  private var counts: [UInt64: Int] = [:]
  /// The words that a pair may be in; some may have lost it.
  private var places: [UInt64: [Int32]] = [:]
  private var heap = Heap<PairCount>()

  init(size: Int, minimumFrequency: Int, prefix: [UInt8]) {
    (self.size, self.minimumFrequency, self.prefix) = (size, minimumFrequency, prefix)
  }

  /// `alphabet`: tokens that are there in any case; none for whole scalars, as found. Throws when the size does not even
  /// hold special tokens and alphabet.
  mutating func train(_ counted: [CountedWord], special: [String], alphabet: [[UInt8]]) throws -> BPE {
    for token in special { vocabulary.append(token.utf8) }
    var letters = alphabet
    if alphabet.isEmpty {
      var found = Set<UInt32>()
      for word in counted {
        for scalar in String(decoding: word.bytes, as: UTF8.self).unicodeScalars {
          found.insert(scalar.value)
        }
      }
      letters = found.sorted().map { scalar in
        var bytes: [UInt8] = []
        UTF8Scalars.append(scalar, to: &bytes)
        return bytes
      }
    } else {
      // The order of GPT-2's alphabet, in which the tokens are spelt.
      letters.sort { ByteAlphabet.scalars[Int($0[0])] < ByteAlphabet.scalars[Int($1[0])] }
    }
    for letter in letters where vocabulary.id(letter) == nil { vocabulary.append(letter) }
    let isOfBytes = !alphabet.isEmpty
    for word in counted { words.append((start(word.bytes, isOfBytes), word.count)) }
    guard vocabulary.count <= size else {
      throw TokenizerError(
        "the vocabulary",
        "size \(size) is too small: special tokens and characters are \(vocabulary.count) already")
    }
    countPairs()
    var merges = PairTable(), list: [(left: Int32, right: Int32)] = []
    while vocabulary.count < size, let (pair, count) = popBest(), count >= minimumFrequency {
      let left = Int32(truncatingIfNeeded: pair >> 32), right = Int32(truncatingIfNeeded: pair)
      let token = Array(vocabulary.token(left)!) + vocabulary.token(right)!.dropFirst(prefix.count)
      let id = vocabulary.id(token) ?? Int32(vocabulary.count)
      if id == vocabulary.count { vocabulary.append(token) }
      merges.insert(left, right, rank: list.count, id: id)
      list.append((left, right))
      apply(left, right, id, pair)
    }
    var bpe = BPE(vocabulary: vocabulary, merges: merges, mergeList: list)
    bpe.continuingPrefix = prefix
    bpe.prepare()
    return bpe
  }

  private mutating func start(_ bytes: [UInt8], _ isOfBytes: Bool) -> [Int32] {
    var ids: [Int32] = []
    var position = 0
    while position < bytes.count {
      let length = isOfBytes ? 1 : UTF8Scalars.length(bytes[position])
      let token = (position > 0 ? prefix : []) + bytes[position..<position + length]
      if vocabulary.id(token) == nil { vocabulary.append(token) }
      ids.append(vocabulary.id(token)!)
      position += length
    }
    return ids
  }

  private mutating func countPairs() {
    for (index, word) in words.enumerated() {
      for (left, right) in zip(word.ids, word.ids.dropFirst()) {
        let pair = PairTable.key(left, right)
        counts[pair, default: 0] += word.count
        if places[pair]?.last != Int32(index) { places[pair, default: []].append(Int32(index)) }
      }
    }
    for (pair, count) in counts { heap.push(PairCount(count: count, pair: pair)) }
  }

  /// Joins the pair in all words that have it.
  private mutating func apply(_ left: Int32, _ right: Int32, _ id: Int32, _ pair: UInt64) {
    var changed = Set<UInt64>()
    for index in places.removeValue(forKey: pair) ?? [] {
      let old = words[Int(index)].ids, count = words[Int(index)].count
      var ids: [Int32] = []
      ids.reserveCapacity(old.count)
      var position = 0
      while position < old.count {
        if position + 1 < old.count, old[position] == left, old[position + 1] == right {
          ids.append(id)
          position += 2
        } else {
          ids.append(old[position])
          position += 1
        }
      }
      guard ids.count < old.count else { continue }
      words[Int(index)].ids = ids
      for (a, b) in zip(old, old.dropFirst()) { counts[PairTable.key(a, b)]! -= count }
      for (a, b) in zip(ids, ids.dropFirst()) {
        let key = PairTable.key(a, b)
        counts[key, default: 0] += count
        if a == id || b == id {
          changed.insert(key)
          if places[key]?.last != index { places[key, default: []].append(index) }
        }
      }
    }
    counts[pair] = nil
    for key in changed { heap.push(PairCount(count: counts[key]!, pair: key)) }
  }

  // MARK: The heap

  /// The most frequent pair by its present count: entries are corrected when they come up.
  private mutating func popBest() -> (UInt64, Int)? {
    while let top = heap.pop() {
      guard let count = counts[top.pair], count > 0 else { continue }
      if count == top.count { return (top.pair, count) }
      if count < top.count { heap.push(PairCount(count: count, pair: top.pair)) }
    }
    return nil
  }
}

extension BPE {
  /// The model of single bytes, whose vocabulary is raw already but for the special tokens.
  func onRawBytes() -> BPE {
    var result = self
    result.isByteLevel = true
    result.prepare()
    return result
  }

  /// The vocabulary as files have it: in GPT-2's alphabet.
  func spelled(_ specialCount: Int) -> Vocabulary {
    var texts = Vocabulary(capacity: vocabulary.count)
    for (id, token) in vocabulary.tokens {
      texts.insert(id < specialCount ? Array(token) : ByteAlphabet.encode(token), id: id)
    }
    return texts
  }
}

/// A pair and how often it stood there when it was noted.
private struct PairCount: HeapElement {
  let count: Int, pair: UInt64
  func precedes(_ other: PairCount) -> Bool { count != other.count ? count > other.count : pair < other.pair }
}
