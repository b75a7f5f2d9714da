import KalsaeData
import KalsaeTensors
import Testing

/// Sequences of many lengths; each begins with its number, and 0 is padding.
private func sequences(_ lengths: [Int]) -> [[Int32]] {
  lengths.enumerated().map { number, length in [Int32](repeating: Int32(number + 1), count: length) }
}

private func randomLengths(_ count: Int, _ range: ClosedRange<Int>, seed: UInt64) -> [Int] {
  var random = SplitMix64(seed: seed)
  // The sum of two is more often in the middle, as the lengths of sentences are.
  let width = UInt64(range.count / 2 + 1)
  return (0..<count).map { _ in range.lowerBound + Int(random.below(width) + random.below(width)) }
}

@Suite struct SequenceBatchTests {
  func classification(
    _ lengths: [Int], limit: BatchLimit, multiple: Int = 4, isShuffled: Bool = true,
    masking: TokenMasking? = nil
  ) throws -> SequenceBatches<FixedSequences> {
    let list = sequences(lengths).enumerated().map { TokenSequence($1, label: Int32($0 % 2)) }
    return try SequenceBatches(
      FixedSequences(list, name: "texts"), limit: limit, padding: 0, maximumLength: 64, multiple: multiple,
      masking: masking, isShuffled: isShuffled)
  }

  @Test func rowsArePaddedAndMasked() throws {
    let batch = try classification([3, 1, 2], limit: .examples(3), isShuffled: false).batches()[0]
    #expect(batch.rows == 3 && batch.length == 4 && batch.examples == [0, 1, 2])
    #expect(batch.tokens == [1, 1, 1, 0, 2, 0, 0, 0, 3, 3, 0, 0])
    #expect(batch.mask.map { $0 ? 1 : 0 } == [1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0])
    #expect(batch.segments == [Int32](repeating: 0, count: 12))
    #expect(batch.labels == [0, 1, 0])
    #expect(batch.maskedLabels == nil)
    #expect(batch.tokenTensor.shape == [3, 4] && batch.maskTensor.dtype == .bool)
  }

  @Test func paddingStaysWithinTheModel() throws {
    let list = [TokenSequence([1, 2, 3, 4, 5])]
    let batches = try SequenceBatches(
      FixedSequences(list, name: "texts"), limit: .examples(1), padding: 0, maximumLength: 6, multiple: 4)
    #expect(try batches.batches()[0].tokens == [1, 2, 3, 4, 5, 0])
  }

