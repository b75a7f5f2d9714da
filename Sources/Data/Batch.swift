/// Where a run stands in its data: `index` pictures, or batches of text, of `epoch`'s order are used up. Part of every
/// checkpoint.
public struct LoaderPosition: Codable, Sendable, Hashable {
  public var epoch: Int
  public var index: Int

  public init(epoch: Int, index: Int) {
    self.epoch = epoch
    self.index = index
  }

  public static let start = LoaderPosition(epoch: 0, index: 0)
}

/// N pictures in training order.
public struct Batch: Sendable, Equatable {
  /// (N, size, size, channels).
  public let pixels: [UInt8]
  /// (N), or nil when the data set has no labels.
  public let labels: [Int32]?
  /// (N): which pictures of the data set these are, for their captions.
  public let indices: [Int]
  /// Where the data stand once this batch is used: what a checkpoint stores.
  public let positionAfter: LoaderPosition
  /// The epoch of the first picture.
  public let epoch: Int
}

/// Makes one batch after the other, on whatever thread asks.
struct BatchAssembler: BatchMaker {
  let dataset: any ImageDataset
  let batchSize: Int
  let seed: UInt64
  let flip: Bool
  let shift: Int
  private var position: LoaderPosition
  private var order: [UInt32]

  init(
    dataset: any ImageDataset, batchSize: Int, seed: UInt64, flip: Bool, shift: Int = 0,
    position: LoaderPosition
  ) throws(DataError) {
    guard batchSize > 0 else { throw .invalidOption("batch size \(batchSize) is not positive") }
    guard batchSize <= dataset.count else {
      throw .batchTooLarge(batchSize: batchSize, dataset: dataset.name, count: dataset.count)
    }
    guard (0..<dataset.size).contains(shift) else {
      throw .invalidOption("a shift of \(shift) pixels is not in 0 ..< \(dataset.size), the pictures' size")
    }
    guard position.epoch >= 0, (0...dataset.count).contains(position.index) else {
      throw .positionOutside(
        epoch: position.epoch, index: position.index, dataset: dataset.name, count: dataset.count)
    }
    self.dataset = dataset
    self.batchSize = batchSize
    self.seed = seed
    self.flip = flip
    self.shift = shift
    self.position = position
    order = EpochOrder.permutation(count: dataset.count, seed: seed, epoch: position.epoch)
    startEpochIfAtEnd()
  }

  /// (e, count) and (e + 1, 0) are one place; the second is the one stored.
  private mutating func startEpochIfAtEnd() {
    guard position.index == dataset.count else { return }
    position = LoaderPosition(epoch: position.epoch + 1, index: 0)
    order = EpochOrder.permutation(count: dataset.count, seed: seed, epoch: position.epoch)
  }

  /// The next batch; nil when `isCancelled` turns true meanwhile.
  mutating func next(isCancelled: () -> Bool) throws(DataError) -> Batch? {
    let length = dataset.pixelCount
    let epoch = position.epoch
    var pixels = [UInt8](repeating: 0, count: batchSize * length)
    var (labels, indices): ([Int32], [Int]) = ([], [])
    for slot in 0..<batchSize {
      if isCancelled() { return nil }
      let index = Int(order[position.index])
      try pixels.withUnsafeMutableBufferPointer { (all) throws(DataError) in
        let picture = UnsafeMutableBufferPointer(rebasing: all[slot * length..<(slot + 1) * length])
        try dataset.read(index, into: picture)
        if flip && EpochOrder.flips(index: index, seed: seed, epoch: position.epoch) { mirror(picture) }
        if shift > 0 {
          let (right, down) = EpochOrder.shift(
            index: index, limit: shift, seed: seed, epoch: position.epoch)
          move(picture, right: right, down: down)
        }
      }
      indices.append(index)
      if let label = dataset.label(index) { labels.append(Int32(label)) }
      position.index += 1
      startEpochIfAtEnd()
    }
    return Batch(
      pixels: pixels, labels: labels.count == batchSize ? labels : nil, indices: indices,
      positionAfter: position, epoch: epoch)
  }

  /// Exchanges left and right.
  private func mirror(_ picture: UnsafeMutableBufferPointer<UInt8>) {
    let (size, channels) = (dataset.size, dataset.channels)
    for y in 0..<size {
      for x in 0..<size / 2 {
        let (left, right) = ((y * size + x) * channels, (y * size + size - 1 - x) * channels)
        for c in 0..<channels { picture.swapAt(left + c, right + c) }
      }
    }
  }

  /// Moves the picture; what comes in from outside is 0.
  private func move(_ picture: UnsafeMutableBufferPointer<UInt8>, right: Int, down: Int) {
    guard right != 0 || down != 0 else { return }
    let old = Array(picture), size = dataset.size, channels = dataset.channels
    picture.update(repeating: 0)
    let count = (size - abs(right)) * channels
    for y in max(down, 0)..<min(size + down, size) {
      let from = ((y - down) * size + max(-right, 0)) * channels, to = (y * size + max(right, 0)) * channels
      _ = UnsafeMutableBufferPointer(rebasing: picture[to..<to + count])
        .update(fromContentsOf: old[from..<from + count])
    }
  }
}
