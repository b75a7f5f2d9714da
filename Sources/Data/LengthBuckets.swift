import KalsaeTensors

/// How large a batch may be.
public enum BatchLimit: Sendable, Hashable {
  /// This many examples.
  case examples(Int)
  /// As many examples as fill this many tokens, padding included.
  case tokens(Int)

  /// Examples of a batch whose longest one is padded to `length`.
  func examples(ofLength length: Int) -> Int {
    switch self {
    case .examples(let count): count
    case .tokens(let count): count / length
    }
  }
}

/// Puts examples of similar length into one batch, so that little padding is needed.
///
/// Lengths are rounded up to a multiple: few different shapes mean few plans. All batches of a bucket have the same
/// number of examples; what is left over goes to the next longer bucket, so only one batch of an epoch is smaller.
struct LengthBuckets: Sendable {
  let limit: BatchLimit
  /// Lengths are rounded up to multiples of this.
  let multiple: Int

  init(_ limit: BatchLimit, multiple: Int) throws(DataError) {
    let size =
      switch limit {
      case .examples(let count), .tokens(let count): count
      }
    guard size > 0, multiple > 0 else {
      throw .invalidOption("batch size \(size) and length multiple \(multiple) must be positive")
    }
    (self.limit, self.multiple) = (limit, multiple)
  }

  func padded(_ length: Int) -> Int { max((length + multiple - 1) / multiple, 1) * multiple }

  /// Throws when an example alone exceeds the limit.
  func check(longest: Int, _ name: String) throws(DataError) {
    guard limit.examples(ofLength: padded(longest)) > 0 else {
      throw .invalidOption(
        "\(name): one example has \(longest) tokens, \(padded(longest)) when padded, more than a whole batch may "
          + "have; allow larger batches or leave out long examples")
    }
  }

  /// The batches of an epoch, or of the examples as they stand when `isShuffled` is false.
  ///
  /// Neighbours in a bucket are ordered by `detail` (the length of a pair's other side), at random within that.
  func batches(
    _ lengths: [Int], detail: (Int) -> Int = { _ in 0 }, isShuffled: Bool, epoch: Int, seed: UInt64
  ) -> [[Int]] {
    let order =
      isShuffled
      ? EpochOrder.permutation(count: lengths.count, seed: seed, epoch: epoch).map { Int($0) }
      : Array(lengths.indices)
    let buckets = Dictionary(grouping: order) { padded(lengths[$0]) }
    var batches: [[Int]] = [], left: [Int] = []
    for length in buckets.keys.sorted() {
      // Stable, so that what was shuffled stays so among equals.
      let bucket = buckets[length]!.enumerated().map { (place: $0, example: $1, detail: padded(detail($1))) }
        .sorted { ($0.detail, $0.place) < ($1.detail, $1.place) }
      var members = bucket.map(\.example)[...]
      let size = limit.examples(ofLength: length)
      while left.count + members.count >= size {
        // At least one of the bucket's own in each batch, so that all of them have the bucket's length.
        let old = min(left.count, members.isEmpty ? size : size - 1), new = size - old
        batches.append(Array(left[..<old]) + Array(members.prefix(new)))
        left.removeFirst(old)
        members.removeFirst(new)
      }
      left += members
    }
    if !left.isEmpty { batches.append(left) }
    guard isShuffled else { return batches }
    return EpochOrder.batchPermutation(count: batches.count, seed: seed, epoch: epoch).map {
      batches[Int($0)]
    }
  }
}

/// Rows of tokens, padded at their ends to one length.
func padded(_ rows: [[Int32]], to length: Int, with padding: Int32) -> [Int32] {
  var result: [Int32] = []
  result.reserveCapacity(rows.count * length)
  for row in rows {
    require(row.count <= length, "padded: \(row.count) tokens in a row of \(length)")
    result += row
    result += repeatElement(padding, count: length - row.count)
  }
  return result
}

/// True where a row has a token: (rows, length).
func attentionMask(_ rows: [[Int32]], length: Int) -> [Bool] {
  rows.flatMap { row in (0..<length).map { $0 < row.count } }
}
