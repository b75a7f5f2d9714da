/// A text as tokens.
public struct Encoding: Sendable, Equatable {
  public var ids: [Int32] = []
  /// The tokens' texts as the vocabulary has them: "Ġhello", "##ing".
  public var tokens: [String] = []
  /// The bytes of the text (of the second text, where the type is 1) that each token covers, widened to whole scalars;
  /// empty for tokens that were added.
  public var offsets: [Range<Int>] = []
  /// 0 or 1: which text of a pair the token belongs to.
  public var typeIDs: [Int32] = []
  /// 1, or 0 for padding.
  public var attentionMask: [Int32] = []
  /// 1 for tokens that were added around the text, 0 for the text's own.
  public var specialTokensMask: [Int32] = []
  /// What truncation cut off, in windows that overlap by its stride.
  public var overflowing: [Encoding] = []

  public init() {}

  public var count: Int { ids.count }

  mutating func append(_ id: Int32, _ token: String, _ offset: Range<Int>, type: Int32, isSpecial: Bool) {
    ids.append(id)
    tokens.append(token)
    offsets.append(offset)
    typeIDs.append(type)
    attentionMask.append(1)
    specialTokensMask.append(isSpecial ? 1 : 0)
  }

  mutating func append(_ other: Encoding, type: Int32? = nil) {
    ids += other.ids
    tokens += other.tokens
    offsets += other.offsets
    typeIDs += type.map { Array(repeating: $0, count: other.count) } ?? other.typeIDs
    attentionMask += other.attentionMask
    specialTokensMask += other.specialTokensMask
  }

  /// The tokens of a range, without what overflowed.
  func part(_ range: Range<Int>) -> Encoding {
    var result = Encoding()
    result.ids = Array(ids[range])
    result.tokens = Array(tokens[range])
    result.offsets = Array(offsets[range])
    result.typeIDs = Array(typeIDs[range])
    result.attentionMask = Array(attentionMask[range])
    result.specialTokensMask = Array(specialTokensMask[range])
    return result
  }

  /// Cuts to `length` tokens; the rest goes to `overflowing` in windows that overlap by `stride`.
  mutating func truncate(to length: Int, stride: Int, fromLeft: Bool) {
    guard count > length else { return }
    let all = self
    guard length > 0 else {
      self = Encoding()
      overflowing = [all]
      return
    }
    let step = max(length - stride, 1)
    var windows: [Range<Int>] = []
    if fromLeft {
      var end = count
      while true {
        let start = max(end - length, 0)
        windows.append(start..<end)
        if start == 0 { break }
        end -= step
      }
    } else {
      var start = 0
      while true {
        let end = min(start + length, count)
        windows.append(start..<end)
        if end == count { break }
        start += step
      }
    }
    self = all.part(windows[0])
    overflowing = windows.dropFirst().map { all.part($0) }
  }

  mutating func pad(to length: Int, _ padding: Padding) {
    for index in overflowing.indices { overflowing[index].pad(to: length, padding) }
    guard count < length else { return }
    let missing = length - count
    var pad = Encoding()
    for _ in 0..<missing {
      pad.append(padding.id, padding.token, 0..<0, type: padding.typeID, isSpecial: true)
    }
    pad.attentionMask = Array(repeating: 0, count: missing)
    let windows = overflowing
    if padding.fromLeft {
      pad.append(self)
      self = pad
    } else {
      append(pad)
    }
    overflowing = windows
  }
}

/// How long encodings may become.
public struct Truncation: Sendable, Equatable {
  public enum Strategy: String, CaseIterable, Sendable {
    case longestFirst = "LongestFirst"
    case onlyFirst = "OnlyFirst"
    case onlySecond = "OnlySecond"
  }

  /// With the tokens that are added.
  public var maximumLength: Int
  public var strategy = Strategy.longestFirst
  /// Tokens that a window of what was cut off shares with the one before.
  public var stride = 0
  public var fromLeft = false

  public init(maximumLength: Int, strategy: Strategy = .longestFirst, stride: Int = 0, fromLeft: Bool = false)
  {
    (self.maximumLength, self.strategy, self.stride) = (maximumLength, strategy, stride)
    self.fromLeft = fromLeft
  }

  func apply(_ first: inout Encoding, _ second: inout Encoding?, reserved: Int) {
    let room = max(maximumLength - reserved, 0)
    guard first.count + (second?.count ?? 0) > room else { return }
    guard second != nil else {
      if strategy != .onlySecond { first.truncate(to: room, stride: stride, fromLeft: fromLeft) }
      return
    }
    switch strategy {
    case .onlyFirst:
      first.truncate(to: max(room - second!.count, 0), stride: stride, fromLeft: fromLeft)
    case .onlySecond:
      second!.truncate(to: max(room - first.count, 0), stride: stride, fromLeft: fromLeft)
    case .longestFirst:
      // The longer one gives until both are as long, then both give, the odd token staying with the first's partner.
      var (a, b) = (first.count, second!.count)
      let swaps = a > b
      if swaps { swap(&a, &b) }
      b = a > room ? a : max(a, room - a)
      if a + b > room {
        a = room / 2
        b = a + room % 2
      }
      if swaps { swap(&a, &b) }
      first.truncate(to: a, stride: stride, fromLeft: fromLeft)
      second!.truncate(to: b, stride: stride, fromLeft: fromLeft)
    }
  }
}

/// How encodings are made equally long.
public struct Padding: Sendable, Equatable {
  /// nil: as long as the longest of the batch.
  public var length: Int?
  public var multiple: Int?
  public var id: Int32 = 0, typeID: Int32 = 0
  public var token = "[PAD]"
  public var fromLeft = false

  public init(
    length: Int? = nil, multiple: Int? = nil, id: Int32 = 0, typeID: Int32 = 0, token: String = "[PAD]",
    fromLeft: Bool = false
  ) {
    (self.length, self.multiple, self.id) = (length, multiple, id)
    (self.typeID, self.token, self.fromLeft) = (typeID, token, fromLeft)
  }

  func apply(_ encodings: inout [Encoding]) {
    var length = length ?? encodings.map(\.count).max() ?? 0
    if let multiple, multiple > 0, length % multiple != 0 { length += multiple - length % multiple }
    for index in encodings.indices { encodings[index].pad(to: length, self) }
  }
}
