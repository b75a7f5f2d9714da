import Foundation
import KalsaeTensors

/// Delivers shuffled batches for ever, prepared ahead of time on a thread of its own.
///
/// Each epoch visits every picture once, in an order shuffled by Fisher-Yates over SplitMix64 keyed by (seed,
/// epoch); `flip` mirrors each picture with probability 1/2, drawn from (seed, epoch, picture). Batches are
/// always full: the last one of an epoch is completed with the first pictures of the next, so no picture is
/// dropped. A loader started at the `positionAfter` of a batch delivers exactly what would have followed it.
///
///     let loader = try BatchLoader(dataset: data, batchSize: 64, seed: 0, flip: true)
///     let batch = try loader.next()
public final class BatchLoader: Sendable {
  private let queue: PrefetchQueue

  /// Starts reading at `position`.
  /// - Parameter prefetch: batches kept ready ahead of the one in use.
  /// - Throws: when the batch is larger than the data set, or the position lies outside it.
  public init(
    dataset: any ImageDataset, batchSize: Int, seed: UInt64, flip: Bool = false,
    position: LoaderPosition = .start, prefetch: Int = 2
  ) throws(DataError) {
    require(prefetch > 0, "BatchLoader: prefetch \(prefetch) is not positive")
    let assembler = try BatchAssembler(
      dataset: dataset, batchSize: batchSize, seed: seed, flip: flip, position: position)
    let queue = PrefetchQueue(capacity: prefetch)
    // The thread holds the queue, never the loader: releasing the loader is what ends the thread.
    let thread = Thread { queue.fill(from: assembler) }
    thread.name = "kalsae-data"
    thread.start()
    self.queue = queue
  }

  /// The thread ends at its next picture. Nobody waits for it, so a disk that hangs cannot hang the caller.
  deinit { queue.stop() }

  /// The next batch; waits for it if need be.
  /// - Throws: what went wrong when reading it; once that happened, every further call throws the same.
  public func next() throws(DataError) -> Batch { try queue.next() }
}

/// A bounded queue between the reading thread and the training loop.
///
/// `@unchecked`: the stored properties below `condition` are touched only while it is locked.
private final class PrefetchQueue: @unchecked Sendable {
  private let capacity: Int
  private let condition = NSCondition()
  private var ready: [Batch] = []
  private var failure: DataError?
  private var isStopped = false

  init(capacity: Int) { self.capacity = capacity }

  func stop() {
    condition.withLock {
      isStopped = true
      condition.broadcast()
    }
  }

  /// Body of the reading thread: until stopped or failed.
  func fill(from assembler: BatchAssembler) {
    var assembler = assembler
    while true {
      let outcome: Result<Batch?, DataError>
      do throws(DataError) {
        outcome = .success(try assembler.next(isCancelled: { condition.withLock { isStopped } }))
      } catch {
        outcome = .failure(error)
      }
      condition.lock()
      defer { condition.unlock() }
      switch outcome {
      case .success(nil): return
      case .success(let batch?):
        ready.append(batch)
        condition.broadcast()
        while ready.count >= capacity && !isStopped { condition.wait() }
        if isStopped { return }
      case .failure(let error):
        failure = error
        condition.broadcast()
        return
      }
    }
  }

  func next() throws(DataError) -> Batch {
    condition.lock()
    defer { condition.unlock() }
    // Batches made before a failure are still good, and come first.
    while ready.isEmpty && failure == nil { condition.wait() }
    guard !ready.isEmpty else { throw failure! }
    condition.broadcast()
    return ready.removeFirst()
  }
}
