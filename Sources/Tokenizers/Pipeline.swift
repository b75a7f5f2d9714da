import Synchronization

/// Everything a tokenizer file says, made ready; shared by copies of a `Tokenizer`.
final class Pipeline: Sendable {
  let normalizer: Normalizer?
  let preTokenizer: PreTokenizer?
  let model: Model
  let postProcessor: PostProcessor?
  let decoder: Decoder?
  let addedTokens: [AddedToken]
  /// All tokens' texts, the added ones included.
  let texts: Vocabulary
  let specialIDs: Set<Int32>
  /// Pieces may be cut before U+2581 without changing the result, which lets words be remembered.
  let cutsAtSpaces: Bool

  /// Finders in raw and in normalized text, of all added tokens and without the special ones.
  private let raw: AddedTokenFinder, normalized: AddedTokenFinder
  private let rawPlain: AddedTokenFinder, normalizedPlain: AddedTokenFinder
  private let workers = Mutex<[Worker]>([])

  init(
    normalizer: Normalizer? = nil, preTokenizer: PreTokenizer? = nil, model: Model,
    postProcessor: PostProcessor? = nil, decoder: Decoder? = nil, addedTokens: [AddedToken] = [],
    texts: Vocabulary
  ) {
    (self.normalizer, self.preTokenizer, self.model) = (normalizer, preTokenizer, model)
    (self.postProcessor, self.decoder) = (postProcessor, decoder)
    self.addedTokens = addedTokens
    var texts = texts
    for token in addedTokens where texts.token(token.id) == nil || texts.id(token.content) != token.id {
      texts.insert(Array(token.content.utf8), id: token.id)
    }
    self.texts = texts
    specialIDs = Set(addedTokens.filter(\.isSpecial).map(\.id))
    cutsAtSpaces =
      switch model {
      case .bpe(let model):
        !model.isByteLevel && model.endSuffix.isEmpty && Model.cutsAtSpaces(model.vocabulary)
      case .unigram(let model): Model.cutsAtSpaces(model.vocabulary)
      default: false
      }
    var unicode = UnicodeNormalizer()
    func finder(_ tokens: [AddedToken]) -> AddedTokenFinder {
      AddedTokenFinder(
        tokens,
        contents: tokens.map { token in
          let content = Array(token.content.utf8)
          guard token.isNormalized, let normalizer else { return content }
          if case .sentencePiece(_, _, _, true, _) = normalizer {
            // The space before a text is not part of a token inside it.
            return Decoder.replacing([0x20], in: content, with: [0xE2, 0x96, 0x81])
          }
          return normalizer.apply(Text(content, base: 0, isTracked: false), &unicode).bytes
        })
    }
    raw = finder(addedTokens.filter { !$0.isNormalized })
    normalized = finder(addedTokens.filter(\.isNormalized))
    rawPlain = finder(addedTokens.filter { !$0.isNormalized && !$0.isSpecial })
    normalizedPlain = finder(addedTokens.filter { $0.isNormalized && !$0.isSpecial })
  }

  /// Memory of a thread that encodes; used by one at a time.
  final class Worker: @unchecked Sendable {
    var unicode = UnicodeNormalizer()
    var stack: [Pattern.Retry] = []
    var scratch = Model.Scratch()
    var tokens: [Token] = []
    var cache = WordCache()
  }

  /// What encoding gives: numbers, and the places in the input when they were asked for.
  struct Output {
    var ids: [Int32] = []
    var offsets: [Range<Int>] = []
    let isTracked: Bool
  }

  func encode(_ input: [UInt8], isTracked: Bool, parsesSpecialTokens: Bool) -> Output {
    let worker = workers.withLock { $0.popLast() } ?? Worker()
    defer { workers.withLock { $0.append(worker) } }
    var output = Output(isTracked: isTracked)
    output.ids.reserveCapacity(input.count / 3)
    let (raw, normalized) =
      parsesSpecialTokens ? (self.raw, self.normalized) : (rawPlain, normalizedPlain)
    guard !raw.isEmpty else {
      encodePart(Text(input, base: 0, isTracked: isTracked), input, normalized, worker, &output)
      return output
    }
    raw.split(input) { range, token in
      if let token {
        output.ids.append(token.id)
        if isTracked { output.offsets.append(range) }
      } else {
        let bytes = range.count == input.count ? input : Array(input[range])
        encodePart(
          Text(bytes, base: range.lowerBound, isTracked: isTracked), input, normalized, worker, &output)
      }
    }
    return output
  }

