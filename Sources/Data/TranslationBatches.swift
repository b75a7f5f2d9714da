import KalsaeTensors

/// Sentences and their translations as a Transformer is trained on them.
public struct TranslationBatch: Sendable, Equatable {
  /// (rows, sourceLength).
  public let source: [Int32]
  /// (rows, sourceLength): true where the source has a token.
  public let sourceMask: [Bool]
  /// (rows, targetLength): what the decoder reads, each target without its last token.
  public let targetInputs: [Int32]
  /// (rows, targetLength): what it shall say, each target without its first token; `ignoredTokenLabel` after the end.
  public let labels: [Int32]
  public let rows, sourceLength, targetLength: Int
  /// (rows): which pairs these are.
  public let examples: [Int]

  public var sourceTensor: Tensor { Tensor(source, [rows, sourceLength]) }
  public var sourceMaskTensor: Tensor { Tensor(sourceMask, [rows, sourceLength]) }
  public var targetInputTensor: Tensor { Tensor(targetInputs, [rows, targetLength]) }
  public var labelTensor: Tensor { Tensor(labels, [rows, targetLength]) }
}

/// Pairs of token sequences in batches of similar length, limited in source and in target tokens alike.
public struct TranslationBatches: BatchSource {
  public let name: String
  private let source, target: [[Int32]]
  private let padding: Int32
  private let isShuffled: Bool
  private let buckets: LengthBuckets

  /// - Parameters:
  ///   - source: tokens as the encoder reads them, with special tokens.
  ///   - target: tokens from the one that begins a sentence to the one that ends it: at least two.
  ///   - padding: the token that rows are filled up with.
  ///   - multiple: lengths are rounded up to multiples of this; larger means fewer shapes and more padding.
  /// - Throws: when there are no pairs, a side is empty, or a pair alone is larger than a batch.
  public init(
    source: [[Int32]], target: [[Int32]], name: String, limit: BatchLimit, padding: Int32, multiple: Int = 4,
    isShuffled: Bool = true
  ) throws(DataError) {
    guard source.count == target.count else {
      throw .unequalLines(
        source: name + " (source)", sourceCount: source.count, target: name + " (target)",
        targetCount: target.count)
    }
    guard !source.isEmpty else { throw .emptyText(path: name) }
    for (place, pair) in zip(source, target).enumerated() where pair.0.isEmpty || pair.1.count < 2 {
      throw .invalidOption(
        "\(name): pair \(place + 1) has \(pair.0.count) source and \(pair.1.count) target token(s); the source needs "
          + "one, the target a beginning and an end")
    }
    buckets = try LengthBuckets(limit, multiple: multiple)
    (self.source, self.target, self.name) = (source, target, name)
    (self.padding, self.isShuffled) = (padding, isShuffled)
    try buckets.check(longest: (0..<source.count).map(length).max()!, name)
  }

  /// The number of pairs.
  public var count: Int { source.count }

  private func length(_ pair: Int) -> Int { max(source[pair].count, target[pair].count - 1) }

  public func plan(epoch: Int, seed: UInt64) -> [[Int]] {
    buckets.batches(
      source.indices.map(length), detail: { min(source[$0].count, target[$0].count - 1) },
      isShuffled: isShuffled,
      epoch: epoch, seed: seed)
  }

  public func batch(_ examples: [Int], epoch: Int, seed: UInt64) -> TranslationBatch {
    let sources = examples.map { source[$0] }, targets = examples.map { target[$0] }
    let sourceLength = buckets.padded(sources.map(\.count).max()!)
    let targetLength = buckets.padded(targets.map(\.count).max()! - 1)
    return TranslationBatch(
      source: padded(sources, to: sourceLength, with: padding),
      sourceMask: attentionMask(sources, length: sourceLength),
      targetInputs: padded(targets.map { Array($0.dropLast()) }, to: targetLength, with: padding),
      labels: padded(targets.map { Array($0.dropFirst()) }, to: targetLength, with: ignoredTokenLabel),
      rows: examples.count, sourceLength: sourceLength, targetLength: targetLength, examples: examples)
  }
}
