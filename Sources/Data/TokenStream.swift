import KalsaeTensors

/// The label of positions that no loss is computed for; the number that transformers use too.
public let ignoredTokenLabel: Int32 = -100

/// The tokens of a text in one long row, for language models.
public struct TokenStream: Sendable, Equatable {
  /// What messages call it.
  public let name: String
  public let tokens: ArraySlice<Int32>

  /// - Parameter vocabulary: the number of tokens that the model knows.
  /// - Throws: when there is no token, or one is outside the vocabulary.
  public init(_ tokens: [Int32], name: String, vocabulary: Int? = nil) throws(DataError) {
    guard !tokens.isEmpty else { throw .emptyText(path: name) }
    if let vocabulary { try checkTokens(tokens, below: vocabulary, name) }
    self.init(tokens[...], name)
  }

  private init(_ tokens: ArraySlice<Int32>, _ name: String) { (self.tokens, self.name) = (tokens, name) }

  public var count: Int { tokens.count }

  /// The beginning for training and the last `fraction` (rounded down to whole tokens) for validation, without overlap.
  /// - Throws: when the fraction leaves one of them without tokens.
  public func split(validationFraction fraction: Double) throws(DataError) -> (
    training: TokenStream, validation: TokenStream
  ) {
    guard fraction > 0, fraction < 1 else {
      throw .invalidOption("the validation fraction must be between 0 and 1, not \(fraction)")
    }
    let held = Int(Double(count) * fraction)
    guard held > 0, held < count else {
      throw .invalidOption(
        "\(name): a validation fraction of \(fraction) of \(count) token(s) leaves one part empty")
    }
    return (
      TokenStream(tokens.dropLast(held), name), TokenStream(tokens.suffix(held), name + " (held out)")
    )
  }
}

/// Throws unless every token is in 0 ..< vocabulary.
public func checkTokens(_ tokens: some Sequence<Int32>, below vocabulary: Int, _ name: String)
  throws(DataError)
{
  for (place, token) in tokens.enumerated() where token < 0 || Int(token) >= vocabulary {
    throw .invalidOption(
      "\(name): token \(token) at place \(place) is outside the model's vocabulary of \(vocabulary); use the "
        + "tokenizer that the model was made for")
  }
}

/// Windows of a stream, and for each of their tokens the one that follows it.
public struct LanguageModelBatch: Sendable, Equatable {
  /// (rows, length).
  public let inputs: [Int32]
  /// (rows, length): the next tokens, or `ignoredTokenLabel`.
  public let labels: [Int32]
  public let rows, length: Int

  public var inputTensor: Tensor { Tensor(inputs, [rows, length]) }
  public var labelTensor: Tensor { Tensor(labels, [rows, length]) }
}

/// Cuts a stream into windows of one length for causal language models.
public struct LanguageModelWindows: BatchSource {
  public enum Order: Sendable, Hashable {
    /// Windows begin anywhere, drawn anew in each epoch; an epoch has as many tokens as the stream, nearly.
    case random
    /// Windows lie beside each other, or `stride` apart, and each epoch shuffles them.
    case shuffled
    /// As `shuffled`, but from beginning to end, for measuring: each token but the first is predicted exactly once,
    /// with as much context as its window has. The last window may be filled up, with ignored labels.
    case sequential
  }

  public let name: String
  public let length, batchSize, stride: Int
  public let order: Order
  private let tokens: ArraySlice<Int32>

  /// - Parameter stride: tokens from one window's beginning to the next; `length` when nil.
  /// - Throws: when the stream is shorter than a window (of `length` tokens and the one after), or a number not positive.
  public init(
    _ stream: TokenStream, length: Int, batchSize: Int, order: Order = .random, stride: Int? = nil
  ) throws(DataError) {
    let stride = stride ?? length
    guard length > 0, batchSize > 0, (1...length).contains(stride) else {
      throw .invalidOption(
        "window length \(length) and batch size \(batchSize) must be positive, and the stride \(stride) between 1 "
          + "and the length")
    }
    guard stream.count >= (order == .sequential ? 2 : length + 1) else {
      throw .invalidOption(
        "\(stream.name) has \(stream.count) token(s); windows of length \(length) need \(length + 1): use a "
          + "shorter context or more text")
    }
    (name, tokens) = (stream.name, stream.tokens)
    (self.length, self.batchSize, self.order, self.stride) = (length, batchSize, order, stride)
  }

  /// The windows' beginnings.
  public func plan(epoch: Int, seed: UInt64) -> [[Int]] {
    let count = tokens.count
    switch order {
    case .random:
      let batches = max((count - 1) / length / batchSize, 1)
      // "window"
      var generator = SplitMix64(key: 0x77_696E_646F_77, seed, UInt64(epoch))
      return (0..<batches).map { _ in
        (0..<batchSize).map { _ in Int(generator.below(UInt64(count - length))) }
      }
    case .shuffled:
      let windows = (count - 1 - length) / stride + 1
      let order = EpochOrder.permutation(count: windows, seed: seed, epoch: epoch)
      return evenBatches(order.map { Int($0) * stride }, atMost: batchSize)
    case .sequential:
      let windows = max((count - 1 - length + stride - 1) / stride, 0) + 1
      return (0..<windows).map { $0 * stride }.chunked(batchSize)
    }
  }

  public func batch(_ examples: [Int], epoch: Int, seed: UInt64) -> LanguageModelBatch {
    var inputs: [Int32] = [], labels: [Int32] = []
    inputs.reserveCapacity(examples.count * length)
    labels.reserveCapacity(examples.count * length)
    for start in examples {
      let window = tokens.dropFirst(start).prefix(length + 1)
      let real = window.count - 1
      inputs += window.dropLast()
      inputs += repeatElement(0, count: length - real)
      // In order, what the window before has predicted is context only.
      let known = order == .sequential && start > 0 ? length - stride : 0
      labels += repeatElement(ignoredTokenLabel, count: min(known, real))
      labels += window.dropFirst(1 + min(known, real))
      labels += repeatElement(ignoredTokenLabel, count: length - real)
    }
    return LanguageModelBatch(inputs: inputs, labels: labels, rows: examples.count, length: length)
  }
}

extension Array {
  /// Pieces of `size` elements; the last may be shorter.
  func chunked(_ size: Int) -> [[Element]] {
    Swift.stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
  }
}

/// As few batches as possible, none more than one example longer than another: no example is left out, and no batch is
/// so small that its gradient is mostly noise.
func evenBatches(_ examples: [Int], atMost size: Int) -> [[Int]] {
  let batches = (examples.count + size - 1) / size
  return (0..<batches).map { b in
    Array(examples[examples.count * b / batches..<examples.count * (b + 1) / batches])
  }
}
