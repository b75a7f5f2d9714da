import Foundation
import KalsaeData
import Synchronization
import Testing

/// Pictures whose samples tell index and column; reading can be made to fail or to wait.
private final class Numbered: ImageDataset {
  let count: Int
  let failing: Int?
  let gate: DispatchSemaphore?
  let reads = Mutex(0)

  init(_ count: Int, failing: Int? = nil, gate: DispatchSemaphore? = nil) {
    self.count = count
    self.failing = failing
    self.gate = gate
  }

  var name: String { "numbered" }
  var channels: Int { 2 }
  var size: Int { 3 }
  var classNames: [String]? { nil }
  func label(_ index: Int) -> Int? { index * 2 }

  func read(_ index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DataError) {
    reads.withLock { $0 += 1 }
    gate?.wait()
    if index == failing { throw .unreadable(path: "/disk/\(index)", reason: "Input/output error") }
    // (3, 3, 2): index, then 10 times the column.
    for i in 0..<9 {
      pixels[2 * i] = UInt8(truncatingIfNeeded: index)
      pixels[2 * i + 1] = UInt8(10 * (i % 3))
    }
  }
}

/// True as soon as `condition` holds, false after ten seconds.
private func eventually(_ condition: () -> Bool) -> Bool {
  for _ in 0..<2000 {
    if condition() { return true }
    Thread.sleep(forTimeInterval: 0.005)
  }
  return false
}

@Suite struct BatchLoaderTests {
  func batches(
    _ number: Int, of count: Int, size: Int, seed: UInt64 = 42, flip: Bool = true,
    from position: LoaderPosition = .start
  ) throws -> [Batch] {
    let loader = try BatchLoader(
      dataset: Numbered(count), batchSize: size, seed: seed, flip: flip, position: position)
    return try (0..<number).map { _ in try loader.next() }
  }

