import KalsaeTensors

/// One input of an encoder: a text, or two texts joined, with its special tokens.
public struct TokenSequence: Sendable, Equatable {
  public var tokens: [Int32]
  /// For each token, which of two texts it belongs to (0 or 1); nil when there is one text only.
  public var segments: [Int32]?
  /// The class; nil when there is none.
  public var label: Int32?

  public init(_ tokens: [Int32], segments: [Int32]? = nil, label: Int32? = nil) {
    require(
      segments == nil || segments!.count == tokens.count,
      "TokenSequence: \(segments?.count ?? 0) segments for \(tokens.count) tokens")
    (self.tokens, self.segments, self.label) = (tokens, segments, label)
  }
}

/// A list of sequences whose contents may change from epoch to epoch, but not between two calls for one.
public protocol SequenceSource: Sendable {
  /// What messages call it.
  var name: String { get }
  var count: Int { get }
  /// No sequence of any epoch has more tokens.
  var longest: Int { get }
  func sequence(_ index: Int, epoch: Int, seed: UInt64) -> TokenSequence
}

/// Sequences that stay the same.
public struct FixedSequences: SequenceSource {
  public let name: String
  public let longest: Int
  private let list: [TokenSequence]

  public init(_ sequences: [TokenSequence], name: String) {
    (list, self.name) = (sequences, name)
    longest = sequences.map(\.tokens.count).max() ?? 0
  }

  public var count: Int { list.count }
  public func sequence(_ index: Int, epoch: Int, seed: UInt64) -> TokenSequence { list[index] }
}

/// Sequences of an encoder, padded to one length.
public struct SequenceBatch: Sendable, Equatable {
  /// (rows, length).
  public let tokens: [Int32]
  /// (rows, length): true where there is a token.
  public let mask: [Bool]
  /// (rows, length): 0 or 1.
  public let segments: [Int32]
  /// (rows), or nil when the sequences have no class.
  public let labels: [Int32]?
  /// (rows, length): the original where a token was masked, else `ignoredTokenLabel`; nil without masking.
  public let maskedLabels: [Int32]?
  public let rows, length: Int
  /// (rows): which sequences these are.
  public let examples: [Int]

  /// Where tokens were masked, as places among the rows x length ones, and the originals there.
  ///
  /// Filled up to `count` with place 0 and `ignoredTokenLabel`, so that batches of one shape compute the same.
  public func maskedPlaces(count: Int) -> (places: [Int32], labels: [Int32]) {
    let all = maskedLabels ?? []
    let places = all.indices.filter { all[$0] != ignoredTokenLabel }
    require(places.count <= count, "maskedPlaces: \(places.count) tokens are masked, not at most \(count)")
    let rest = count - places.count
    return (
      places.map { Int32($0) } + [Int32](repeating: 0, count: rest),
      places.map { all[$0] } + [Int32](repeating: ignoredTokenLabel, count: rest)
    )
  }

  public var tokenTensor: Tensor { Tensor(tokens, [rows, length]) }
  public var maskTensor: Tensor { Tensor(mask, [rows, length]) }
  public var segmentTensor: Tensor { Tensor(segments, [rows, length]) }
  public var labelTensor: Tensor? { labels.map { Tensor($0, [rows]) } }
  public var maskedLabelTensor: Tensor? { maskedLabels.map { Tensor($0, [rows, length]) } }
}

/// Batches of similar length for classification, masked language modelling and next-sentence prediction.
public struct SequenceBatches<Source: SequenceSource>: BatchSource {
  public let source: Source
  public let masking: TokenMasking?
  private let padding: Int32
  private let maximumLength: Int
  private let isShuffled: Bool
  private let buckets: LengthBuckets

  public var name: String { source.name }

  /// - Parameters:
  ///   - maximumLength: positions that the model has; padding does not go beyond them.
  ///   - padding: the token that rows are filled up with.
  ///   - multiple: lengths are rounded up to multiples of this; larger means fewer shapes and more padding.
  ///   - masking: hides tokens, differently in each epoch.
  /// - Throws: when there are no sequences, or one is empty, too long, or alone larger than a batch.
  public init(
    _ source: Source, limit: BatchLimit, padding: Int32, maximumLength: Int = .max, multiple: Int = 8,
    masking: TokenMasking? = nil, isShuffled: Bool = true
  ) throws(DataError) {
    guard source.count > 0 else { throw .emptyText(path: source.name) }
    for place in 0..<source.count {
      let length = source.sequence(place, epoch: 0, seed: 0).tokens.count
      guard (1...maximumLength).contains(length) else {
        throw .invalidOption(
          "\(source.name): text \(place + 1) has \(length) token(s), not 1 to \(maximumLength); truncate long texts"
        )
      }
    }
    buckets = try LengthBuckets(limit, multiple: multiple)
    (self.source, self.padding, self.masking) = (source, padding, masking)
    (self.isShuffled, self.maximumLength) = (isShuffled, maximumLength)
    try buckets.check(longest: source.longest, source.name)
  }

  public func plan(epoch: Int, seed: UInt64) -> [[Int]] {
    let lengths = (0..<source.count).map { source.sequence($0, epoch: epoch, seed: seed).tokens.count }
    return buckets.batches(lengths, isShuffled: isShuffled, epoch: epoch, seed: seed)
  }

  public func batch(_ examples: [Int], epoch: Int, seed: UInt64) -> SequenceBatch {
    let chosen = examples.map { source.sequence($0, epoch: epoch, seed: seed) }, rows = chosen.map(\.tokens)
    let length = min(buckets.padded(rows.map(\.count).max()!), maximumLength)
    let segments = chosen.map { $0.segments ?? [Int32](repeating: 0, count: $0.tokens.count) }
    let labels = chosen.compactMap(\.label)
    let hidden = masking.map { masking in
      zip(examples, rows).map { masking($1, seed: seed, epoch: epoch, example: $0) }
    }
    return SequenceBatch(
      tokens: padded(hidden?.map(\.tokens) ?? rows, to: length, with: padding),
      mask: attentionMask(rows, length: length), segments: padded(segments, to: length, with: 0),
      labels: labels.count == examples.count ? labels : nil,
      maskedLabels: hidden.map { padded($0.map(\.labels), to: length, with: ignoredTokenLabel) },
      rows: examples.count, length: length, examples: examples)
  }
}
