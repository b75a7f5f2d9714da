import Foundation
import KalsaeData
import Testing

@Suite struct TokenStreamTests {
  /// 0, 1, 2, ...: a token tells its place.
  func stream(_ count: Int) throws -> TokenStream {
    try TokenStream((0..<count).map(Int32.init), name: "numbers")
  }

  func rows(_ batch: LanguageModelBatch) -> [(inputs: [Int32], labels: [Int32])] {
    (0..<batch.rows).map { row in
      let range = row * batch.length..<(row + 1) * batch.length
      return (Array(batch.inputs[range]), Array(batch.labels[range]))
    }
  }

  @Test func tokensAreChecked() {
    #expect(throws: DataError.emptyText(path: "t")) { try TokenStream([], name: "t") }
    for wrong in [-1, 9] as [Int32] {
      #expect { try TokenStream([3, 8, wrong], name: "t", vocabulary: 9) } throws: {
        "\($0)".contains("t: token \(wrong) at place 2 is outside the model's vocabulary of 9")
      }
    }
  }

  @Test func theEndIsHeldOut() throws {
    let (training, validation) = try stream(105).split(validationFraction: 0.1)
    #expect(Array(training.tokens) == (0..<95).map(Int32.init))
    #expect(Array(validation.tokens) == (95..<105).map(Int32.init))
    for fraction in [0, 1, -0.1, .nan, 0.001] {
      #expect(throws: DataError.self) { try stream(105).split(validationFraction: fraction) }
    }
  }

  @Test func randomWindowsAreWindows() throws {
    let windows = try LanguageModelWindows(
      stream(100).split(validationFraction: 0.2).training, length: 7, batchSize: 3)
    let first = try windows.batches(epoch: 0, seed: 1), second = try windows.batches(epoch: 1, seed: 1)
    // 79 places / 7 tokens / 3 rows
    #expect(first.count == 3 && first.allSatisfy { $0.rows == 3 && $0.length == 7 })
    #expect(first != second)
    #expect(try windows.batches(epoch: 0, seed: 1) == first)
    #expect(try windows.batches(epoch: 0, seed: 2) != first)
    var starts: Set<Int32> = []
    for epoch in 0..<200 {
      for row in try windows.batches(epoch: epoch, seed: 5).flatMap(rows) {
        starts.insert(row.inputs[0])
        #expect(row.inputs == (0..<7).map { row.inputs[0] + $0 })
        #expect(row.labels == row.inputs.map { $0 + 1 })
      }
    }
    #expect(starts == Set(0..<73), "every window of the training part, none of the held-out one")
  }

  @Test func shuffledWindowsCoverTheStreamOnce() throws {
    let windows = try LanguageModelWindows(stream(72), length: 7, batchSize: 4, order: .shuffled)
    let epoch = try windows.batches(epoch: 3, seed: 1)
    #expect(epoch.map(\.rows).sorted() == [3, 3, 4], "of even size")
    let all = epoch.flatMap(rows).map(\.inputs)
    #expect(all.flatMap { $0 }.sorted() == (0..<70).map(Int32.init))
    #expect(all.map { $0[0] } != all.map { $0[0] }.sorted())
    let dense = try LanguageModelWindows(stream(72), length: 7, batchSize: 4, order: .shuffled, stride: 3)
    let starts = try dense.batches().flatMap(rows).map { $0.inputs[0] }
    #expect(starts.sorted() == Array(stride(from: 0, through: 63, by: 3)).map(Int32.init))
  }

  @Test(arguments: [2, 3, 8, 9, 20, 22, 23, 57], [7, 3, 1])
  func inOrderEveryTokenIsPredictedOnce(_ count: Int, _ step: Int) throws {
    let windows = try LanguageModelWindows(
      stream(count), length: 7, batchSize: 2, order: .sequential, stride: step)
    var predicted: [Int32] = []
    for row in try windows.batches().flatMap(rows) {
      for (input, label) in zip(row.inputs, row.labels) where label != ignoredTokenLabel {
        #expect(label == input + 1)
        predicted.append(label)
      }
      #expect(row.labels.contains { $0 != ignoredTokenLabel }, "no window without a label")
    }
    #expect(predicted == (1..<Int32(count)).map { $0 })
  }

  @Test func tooShortTextsAreAnError() throws {
    #expect(throws: Never.self) { try LanguageModelWindows(stream(8), length: 7, batchSize: 9) }
    for order in [LanguageModelWindows.Order.random, .shuffled] {
      #expect { try LanguageModelWindows(stream(7), length: 7, batchSize: 1, order: order) } throws: {
        "\($0)".contains("numbers has 7 token(s); windows of length 7 need 8")
      }
    }
    for (length, size, step) in [(0, 1, 1), (3, 0, 1), (3, 1, 4), (3, 1, 0)] {
      #expect(throws: DataError.self) {
        try LanguageModelWindows(stream(20), length: length, batchSize: size, stride: step)
      }
    }
  }

  @Test(.enabled(if: RealData.tinyShakespeare, "set KALSAE_DATA to a folder with tinyshakespeare"))
  func shakespeare() throws {
    let text = try TextFile.read(RealData.folder! + "/tinyshakespeare/input.txt")
    let characters = Set(text.unicodeScalars).sorted()
    let numbers = Dictionary(uniqueKeysWithValues: characters.enumerated().map { ($1, Int32($0)) })
    #expect(characters.count == 65)
    let stream = try TokenStream(text.unicodeScalars.map { numbers[$0]! }, name: "text", vocabulary: 65)
    let (training, validation) = try stream.split(validationFraction: 0.1)
    #expect(training.count == 1_003_855 && validation.count == 111_539)
    let measured = try LanguageModelWindows(validation, length: 64, batchSize: 128, order: .sequential)
      .batches()
    let predicted = measured.flatMap(\.labels).filter { $0 != ignoredTokenLabel }
    #expect(predicted == Array(validation.tokens.dropFirst()))
  }
}

