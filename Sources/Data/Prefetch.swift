import Foundation
import KalsaeTensors

/// Makes one batch after the other, on whatever thread asks.
protocol BatchMaker<Made>: Sendable {
  associatedtype Made: Sendable
  /// The next batch; nil when `isCancelled` turns true meanwhile.
  mutating func next(isCancelled: () -> Bool) throws(DataError) -> Made?
}

/// Batches made ahead of time on a thread of their own.
final class Prefetch<Made: Sendable>: Sendable {
  private let queue: PrefetchQueue<Made>

  /// Starts making batches; at most `capacity` are ready ahead of the one in use.
  init(_ maker: some BatchMaker<Made>, capacity: Int) {
    require(capacity > 0, "a loader's prefetch \(capacity) is not positive")
    let queue = PrefetchQueue<Made>(capacity: capacity)
    // The thread holds the queue, never its owner: releasing the owner is what ends the thread.
    let thread = Thread { queue.fill(from: maker) }
    thread.name = "kalsae-data"
    thread.start()
    self.queue = queue
  }

  /// The thread ends at its next chance. Nobody waits for it, so a disk that hangs cannot hang the caller.
  deinit { queue.stop() }

  /// The next batch; waits for it if need be.
  /// - Throws: what went wrong when making it; once that happened, every further call throws the same.
  func next() throws(DataError) -> Made { try queue.next() }
}

/// A bounded queue between the reading thread and the training loop.
///
/// `@unchecked`: the stored properties below `condition` are touched only while it is locked.
private final class PrefetchQueue<Made: Sendable>: @unchecked Sendable {
  private let capacity: Int
  private let condition = NSCondition()
  private var ready: [Made] = []
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
  func fill(from maker: some BatchMaker<Made>) {
    var maker = maker
    while true {
      let outcome: Result<Made?, DataError>
      do throws(DataError) {
        outcome = .success(try maker.next(isCancelled: { condition.withLock { isStopped } }))
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

  func next() throws(DataError) -> Made {
    condition.lock()
    defer { condition.unlock() }
    // Batches made before a failure are still good, and come first.
    while ready.isEmpty && failure == nil { condition.wait() }
    guard !ready.isEmpty else { throw failure! }
    condition.broadcast()
    return ready.removeFirst()
  }
}
