/// Delivers shuffled batches for ever, prepared ahead of time on a thread of its own.
///
/// Each epoch visits every picture once, in an order shuffled by Fisher-Yates over SplitMix64 keyed by (seed,
/// epoch); `flip` mirrors each picture with probability 1/2, and `shift` moves it by up to that many pixels each way,
/// drawn from (seed, epoch, picture). Batches are
/// always full: the last one of an epoch is completed with the first pictures of the next, so no picture is
/// dropped. A loader started at the `positionAfter` of a batch delivers exactly what would have followed it.
///
///     let loader = try BatchLoader(dataset: data, batchSize: 64, seed: 0, flip: true)
///     let batch = try loader.next()
public final class BatchLoader: Sendable {
  private let batches: Prefetch<Batch>

  /// Starts reading at `position`.
  /// - Parameter prefetch: batches kept ready ahead of the one in use.
  /// - Throws: when the batch is larger than the data set, the shift than a picture, or the position lies outside it.
  public init(
    dataset: any ImageDataset, batchSize: Int, seed: UInt64, flip: Bool = false, shift: Int = 0,
    position: LoaderPosition = .start, prefetch: Int = 2
  ) throws(DataError) {
    let assembler = try BatchAssembler(
      dataset: dataset, batchSize: batchSize, seed: seed, flip: flip, shift: shift,
      position: position)
    batches = Prefetch(assembler, capacity: prefetch)
  }

  /// The next batch; waits for it if need be.
  /// - Throws: what went wrong when reading it; once that happened, every further call throws the same.
  public func next() throws(DataError) -> Batch { try batches.next() }
}
