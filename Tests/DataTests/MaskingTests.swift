import KalsaeData
import Testing

@Suite struct TokenMaskingTests {
  static let special: Set<Int32> = [0, 1, 2, 3]

  func masking(_ probability: Double = 0.15) throws -> TokenMasking {
    try TokenMasking(mask: 3, vocabulary: 500, special: Self.special, probability: probability)
  }

  @Test func shares() throws {
    let masking = try masking()
    var (chosen, masked, kept, other, ordinary) = (0, 0, 0, 0, 0)
    var replacements: Set<Int32> = []
    for example in 0..<400 {
      let tokens = [1] + (0..<98).map { Int32(4 + ($0 * 7 + example) % 496) } + [2]
      let (hidden, labels) = masking(tokens, seed: 1, epoch: 0, example: example)
      ordinary += 98
      #expect(labels.count { $0 != ignoredTokenLabel } == 15, "15 % of 98, rounded")
      for (place, label) in labels.enumerated() {
        guard label != ignoredTokenLabel else {
          #expect(hidden[place] == tokens[place])
          continue
        }
        chosen += 1
        #expect(label == tokens[place] && !Self.special.contains(label))
        switch hidden[place] {
        case 3: masked += 1
        case tokens[place]: kept += 1
        default:
          other += 1
          replacements.insert(hidden[place])
        }
      }
    }
    #expect(chosen == 6000)
    // Within five standard deviations of 80, 10 and 10 %.
    #expect(abs(masked - 4800) < 155)
    #expect(abs(kept - 601) < 117)
    #expect(abs(other - 599) < 117)
    #expect(replacements.isDisjoint(with: Self.special) && replacements.count > 300)
  }

  @Test func dependsOnSeedEpochAndExample() throws {
    let masking = try masking(), tokens = (4..<104).map { Int32($0) }
    func labels(_ seed: UInt64, _ epoch: Int, _ example: Int) -> [Int32] {
      masking(tokens, seed: seed, epoch: epoch, example: example).labels
    }
    #expect(labels(1, 2, 3) == labels(1, 2, 3))
    #expect(Set([labels(1, 2, 3), labels(2, 2, 3), labels(1, 3, 3), labels(1, 2, 4)]).count == 4)
  }

  @Test func smallCases() throws {
    let ignored = ignoredTokenLabel
    #expect(try masking()([1, 2], seed: 0, epoch: 0, example: 0).labels == [ignored, ignored])
    #expect(try masking(0)([1, 7, 2], seed: 0, epoch: 0, example: 0).labels == [ignored, ignored, ignored])
    #expect(try masking()([1, 7, 2], seed: 0, epoch: 0, example: 0).labels == [ignored, 7, ignored])
    #expect(try masking(1)([7, 8, 3, 9], seed: 0, epoch: 0, example: 0).labels == [7, 8, ignored, 9])
    #expect(throws: DataError.self) { try masking(1.5) }
    #expect(throws: DataError.self) { try TokenMasking(mask: 500, vocabulary: 500, special: []) }
    #expect(throws: DataError.self) { try TokenMasking(mask: 1, vocabulary: 2, special: [0]) }
  }
}

@Suite struct SentencePairTests {
  /// 30 documents of 5 sentences of 4 tokens; a token is 1000 document + 10 sentence + place, plus 10,000.
  static let documents: [[[Int32]]] = (0..<30).map { document in
    (0..<5).map { sentence in
      let first = 10_000 + 1000 * document + 10 * sentence
      return (first..<first + 4).map(Int32.init)
    }
  }

  func pairs(_ length: Int = 64) throws -> SentencePairs {
    try SentencePairs(
      documents: Self.documents, name: "texts", beginning: 1, separator: 2, maximumLength: length)
  }

  @Test(arguments: [64, 16, 9])
  func halfOfThePairsFollow(_ length: Int) throws {
    let pairs = try pairs(length)
    var following = 0, total = 0
    for epoch in 0..<20 {
      for number in 0..<pairs.count {
        let pair = pairs.sequence(number, epoch: epoch, seed: 3)
        #expect(pair.tokens.count <= length && pair.tokens[0] == 1 && pair.tokens.last == 2)
        #expect(pair.tokens.count { $0 == 2 } == 2 && pair.segments!.count == pair.tokens.count)
        let parts = pair.tokens.dropFirst().split(separator: 2).map(Array.init)
        #expect(parts.count == 2)
        #expect(
          pair.segments! == Array(repeating: 0, count: parts[0].count + 2)
            + Array(repeating: 1, count: parts[1].count + 1))
        let (a, b) = (parts[0].map { ($0 - 10_000) / 1000 }, parts[1].map { ($0 - 10_000) / 1000 })
        #expect(Set(a).count == 1 && Set(b).count == 1)
        total += 1
        if pair.label == 0 {
          following += 1
          #expect(a[0] == b[0])
          // B begins with the sentence after A's last one.
          #expect(parts[1][0] / 10 % 100 == parts[0].last! / 10 % 100 + 1 && parts[1][0] % 10 == 0)
        } else {
          #expect(pair.label == 1 && a[0] != b[0])
        }
      }
    }
    #expect(total >= 600)
    #expect(abs(Double(following) / Double(total) - 0.5) < 5 * 0.5 / Double(total).squareRoot())
  }

  @Test func epochsDiffer() throws {
    let pairs = try pairs()
    func epoch(_ epoch: Int, _ seed: UInt64) -> [[Int32]] {
      (0..<pairs.count).map { pairs.sequence($0, epoch: epoch, seed: seed).tokens }
    }
    #expect(epoch(0, 1) == epoch(0, 1) && epoch(0, 1) != epoch(1, 1) && epoch(0, 1) != epoch(0, 2))
  }

  @Test func batchesJoinPairsAndMasking() throws {
    let masking = try TokenMasking(mask: 3, vocabulary: 50_000, special: [0, 1, 2])
    let source = try SequenceBatches(
      pairs(32), limit: .examples(8), padding: 0, maximumLength: 32, masking: masking)
    let batch = try source.batches(epoch: 1, seed: 2)[0]
    #expect(batch.labels?.count == 8 && batch.maskedLabels?.count == batch.tokens.count)
    #expect(batch.segments.contains(1))
    for (label, isToken) in zip(batch.maskedLabels!, batch.mask) where !isToken { #expect(label == -100) }
  }

  @Test func documentsAreSeparatedByEmptyLines() {
    #expect(SentencePairs.documents(["", "a", "b", "", " ", "c", ""]) == [["a", "b"], ["c"]])
  }

  @Test func badInputIsExplained() {
    for (documents, length, message) in [
      ([[[5], [6]]], 64, "needs at least 2 documents, not 1"),
      ([[[5]], [[6]]], 64, "no document has two sentences"),
      ([[[5], [6]], [[7]]], 4, "at least 5 positions"),
    ] as [([[[Int32]]], Int, String)] {
      #expect {
        try SentencePairs(
          documents: documents, name: "texts", beginning: 1, separator: 2, maximumLength: length)
      } throws: { "\($0)".contains(message) }
    }
  }
}