  /// The numbers come from an independent implementation of the documented algorithm.
  @Test func orderIsTheDocumentedOne() throws {
    #expect(EpochOrder.permutation(count: 10, seed: 42, epoch: 0) == [4, 1, 9, 0, 3, 7, 8, 5, 2, 6])
    #expect(EpochOrder.permutation(count: 10, seed: 42, epoch: 1) == [5, 8, 7, 6, 9, 2, 3, 1, 0, 4])
    #expect(
      (0..<16).map { EpochOrder.flips(index: $0, seed: 42, epoch: 0) }
        == [0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1].map { $0 == 1 })
    let batch = try batches(1, of: 10, size: 4)[0]
    #expect(batch.indices == [4, 1, 9, 0])
    #expect(batch.labels == [8, 2, 18, 0])
  }

  @Test func everyEpochVisitsEveryPictureOnce() throws {
    // 10 epochs of 12 pictures in batches of 5: batches straddle the epochs and nothing is dropped.
    let indices = try batches(24, of: 12, size: 5).flatMap(\.indices)
    for epoch in 0..<10 {
      #expect(indices[epoch * 12..<(epoch + 1) * 12].sorted() == Array(0..<12))
    }
    #expect(indices[0..<12] != indices[12..<24])
  }

  @Test func positionsAndEpochs() throws {
    let list = try batches(5, of: 6, size: 4)
    #expect(
      list.map(\.positionAfter) == [
        .init(epoch: 0, index: 4), .init(epoch: 1, index: 2), .init(epoch: 2, index: 0),
        .init(epoch: 2, index: 4), .init(epoch: 3, index: 2),
      ])
    #expect(list.map(\.epoch) == [0, 0, 1, 2, 2])
  }

  @Test func resumesAnywhere() throws {
    let straight = try batches(12, of: 10, size: 4)
    for (i, batch) in straight.dropLast().enumerated() {
      // A checkpoint stores the position as JSON.
      let stored = try JSONEncoder().encode(batch.positionAfter)
      let position = try JSONDecoder().decode(LoaderPosition.self, from: stored)
      #expect(try batches(11 - i, of: 10, size: 4, from: position) == Array(straight[(i + 1)...]))
    }
    let end = LoaderPosition(epoch: 3, index: 10)
    #expect(
      try batches(2, of: 10, size: 4, from: end)
        == batches(2, of: 10, size: 4, from: .init(epoch: 4, index: 0)))
  }

  @Test func seedsDiffer() throws {
    let (a, b) = (try batches(3, of: 100, size: 30, seed: 1), try batches(3, of: 100, size: 30, seed: 2))
    #expect(a.map(\.indices) != b.map(\.indices))
  }

  @Test func flipsMirrorWholePictures() throws {
    let (plain, mirrored) = ([0, 10, 20], [20, 10, 0])
    var flipped = 0
    for batch in try batches(20, of: 50, size: 50) {
      for (i, index) in batch.indices.enumerated() {
        let picture = batch.pixels[i * 18..<(i + 1) * 18].map { Int($0) }
        let row = [picture[1], picture[3], picture[5]]
        #expect(row == plain || row == mirrored)
        #expect((0..<3).allSatisfy { Array(picture[$0 * 6..<$0 * 6 + 6]) == Array(picture[0..<6]) })
        #expect((0..<9).allSatisfy { picture[2 * $0] == index }, "channels stay in place")
        #expect((row == mirrored) == EpochOrder.flips(index: index, seed: 42, epoch: batch.epoch))
        flipped += row == mirrored ? 1 : 0
      }
    }
    #expect((400...600).contains(flipped), "about half of 1000")
    for batch in try batches(3, of: 50, size: 50, flip: false) {
      #expect(stride(from: 0, to: 900, by: 6).allSatisfy { batch.pixels[$0 + 1] == 0 })
    }
  }

  /// Each picture lies as far off as the documented generator says, with zeros behind it, and resuming changes nothing.
  @Test func shiftsMoveWholePictures() throws {
    func batches(_ count: Int, from position: LoaderPosition = .start) throws -> [Batch] {
      let loader = try BatchLoader(
        dataset: Numbered(25), batchSize: 10, seed: 42, shift: 2, position: position)
      return try (0..<count).map { _ in try loader.next() }
    }
    let list = try batches(10)
    var seen: Set<[Int]> = []
    for (number, batch) in list.enumerated() {
      for (i, index) in batch.indices.enumerated() {
        let epoch = (number * 10 + i) / 25
        let (right, down) = EpochOrder.shift(index: index, limit: 2, seed: 42, epoch: epoch)
        seen.insert([right, down])
        for y in 0..<3 {
          for x in 0..<3 {
            let isInside = (0..<3).contains(x - right) && (0..<3).contains(y - down)
            let pixel = batch.pixels[i * 18 + (y * 3 + x) * 2..<i * 18 + (y * 3 + x) * 2 + 2]
            #expect(Array(pixel) == (isInside ? [UInt8(index), UInt8(10 * (x - right))] : [0, 0]))
          }
        }
      }
    }
    #expect(seen.count > 20 && seen.allSatisfy { $0.allSatisfy { (-2...2).contains($0) } })
    #expect(try batches(6, from: list[3].positionAfter) == Array(list[4...]))
    #expect(throws: DataError.self) {
      try BatchLoader(dataset: Numbered(10), batchSize: 2, seed: 0, shift: 3)
    }
  }

  @Test func badArguments() {
    #expect(throws: DataError.batchTooLarge(batchSize: 11, dataset: "numbered", count: 10)) {
      try BatchLoader(dataset: Numbered(10), batchSize: 11, seed: 0)
    }
    #expect(throws: DataError.invalidOption("batch size 0 is not positive")) {
      try BatchLoader(dataset: Numbered(10), batchSize: 0, seed: 0)
    }
    for (epoch, index) in [(0, 11), (0, -1), (-1, 0)] {
      let expected = DataError.positionOutside(epoch: epoch, index: index, dataset: "numbered", count: 10)
      #expect(throws: expected) {
        try BatchLoader(
          dataset: Numbered(10), batchSize: 2, seed: 0, position: .init(epoch: epoch, index: index))
      }
    }
    let text = DataError.batchTooLarge(batchSize: 11, dataset: "numbered", count: 10).description
    #expect(text.contains("use a batch size of at most 10"))
  }

  @Test func readErrorsSurface() throws {
    // Picture 8 comes at place 6 of epoch 0: three whole batches first, then the error, for good.
    let loader = try BatchLoader(dataset: Numbered(10, failing: 8), batchSize: 2, seed: 42)
    let whole = try (0..<3).map { _ in try loader.next().indices }
    #expect(whole == [[4, 1], [9, 0], [3, 7]])
    for _ in 0..<3 {
      #expect(throws: DataError.unreadable(path: "/disk/8", reason: "Input/output error")) {
        try loader.next()
      }
    }
  }

  @Test func prefetchesNoMoreThanAsked() throws {
    let data = Numbered(100)
    let loader = try BatchLoader(dataset: data, batchSize: 10, seed: 0, prefetch: 2)
    #expect(eventually { data.reads.withLock { $0 } == 20 })
    Thread.sleep(forTimeInterval: 0.05)
    #expect(data.reads.withLock { $0 } == 20)
    _ = try loader.next()
    #expect(eventually { data.reads.withLock { $0 } == 30 })
  }

  @Test func stopsWhileWaitingForRoom() throws {
    weak var data: Numbered?
    do {
      let strong = Numbered(100)
      data = strong
      let loader = try BatchLoader(dataset: strong, batchSize: 10, seed: 0)
      _ = try loader.next()
    }
    #expect(eventually { data == nil }, "the thread must end and let go of the data set")
  }

  @Test func stopsInTheMiddleOfABatch() throws {
    weak var data: Numbered?
    let gate = DispatchSemaphore(value: 0)
    for _ in 0..<3 { gate.signal() }
    do {
      let strong = Numbered(100, gate: gate)
      data = strong
      let loader = try BatchLoader(dataset: strong, batchSize: 50, seed: 0)
      #expect(eventually { strong.reads.withLock { $0 } == 4 })
      _ = loader
    }
    // Releasing the loader did not wait for the read that hangs; once that returns, the thread ends.
    gate.signal()
    #expect(eventually { data == nil })
  }

  @Test func manyLoadersComeAndGo() throws {
    let data = Numbered(20)
    for i in 0..<200 {
      let loader = try BatchLoader(dataset: data, batchSize: 3, seed: UInt64(i))
      if i % 2 == 0 { _ = try loader.next() }
    }
  }

  @Test func labelsAreOptional() throws {
    let folder = try TemporaryFolder()
    try pattern(width: 8, height: 8, channels: 3).writePNG(to: folder.path + "/a.png")
    let loader = try BatchLoader(dataset: ImageFolder(folder.path, size: 8), batchSize: 1, seed: 0)
    #expect(try loader.next().labels == nil)
    let shapes = try BatchLoader(dataset: ShapesDataset(count: 8, size: 16), batchSize: 8, seed: 0)
    let batch = try shapes.next()
    #expect(batch.labels!.count == 8 && batch.pixels.count == 8 * 16 * 16 * 3)
  }
}