@Suite struct TokenLoaderTests {
  func windows() throws -> LanguageModelWindows {
    let stream = try TokenStream((0..<60).map(Int32.init), name: "numbers")
    return try LanguageModelWindows(stream, length: 5, batchSize: 4, order: .shuffled)
  }

  func steps(_ count: Int, from position: LoaderPosition = .start) throws
    -> [TokenLoader<LanguageModelWindows>.Step]
  {
    let loader = try TokenLoader(try windows(), seed: 3, position: position)
    return try (0..<count).map { _ in try loader.next() }
  }

  @Test func deliversTheEpochsInOrder() throws {
    let list = try steps(7)
    #expect(list.map(\.epoch) == [0, 0, 0, 1, 1, 1, 2])
    #expect(list.map(\.positionAfter.index) == [1, 2, 0, 1, 2, 0, 1])
    #expect(list.map(\.positionAfter.epoch) == [0, 0, 1, 1, 1, 2, 2])
    let expected = try (0..<3).flatMap { try windows().batches(epoch: $0, seed: 3) }
    #expect(list.map(\.batch) == Array(expected[..<7]))
  }

  @Test func resumesAnywhere() throws {
    let straight = try steps(8)
    for (i, step) in straight.dropLast().enumerated() {
      let stored = try JSONEncoder().encode(step.positionAfter)
      let position = try JSONDecoder().decode(LoaderPosition.self, from: stored)
      #expect(try steps(7 - i, from: position).map(\.batch) == straight[(i + 1)...].map(\.batch))
    }
    let (end, start) = (LoaderPosition(epoch: 1, index: 3), LoaderPosition(epoch: 2, index: 0))
    #expect(try steps(2, from: end).map(\.batch) == steps(2, from: start).map(\.batch))
  }

  @Test func positionsOutsideAreAnError() {
    for (epoch, index) in [(0, 4), (0, -1), (-1, 0)] {
      #expect(throws: DataError.self) { try steps(1, from: LoaderPosition(epoch: epoch, index: index)) }
    }
    #expect { try steps(1, from: LoaderPosition(epoch: 2, index: 9)) } throws: {
      "\($0)".contains("(epoch 2, batch 9) lies outside numbers, which has 3 batch(es)")
    }
  }

  /// A source that fails at its third batch.
  private struct Failing: BatchSource {
    let name = "failing"
    func plan(epoch: Int, seed: UInt64) -> [[Int]] { [[0], [1], [2]] }
    func batch(_ examples: [Int], epoch: Int, seed: UInt64) throws(DataError) -> Int {
      if examples == [2] { throw .unreadable(path: "/disk/2", reason: "Input/output error") }
      return examples[0]
    }
  }

  @Test func errorsComeAfterWhatWasGood() throws {
    let loader = try TokenLoader(Failing(), seed: 0)
    #expect(try [loader.next().batch, loader.next().batch] == [0, 1])
    for _ in 0..<2 { #expect(throws: DataError.self) { try loader.next() } }
  }
}
