import KalsaeTensors

/// Something that batches of text can be made of.
public protocol BatchSource: Sendable {
  associatedtype Batch: Sendable
  /// What messages call it.
  var name: String { get }
  /// The examples of each batch of an epoch, in order; depends on nothing but seed and epoch, and is never empty.
  func plan(epoch: Int, seed: UInt64) -> [[Int]]
  /// One batch of the plan.
  func batch(_ examples: [Int], epoch: Int, seed: UInt64) throws(DataError) -> Batch
}

extension BatchSource {
  /// The batches of one epoch, one after the other, for measuring.
  public func batches(epoch: Int = 0, seed: UInt64 = 0) throws(DataError) -> [Batch] {
    var result: [Batch] = []
    for examples in plan(epoch: epoch, seed: seed) {
      result.append(try batch(examples, epoch: epoch, seed: seed))
    }
    return result
  }
}

/// Delivers the batches of a source for ever, epoch after epoch, made ahead of time on a thread of its own.
///
/// A loader started at the `positionAfter` of a batch delivers exactly what would have followed it.
///
///     let windows = try LanguageModelWindows(text, length: 256, batchSize: 12)
///     let loader = try TokenLoader(windows, seed: 0)
///     let step = try loader.next()  // step.batch.inputTensor, step.batch.labelTensor
public final class TokenLoader<Source: BatchSource>: Sendable {
  public struct Step: Sendable {
    public let batch: Source.Batch
    public let epoch: Int
    /// Where the data stand once this batch is used (`index` counts batches): what a checkpoint stores.
    public let positionAfter: LoaderPosition
  }

  private let steps: Prefetch<Step>

  /// Starts at `position`.
  /// - Parameter prefetch: batches kept ready ahead of the one in use.
  /// - Throws: when the position lies outside the epoch.
  public init(
    _ source: Source, seed: UInt64, position: LoaderPosition = .start, prefetch: Int = 2
  ) throws(DataError) {
    steps = Prefetch(try Maker(source, seed: seed, position: position), capacity: prefetch)
  }

  /// The next batch; waits for it if need be.
  /// - Throws: what went wrong when making it; once that happened, every further call throws the same.
  public func next() throws(DataError) -> Step { try steps.next() }

  private struct Maker: BatchMaker {
    let source: Source
    let seed: UInt64
    private var position: LoaderPosition
    private var plan: [[Int]]

    init(_ source: Source, seed: UInt64, position: LoaderPosition) throws(DataError) {
      plan = position.epoch >= 0 ? source.plan(epoch: position.epoch, seed: seed) : []
      guard position.epoch >= 0, (0...plan.count).contains(position.index) else {
        throw .batchPositionOutside(
          epoch: position.epoch, index: position.index, source: source.name, batches: plan.count)
      }
      (self.source, self.seed, self.position) = (source, seed, position)
      startEpochIfAtEnd()
    }

    /// (e, count) and (e + 1, 0) are one place; the second is the one stored.
    private mutating func startEpochIfAtEnd() {
      guard position.index == plan.count else { return }
      position = LoaderPosition(epoch: position.epoch + 1, index: 0)
      plan = source.plan(epoch: position.epoch, seed: seed)
      require(!plan.isEmpty, "\(source.name): an epoch without batches")
    }

    mutating func next(isCancelled: () -> Bool) throws(DataError) -> Step? {
      if isCancelled() { return nil }
      let epoch = position.epoch
      let batch = try source.batch(plan[position.index], epoch: epoch, seed: seed)
      position.index += 1
      startEpochIfAtEnd()
      return Step(batch: batch, epoch: epoch, positionAfter: position)
    }
  }
}
