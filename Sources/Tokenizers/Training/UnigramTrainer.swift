import Foundation

/// Learns a unigram language model (Kudo 2018): from many frequent substrings, expectation-maximisation estimates how
/// probable each is, and those whose loss costs the least likelihood go, a quarter a round, until the size is reached.
struct UnigramTrainer {
  let size: Int
  let minimumFrequency: Int
  /// Substrings to begin with, in tokens wanted.
  private static let seedFactor = 10
  private static let longestPiece = 16
  private static let shrinking = 0.75
  private static let stepsPerRound = 2

  private struct Piece {
    var bytes: [UInt8], logp: Double
  }

  /// The vocabulary, special tokens first, and the log-probabilities.
  func train(_ words: [CountedWord], special: [String]) throws -> (Vocabulary, [Double]) {
    var letters: [[UInt8]: Int] = [:]
    for word in words {
      for letter in Self.scalars(word.bytes) { letters[Array(word.bytes[letter]), default: 0] += word.count }
    }
    let wanted = size - special.count
    guard letters.count <= wanted else {
      throw TokenizerError(
        "the vocabulary",
        "size \(size) is too small: special tokens and characters are \(letters.count + special.count) already"
      )
    }
    var pieces = seeds(words, letters)
    while true {
      for _ in 0..<Self.stepsPerRound { pieces = maximize(pieces, expectations(pieces, words), letters) }
      if pieces.count <= wanted { break }
      pieces = prune(pieces, words, letters, to: max(wanted, Int(Double(pieces.count) * Self.shrinking)))
    }
    var vocabulary = Vocabulary(), scores: [Double] = []
    for token in special {
      vocabulary.append(token.utf8)
      scores.append(0)
    }
    let ordered = pieces.sorted {
      $0.logp != $1.logp ? $0.logp > $1.logp : $0.bytes.lexicographicallyPrecedes($1.bytes)
    }
    for piece in ordered {
      vocabulary.append(piece.bytes)
      scores.append(piece.logp)
    }
    return (vocabulary, scores)
  }

  /// The ranges of a word's scalars.
  private static func scalars(_ bytes: [UInt8]) -> [Range<Int>] {
    var ranges: [Range<Int>] = [], position = 0
    while position < bytes.count {
      let end = position + UTF8Scalars.length(bytes[position])
      ranges.append(position..<end)
      position = end
    }
    return ranges
  }

  /// All characters, and the substrings of words with the highest count times length.
  private func seeds(_ words: [CountedWord], _ letters: [[UInt8]: Int]) -> [Piece] {
    var table = ByteTable(capacity: 1 << 18)
    var counts: [Int] = [], strings: [[UInt8]] = []
    for word in words {
      let scalars = Self.scalars(word.bytes)
      word.bytes.withUnsafeBufferPointer { bytes in
        for first in scalars.indices {
          for last in (first + 1)..<max(first + 1, min(first + Self.longestPiece, scalars.count)) {
            let start = scalars[first].lowerBound, count = scalars[last].upperBound - start
            if let index = table.value(bytes.baseAddress! + start, count) {
              counts[Int(index)] += word.count
            } else {
              table.insert(bytes.baseAddress! + start, count, Int32(counts.count))
              counts.append(word.count)
              strings.append(Array(bytes[start..<start + count]))
            }
          }
        }
      }
    }
    let frequent = strings.indices.filter { counts[$0] >= max(minimumFrequency, 2) }
    func weight(_ index: Int) -> Int { counts[index] * UTF8Scalars.count(strings[index]) }
    let best = frequent.sorted {
      let (a, b) = (weight($0), weight($1))
      return a != b ? a > b : strings[$0].lexicographicallyPrecedes(strings[$1])
    }.prefix(max(size * Self.seedFactor, 10_000))
    var pieces = letters.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map {
      (bytes: $0.key, count: Double($0.value))
    }
    pieces += best.map { (strings[$0], Double(weight($0))) }
    let total = log(pieces.reduce(0) { $0 + $1.count })
    return pieces.map { Piece(bytes: $0.bytes, logp: log($0.count) - total) }
  }

  // MARK: Expectation and maximisation

  /// All ways of covering words by pieces.
  private struct Lattice {
    var trie = ByteTrie(capacity: 1 << 16)
    let pieces: [Piece]

    init(_ pieces: [Piece]) {
      self.pieces = pieces
      for (index, piece) in pieces.enumerated() { trie.insert(piece.bytes, Int32(index)) }
    }

    /// Calls `body` with every piece at every place: start, end, index.
    func forEach(_ word: [UInt8], _ body: (Int, Int, Int) -> Void) {
      for start in word.indices {
        var node: Int32 = 0, end = start
        while end < word.count {
          node = trie.child(node, word[end])
          if node < 0 { break }
          end += 1
          if trie.values[Int(node)] >= 0 { body(start, end, Int(trie.values[Int(node)])) }
        }
      }
    }

