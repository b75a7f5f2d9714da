/// Hides tokens for masked language modelling (Devlin et al. 2018, section 3.1).
///
/// Of a sequence's tokens that are not special, 15 % (rounded, at least one) are to be predicted; of these, 80 % become
/// the mask token, 10 % a random token and 10 % stay as they are. Which ones depends on seed, epoch and example only.
public struct TokenMasking: Sendable, Hashable {
  public let mask: Int32
  public let vocabulary: Int
  /// Tokens that are never hidden, nor put in another's place.
  public let special: Set<Int32>
  public let probability: Double

  /// - Parameters:
  ///   - mask: the mask token; it is special too.
  ///   - vocabulary: tokens are 0 ..< vocabulary.
  ///   - special: the tokenizer's special tokens.
  /// - Throws: when a number is out of range.
  public init(
    mask: Int32, vocabulary: Int, special: Set<Int32>, probability: Double = 0.15
  ) throws(DataError) {
    let special = special.union([mask])
    guard (0...1).contains(probability) else {
      throw .invalidOption("the share of masked tokens must be between 0 and 1, not \(probability)")
    }
    try checkTokens(special.sorted(), below: vocabulary, "the tokenizer's special tokens")
    guard special.count < vocabulary else {
      throw .invalidOption(
        "a vocabulary of \(vocabulary) tokens, all of them special, leaves nothing to mask")
    }
    (self.mask, self.vocabulary, self.special) = (mask, vocabulary, special)
    self.probability = probability
  }

  /// The sequence with tokens hidden, and at their places the originals (elsewhere `ignoredTokenLabel`).
  public func callAsFunction(
    _ tokens: [Int32], seed: UInt64, epoch: Int, example: Int
  ) -> (tokens: [Int32], labels: [Int32]) {
    // "mask"
    var random = SplitMix64(key: 0x6D61_736B, seed, UInt64(epoch), UInt64(example))
    var places = tokens.indices.filter { !special.contains(tokens[$0]) }
    var (hidden, labels) = (tokens, [Int32](repeating: ignoredTokenLabel, count: tokens.count))
    guard !places.isEmpty, probability > 0 else { return (hidden, labels) }
    let count = mostHidden(of: places.count)
    for i in 0..<count {
      places.swapAt(i, i + Int(random.below(UInt64(places.count - i))))
      let place = places[i]
      labels[place] = tokens[place]
      let share = random.unit()
      if share < 0.8 {
        hidden[place] = mask
      } else if share < 0.9 {
        hidden[place] = ordinaryToken(&random)
      }
    }
    return (hidden, labels)
  }

  /// How many of `count` ordinary tokens are hidden; no sequence of that length has more.
  public func mostHidden(of count: Int) -> Int {
    probability > 0 ? max(Int((probability * Double(count)).rounded()), 1) : 0
  }

  private func ordinaryToken(_ random: inout SplitMix64) -> Int32 {
    while true {
      let token = Int32(random.below(UInt64(vocabulary)))
      if !special.contains(token) { return token }
    }
  }
}