  private func encodePart(
    _ part: Text, _ input: [UInt8], _ finder: AddedTokenFinder, _ worker: Worker, _ output: inout Output
  ) {
    let text = normalizer.map { $0.apply(part, &worker.unicode) } ?? part
    guard !finder.isEmpty else {
      encodeText(text, input, worker, &output)
      return
    }
    finder.split(text.bytes) { range, token in
      if let token {
        output.ids.append(token.id)
        if text.isTracked { output.offsets.append(text.origin(range)) }
      } else if range.count == text.bytes.count {
        encodeText(text, input, worker, &output)
      } else {
        var part = Text(
          Array(text.bytes[range]), base: text.base + range.lowerBound, isTracked: text.isTracked)
        if let origins = text.origins { part.origins = Array(origins[range]) }
        encodeText(part, input, worker, &output)
      }
    }
  }

  private func encodeText(_ text: Text, _ input: [UInt8], _ worker: Worker, _ output: inout Output) {
    var pieces = Pieces(text)
    guard !pieces.pieces.isEmpty else { return }
    if let preTokenizer {
      let isStart = (text.origins?.first.map { Int($0.start) } ?? text.base) == 0
      preTokenizer.apply(&pieces, isStart: isStart, keepsBytes: model.isByteLevel, &worker.stack)
    }
    if cutsAtSpaces { cut(&pieces) }
    worker.tokens.removeAll(keepingCapacity: true)
    pieces.text.bytes.withUnsafeBufferPointer { bytes in
      guard let bytes = bytes.baseAddress else { return }
      for piece in pieces.pieces {
        let start = bytes + Int(piece.start), count = Int(piece.end - piece.start)
        let first = worker.tokens.count
        if !worker.cache.append(start, count, to: &worker.tokens) {
          model.encode(start, count, into: &worker.tokens, &worker.scratch)
          worker.cache.remember(start, count, worker.tokens[first...])
        }
        if text.isTracked { place(worker.tokens[first...], Int(piece.start), pieces.text, input, &output) }
      }
    }
    for token in worker.tokens where token.id >= 0 { output.ids.append(token.id) }
  }

  /// The tokens' places in the input, widened to whole scalars.
  private func place(
    _ tokens: ArraySlice<Token>, _ start: Int, _ text: Text, _ input: [UInt8], _ output: inout Output
  ) {
    var position = start
    for token in tokens {
      let end = position + Int(token.length)
      if token.id >= 0 {
        let range = text.origin(position..<end)
        var (lower, upper) = (range.lowerBound, range.upperBound)
        while lower > 0, lower < input.count, input[lower] & 0xC0 == 0x80 { lower -= 1 }
        while upper < input.count, input[upper] & 0xC0 == 0x80 { upper += 1 }
        output.offsets.append(lower..<upper)
      }
      position = end
    }
  }

  private func cut(_ pieces: inout Pieces) {
    var result: [Pieces.Piece] = []
    result.reserveCapacity(pieces.pieces.count)
    pieces.text.bytes.withUnsafeBufferPointer { bytes in
      for piece in pieces.pieces {
        var start = Int(piece.start), position = start
        let end = Int(piece.end)
        var wasSpace = true
        while position < end {
          let isSpace =
            bytes[position] == 0xE2 && position + 2 < end && bytes[position + 1] == 0x96
            && bytes[position + 2] == 0x81
          if isSpace, !wasSpace {
            result.append(.init(start: UInt32(start), end: UInt32(position)))
            start = position
          }
          wasSpace = isSpace
          position += isSpace ? 3 : 1
        }
        result.append(.init(start: UInt32(start), end: UInt32(end)))
      }
    }
    pieces.pieces = result
  }
}

/// The tokens of words that came before. Text repeats its words; looking one up costs a tenth of encoding it.
struct WordCache {
  private var table = ByteTable(capacity: 1 << 12)
  private var spans: [(start: Int32, count: Int32)] = []
  private var tokens: [Token] = []
  /// Longer words hardly return.
  private static let longest = 48
  private static let limit = 1 << 18

  @inline(__always)
  func append(_ word: UnsafePointer<UInt8>, _ count: Int, to result: inout [Token]) -> Bool {
    guard count <= Self.longest, let index = table.value(word, count) else { return false }
    let span = spans[Int(index)]
    if span.count == 1 {
      result.append(tokens[Int(span.start)])
    } else {
      for place in Int(span.start)..<Int(span.start + span.count) { result.append(tokens[place]) }
    }
    return true
  }

  mutating func remember(_ word: UnsafePointer<UInt8>, _ count: Int, _ result: ArraySlice<Token>) {
    guard count <= Self.longest else { return }
    if spans.count >= Self.limit {
      table.removeAll()
      spans.removeAll(keepingCapacity: true)
      tokens.removeAll(keepingCapacity: true)
    }
    table.insert(word, count, Int32(spans.count))
    spans.append((Int32(tokens.count), Int32(result.count)))
    tokens.append(contentsOf: result)
  }
}