    /// The best segmentation, without the piece `except`.
    func best(_ word: [UInt8], except: Int = -1) -> [Int] {
      var scores = [Double](repeating: -.infinity, count: word.count + 1)
      var steps = [(start: Int, index: Int)](repeating: (0, -1), count: word.count + 1)
      scores[0] = 0
      forEach(word) { start, end, index in
        guard index != except else { return }
        let score = scores[start] + pieces[index].logp
        if score > scores[end] { (scores[end], steps[end]) = (score, (start, index)) }
      }
      var result: [Int] = [], end = word.count
      while end > 0, steps[end].index >= 0 {
        result.append(steps[end].index)
        end = steps[end].start
      }
      return end == 0 ? result : []
    }
  }

  private static func logSum(_ a: Double, _ b: Double) -> Double {
    if a == -.infinity { return b }
    if b == -.infinity { return a }
    return max(a, b) + log1p(exp(-abs(a - b)))
  }

  /// How often each piece is expected in the words: forward-backward over their lattices.
  private func expectations(_ pieces: [Piece], _ words: [CountedWord]) -> [Double] {
    let lattice = Lattice(pieces)
    var expected = [Double](repeating: 0, count: pieces.count)
    var edges: [(start: Int, end: Int, index: Int)] = []
    for word in words {
      edges.removeAll(keepingCapacity: true)
      lattice.forEach(word.bytes) { edges.append(($0, $1, $2)) }
      let count = word.bytes.count
      var forward = [Double](repeating: -.infinity, count: count + 1), backward = forward
      (forward[0], backward[count]) = (0, 0)
      for edge in edges {
        forward[edge.end] = Self.logSum(forward[edge.end], forward[edge.start] + pieces[edge.index].logp)
      }
      for edge in edges.reversed() {
        backward[edge.start] = Self.logSum(backward[edge.start], backward[edge.end] + pieces[edge.index].logp)
      }
      let total = forward[count]
      guard total > -.infinity else { continue }
      for edge in edges {
        let logp = forward[edge.start] + pieces[edge.index].logp + backward[edge.end] - total
        expected[edge.index] += Double(word.count) * exp(logp)
      }
    }
    return expected
  }

  /// New probabilities, with the digamma function for the mean under a sparse prior; what is hardly expected goes.
  private func maximize(_ pieces: [Piece], _ expected: [Double], _ letters: [[UInt8]: Int]) -> [Piece] {
    var kept: [(bytes: [UInt8], expected: Double)] = []
    for (piece, expected) in zip(pieces, expected) {
      let isLetter = letters[piece.bytes] != nil
      if isLetter || expected >= 0.5 { kept.append((piece.bytes, max(expected, 1e-3))) }
    }
    let total = Self.digamma(kept.reduce(0) { $0 + $1.expected })
    return kept.map { Piece(bytes: $0.bytes, logp: Self.digamma($0.expected) - total) }
  }

  /// The derivative of log Gamma, by recurrence and the asymptotic series.
  private static func digamma(_ x: Double) -> Double {
    var x = x, result = 0.0
    while x < 7 {
      result -= 1 / x
      x += 1
    }
    x -= 0.5
    let square = 1 / (x * x)
    return result + log(x) + square * (1 / 24.0 - square * (7 / 960.0 - square * (31 / 8064.0)))
  }

  // MARK: Pruning

  /// Keeps characters and the pieces whose loss would cost the most likelihood.
  private func prune(_ pieces: [Piece], _ words: [CountedWord], _ letters: [[UInt8]: Int], to count: Int)
    -> [Piece]
  {
    let lattice = Lattice(pieces)
    var uses = [Double](repeating: 0, count: pieces.count)
    for word in words { for index in lattice.best(word.bytes) { uses[index] += Double(word.count) } }
    let total = uses.reduce(0, +)
    var losses: [(index: Int, loss: Double)] = []
    for (index, piece) in pieces.enumerated() where letters[piece.bytes] == nil {
      guard uses[index] > 0 else {
        losses.append((index, -.infinity))
        continue
      }
      // What the piece would be made of instead, and the likelihood of that.
      let parts = lattice.best(piece.bytes, except: index)
      let newTotal = log(total + uses[index] * Double(parts.count - 1))
      let alternative = parts.reduce(0) { $0 + log(uses[$1] + uses[index]) - newTotal }
      losses.append((index, uses[index] * ((log(uses[index]) - log(total)) - alternative)))
    }
    losses.sort {
      $0.loss != $1.loss
        ? $0.loss > $1.loss : pieces[$0.index].bytes.lexicographicallyPrecedes(pieces[$1.index].bytes)
    }
    let isKept = Set(losses.prefix(max(count - letters.count, 0)).map(\.index))
    return pieces.indices.filter { letters[pieces[$0].bytes] != nil || isKept.contains($0) }.map {
      pieces[$0]
    }
  }
}
