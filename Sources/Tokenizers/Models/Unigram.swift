/// The unigram language model (Kudo 2018): the segmentation of the highest product of token probabilities, by Viterbi's
/// algorithm. A scalar that no token covers is unknown, ten below the lowest score.
struct Unigram: Sendable {
  let vocabulary: Vocabulary
  /// log p of each token.
  let scores: [Double]
  let unknown: Int32?
  let byteTokens: [Int32]?
  /// SentencePiece adds its scores in single precision, Hugging Face's tokenizers in double.
  let usesSinglePrecision: Bool
  /// Neighbouring unknown scalars are one token.
  let fusesUnknown: Bool
  private let trie: ByteTrie
  private let unknownScore: Double

  /// `isUsable`: which tokens may occur in a segmentation.
  init(
    vocabulary: Vocabulary, scores: [Double], unknown: Int32?, byteTokens: [Int32]?,
    usesSinglePrecision: Bool,
    fusesUnknown: Bool = true, lowest: Double? = nil, isUsable: (Int32) -> Bool = { _ in true }
  ) {
    (self.vocabulary, self.scores, self.unknown) = (vocabulary, scores, unknown)
    (self.byteTokens, self.usesSinglePrecision) = (byteTokens, usesSinglePrecision)
    self.fusesUnknown = fusesUnknown
    unknownScore = (lowest ?? scores.min() ?? 0) - 10
    var trie = ByteTrie(capacity: vocabulary.count * 3)
    for (id, token) in vocabulary.tokens
    where !token.isEmpty && vocabulary.id(token) == id && isUsable(id) {
      trie.insert(token, id)
    }
    self.trie = trie
  }

  struct Step {
    /// -2: not reached; -1: unknown.
    var id: Int32 = -2
    var start: Int32 = 0
    var score: Double = 0
  }

  struct Scratch {
    var steps: [Step] = []
  }

  func encode(
    _ bytes: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [Token], _ scratch: inout Scratch
  ) {
    guard count > 0 else { return }
    scratch.steps.removeAll(keepingCapacity: true)
    scratch.steps.append(contentsOf: repeatElement(Step(), count: count + 1))
    scratch.steps.withUnsafeMutableBufferPointer { steps in
      usesSinglePrecision
        ? search(bytes, count, steps) { Double(Float($0) + Float($1)) }
        : search(bytes, count, steps) { $0 + $1 }
    }
    backtrack(bytes, count, into: &tokens, scratch.steps)
  }

  /// The best way to every place from the left.
  @inline(__always)
  private func search(
    _ bytes: UnsafePointer<UInt8>, _ count: Int, _ steps: UnsafeMutableBufferPointer<Step>,
    _ sum: (Double, Double) -> Double
  ) {
    var start = 0
    while start < count {
      let here = start == 0 ? 0 : steps[start].score
      let length = min(UTF8Scalars.length(bytes[start]), count - start)
      var coversScalar = false
      var node: Int32 = 0, end = start
      while end < count {
        node = trie.child(node, bytes[end])
        if node < 0 { break }
        end += 1
        let id = trie.values[Int(node)]
        guard id >= 0 else { continue }
        let score = sum(here, scores[Int(id)])
        if steps[end].id == -2 || score > steps[end].score {
          steps[end] = Step(id: id, start: Int32(start), score: score)
        }
        if end - start == length { coversScalar = true }
      }
      if !coversScalar {
        let score = sum(here, unknownScore)
        let end = start + length
        if steps[end].id == -2 || score > steps[end].score {
          steps[end] = Step(id: -1, start: Int32(start), score: score)
        }
      }
      start += length
    }
  }

  private func backtrack(
    _ bytes: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [Token], _ steps: [Step]
  ) {
    let first = tokens.count
    var end = count
    while end > 0 {
      let step = steps[end]
      let length = Int32(end) - step.start
      if step.id >= 0 {
        tokens.append(Token(id: step.id, length: length))
      } else if let last = tokens.last, tokens.count > first, last.id == -1, fusesUnknown || byteTokens != nil
      {
        tokens[tokens.count - 1].length += length
      } else {
        tokens.append(Token(id: -1, length: length))
      }
      end = Int(step.start)
    }
    tokens[first...].reverse()
    guard tokens[first...].contains(where: { $0.id == -1 }) else { return }
    let found = Array(tokens[first...])
    tokens.removeLast(found.count)
    var position = 0
    for token in found {
      let range = position..<position + Int(token.length)
      position = range.upperBound
      if token.id >= 0 {
        tokens.append(token)
      } else if let byteTokens, range.allSatisfy({ byteTokens[Int(bytes[$0])] >= 0 }) {
        for index in range { tokens.append(Token(id: byteTokens[Int(bytes[index])], length: 1)) }
      } else if let unknown {
        tokens.append(Token(id: unknown, length: token.length))
      }
    }
  }
}