  @Test func maskedPlacesAreThoseOfTheLabels() throws {
    let masking = try TokenMasking(mask: 9, vocabulary: 20, special: [0], probability: 0.3)
    let batch = try classification([8, 7, 3], limit: .examples(3), isShuffled: false, masking: masking)
      .batches()[0]
    let labels = try #require(batch.maskedLabels)
    let most = batch.rows * masking.mostHidden(of: batch.length)
    #expect(most == 6, "0.3 of 8, rounded, in each row")
    let (places, originals) = batch.maskedPlaces(count: most)
    #expect(places.count == most && originals.count == most)
    let hidden = labels.count { $0 != ignoredTokenLabel }
    #expect(hidden == 5, "2, 2 and 1")
    for (place, original) in zip(places, originals).prefix(hidden) { #expect(labels[Int(place)] == original) }
    #expect(Set(places.prefix(hidden)).count == hidden)
    #expect(originals.dropFirst(hidden) == [ignoredTokenLabel] && places.last == 0)
  }

  @Test(arguments: [BatchLimit.examples(16), .tokens(256)], [true, false])
  func everySequenceComesOnce(_ limit: BatchLimit, _ isShuffled: Bool) throws {
    let lengths = randomLengths(500, 2...40, seed: 1)
    let source = try classification(lengths, limit: limit, isShuffled: isShuffled)
    let epoch = try source.batches(epoch: 2, seed: 9)
    #expect(epoch.flatMap(\.examples).sorted() == Array(0..<500))
    var sizes: [Int: Set<Int>] = [:]
    for batch in epoch {
      #expect(batch.length.isMultiple(of: 4))
      #expect(batch.examples.map { lengths[$0] }.max()! > batch.length - 4, "no longer than needed")
      if case .tokens(let most) = limit { #expect(batch.rows * batch.length <= most) }
      if case .examples(let most) = limit { #expect(batch.rows <= most) }
      #expect(zip(batch.examples, batch.labels!).allSatisfy { $0 % 2 == Int($1) })
      sizes[batch.length, default: []].insert(batch.rows)
    }
    #expect(sizes.values.filter { $0.count > 1 }.count <= 1, "one shape per length, but for the last batch")
    let padded = epoch.reduce(0) { $0 + $1.tokens.count }
    // Rounding up to a multiple of 4 costs 1.5 tokens on average, of 21.
    #expect(Double(lengths.reduce(0, +)) / Double(padded) > 0.9)
  }

  @Test func epochsAndSeedsDiffer() throws {
    let source = try classification(randomLengths(200, 2...40, seed: 2), limit: .tokens(200))
    let first = source.plan(epoch: 0, seed: 1)
    #expect(source.plan(epoch: 0, seed: 1) == first)
    #expect(source.plan(epoch: 1, seed: 1) != first)
    #expect(source.plan(epoch: 0, seed: 2) != first)
    #expect(Set(source.plan(epoch: 1, seed: 1).map(Set.init)) != Set(first.map(Set.init)), "other neighbours")
  }

  @Test func badInputIsExplained() {
    #expect(throws: DataError.emptyText(path: "texts")) { try classification([], limit: .examples(2)) }
    for (lengths, limit, multiple, message) in [
      ([3, 65], BatchLimit.examples(2), 4, "texts: text 2 has 65 token(s), not 1 to 64"),
      ([3, 0], .examples(2), 4, "texts: text 2 has 0 token(s)"),
      ([3, 30], .tokens(31), 4, "one example has 30 tokens, 32 when padded"),
      ([3], .tokens(0), 4, "must be positive"), ([3], .examples(2), 0, "must be positive"),
    ] {
      #expect { try classification(lengths, limit: limit, multiple: multiple) } throws: {
        "\($0)".contains(message)
      }
    }
  }

  @Test func loadersResumeWithMasking() throws {
    let masking = try TokenMasking(mask: 999, vocabulary: 1000, special: [0])
    let source = try classification(randomLengths(60, 2...40, seed: 3), limit: .tokens(128), masking: masking)
    let loader = try TokenLoader(source, seed: 7)
    let straight = try (0..<40).map { _ in try loader.next() }
    #expect(straight.last!.epoch >= 1)
    for i in [0, 5, 20, 38] {
      let again = try TokenLoader(source, seed: 7, position: straight[i].positionAfter)
      for step in straight[(i + 1)...] { #expect(try again.next().batch == step.batch) }
    }
  }
}

@Suite struct TranslationBatchTests {
  func pairs(_ count: Int, seed: UInt64) -> (source: [[Int32]], target: [[Int32]]) {
    let lengths = randomLengths(count, 3...50, seed: seed)
    var random = SplitMix64(seed: seed &+ 1)
    let targets = lengths.map { max($0 + Int(random.below(7)) - 3, 2) }
    return (sequences(lengths), sequences(targets))
  }

  @Test func targetsAreShiftedByOne() throws {
    let batch = try TranslationBatches(
      source: [[5, 6, 7], [8]], target: [[1, 10, 11, 2], [1, 2]], name: "pairs", limit: .examples(2),
      padding: 0,
      multiple: 1, isShuffled: false
    ).batches(epoch: 0, seed: 0)
    // The short pair is alone in its bucket and goes to the longer one.
    #expect(batch.count == 1)
    #expect(batch[0].examples == [1, 0])
    #expect(batch[0].source == [8, 0, 0, 5, 6, 7])
    #expect(batch[0].sourceMask == [true, false, false, true, true, true])
    #expect(batch[0].targetInputs == [1, 0, 0, 1, 10, 11])
    #expect(batch[0].labels == [2, -100, -100, 10, 11, 2])
    #expect(batch[0].labelTensor.shape == [2, 3] && batch[0].sourceTensor.shape == [2, 3])
  }

  @Test(arguments: [1, 4, 8])
  func batchesAreFullAndTight(_ multiple: Int) throws {
    let (source, target) = pairs(2000, seed: 4), most = 1024
    let batches = try TranslationBatches(
      source: source, target: target, name: "pairs", limit: .tokens(most), padding: 0, multiple: multiple)
    let epoch = try batches.batches(epoch: 1, seed: 2)
    #expect(epoch.flatMap(\.examples).sorted() == Array(0..<2000))
    for batch in epoch {
      #expect(batch.rows * batch.sourceLength <= most && batch.rows * batch.targetLength <= most)
      for (row, example) in batch.examples.enumerated() {
        let words = batch.source[row * batch.sourceLength..<(row + 1) * batch.sourceLength].filter { $0 != 0 }
        #expect(words == source[example])
      }
    }
    let real = source.reduce(0) { $0 + $1.count } + target.reduce(0) { $0 + $1.count - 1 }
    let padded = epoch.reduce(0) { $0 + $1.source.count + $1.targetInputs.count }
    #expect(Double(real) / Double(padded) > [1: 0.94, 4: 0.89, 8: 0.82][multiple]!)
    #expect(Double(padded) / Double(2 * epoch.count * most) > 0.9, "batches are nearly full")
  }

  @Test func badInputIsExplained() {
    func make(_ source: [[Int32]], _ target: [[Int32]], _ limit: BatchLimit = .tokens(64)) throws {
      _ = try TranslationBatches(source: source, target: target, name: "pairs", limit: limit, padding: 0)
    }
    #expect(throws: DataError.emptyText(path: "pairs")) { try make([], []) }
    #expect(throws: DataError.self) { try make([[1]], []) }
    for (source, target, message) in [
      ([[1], []], [[1, 2], [1, 2]], "pair 2 has 0 source and 2 target"),
      ([[1]], [[1]], "pair 1 has 1 source and 1 target"),
      ([[Int32](repeating: 1, count: 65)], [[1, 2]], "one example has 65 tokens, 68 when padded"),
    ] as [([[Int32]], [[Int32]], String)] {
      #expect { try make(source, target) } throws: { "\($0)".contains(message) }
    }
  }
}
