import KalsaeFormats

/// Text to token numbers and back, as a pipeline: added tokens, normalizer, pre-tokenizer, model, post-processor; the
/// decoder for the way back. The stages are those of Hugging Face's `tokenizer.json`.
///
///     let tokenizer = try Tokenizer(path: "model/tokenizer.json")
///     let ids = tokenizer.encode("The swift is a bird.").ids
///     tokenizer.decode(ids)                             // "The swift is a bird."
///
/// Text is handled as bytes and Unicode scalars; offsets count bytes of UTF-8. A value may be used from many threads.
public struct Tokenizer: Sendable {
  let pipeline: Pipeline
  /// Applied by `encode` and `encodeBatch`; what the file says at first.
  public var truncation: Truncation?
  public var padding: Padding?

  init(_ pipeline: Pipeline, truncation: Truncation? = nil, padding: Padding? = nil) {
    (self.pipeline, self.truncation, self.padding) = (pipeline, truncation, padding)
  }

  // MARK: Vocabulary

  /// One more than the largest token number: the rows that an embedding needs.
  public var vocabularySize: Int { pipeline.texts.count }

  /// The number of a token, written as in the vocabulary ("Ġhello", "##ing").
  public func id(of token: String) -> Int32? { pipeline.texts.id(token) }

  /// The text of a token as in the vocabulary; nil where the number is none.
  public func token(of id: Int32) -> String? { pipeline.texts.text(id) }

  /// Tokens that are found in the text itself.
  public var addedTokens: [AddedToken] { pipeline.addedTokens }

  /// Whether the token marks structure and is no text.
  public func isSpecial(_ id: Int32) -> Bool { pipeline.specialIDs.contains(id) }

  /// The model's kind: BPE, WordPiece, Unigram, WordLevel or LongestMatch.
  public var modelName: String { pipeline.model.name }

  /// How many tokens `encode` puts around one text, or around two.
  public func addedTokenCount(isPair: Bool = false) -> Int {
    pipeline.postProcessor?.addedCount(isPair: isPair) ?? 0
  }

  // MARK: Encoding

  /// Encodes a text, or two as one input.
  ///
  /// - `addsSpecialTokens`: puts the model's own tokens around the text ([CLS], <s>, ...).
  /// - `parsesSpecialTokens`: takes the text of a special token, such as "</s>", for the token; else for plain text.
  public func encode(
    _ text: String, pair: String? = nil, addsSpecialTokens: Bool = true, parsesSpecialTokens: Bool = true
  ) -> Encoding {
    var result = [encodeUnpadded(text, pair, addsSpecialTokens, parsesSpecialTokens)]
    padding?.apply(&result)
    return result[0]
  }

  /// Encodes texts, padded to one length where the tokenizer pads.
  public func encodeBatch(
    _ texts: [String], addsSpecialTokens: Bool = true, parsesSpecialTokens: Bool = true
  ) -> [Encoding] {
    var result = texts.map { encodeUnpadded($0, nil, addsSpecialTokens, parsesSpecialTokens) }
    padding?.apply(&result)
    return result
  }

  /// Encodes pairs of texts, padded to one length where the tokenizer pads.
  public func encodeBatch(
    pairs: [(String, String)], addsSpecialTokens: Bool = true, parsesSpecialTokens: Bool = true
  ) -> [Encoding] {
    var result = pairs.map { encodeUnpadded($0.0, $0.1, addsSpecialTokens, parsesSpecialTokens) }
    padding?.apply(&result)
    return result
  }

  /// The token numbers alone, without truncation and padding: the fast way for long text.
  public func ids(
    of text: String, addsSpecialTokens: Bool = true, parsesSpecialTokens: Bool = true
  ) -> [Int32] {
    let ids = pipeline.encode(Array(text.utf8), isTracked: false, parsesSpecialTokens: parsesSpecialTokens)
      .ids
    guard addsSpecialTokens, let processor = pipeline.postProcessor, addedTokenCount() > 0 else { return ids }
    // What goes around does not depend on what is inside.
    let around = processor.process([Encoding()], addsSpecialTokens: true)
    guard let place = emptyPlace(processor) else { return ids }
    let added = around.joined().ids
    return Array(added[..<place]) + ids + added[place...]
  }

  /// How many added tokens stand before the text; nil when that cannot be told without it.
  private func emptyPlace(_ processor: PostProcessor) -> Int? {
    var probe = Encoding()
    probe.append(-1, "", 0..<0, type: 0, isSpecial: false)
    return processor.process([probe], addsSpecialTokens: true).joined().ids.firstIndex(of: -1)
  }

  private func encodeUnpadded(
    _ text: String, _ pair: String?, _ addsSpecialTokens: Bool, _ parsesSpecialTokens: Bool
  ) -> Encoding {
    var first = encodeOne(text, type: 0, parsesSpecialTokens)
    var second = pair.map { encodeOne($0, type: 1, parsesSpecialTokens) }
    if let truncation {
      let reserved = addsSpecialTokens ? addedTokenCount(isPair: pair != nil) : 0
      truncation.apply(&first, &second, reserved: reserved)
    }
    let parts = [first] + (second.map { [$0] } ?? [])
    return (pipeline.postProcessor?.process(parts, addsSpecialTokens: addsSpecialTokens) ?? parts).joined()
  }

  private func encodeOne(_ text: String, type: Int32, _ parsesSpecialTokens: Bool) -> Encoding {
    let output = pipeline.encode(Array(text.utf8), isTracked: true, parsesSpecialTokens: parsesSpecialTokens)
    var result = Encoding()
    result.ids = output.ids
    result.tokens = output.ids.map { pipeline.texts.text($0) ?? "" }
    result.offsets = output.offsets
    result.typeIDs = Array(repeating: type, count: output.ids.count)
    result.attentionMask = Array(repeating: 1, count: output.ids.count)
    result.specialTokensMask = Array(repeating: 0, count: output.ids.count)
    return result
  }

  // MARK: Decoding

  /// The text of tokens; numbers that are no token are left out, and bytes that are no UTF-8 become U+FFFD.
  public func decode(_ ids: [Int32], skipsSpecialTokens: Bool = true) -> String {
    String(decoding: decodedBytes(ids, skipsSpecialTokens), as: UTF8.self)
  }

  func decodedBytes(_ ids: [Int32], _ skipsSpecialTokens: Bool) -> [UInt8] {
    let tokens = ids.compactMap { id -> [UInt8]? in
      if skipsSpecialTokens, pipeline.specialIDs.contains(id) { return nil }
      return pipeline.texts.token(id).map { Array($0) }
    }
    guard let decoder = pipeline.decoder else { return Array(tokens.joined(separator: [0x20])) }
    return Array(decoder.decode(tokens).joined())
  }
}

/// Decodes token by token: gives out text as soon as it is certain, never half a character.
///
///     var stream = StreamingDecoder(tokenizer)
///     for id in generated { print(stream.append(id), terminator: "") }
///     print(stream.finish())
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  /// The last tokens, from far enough back that the decoder treats what follows as in the whole text.
  private var window: [Int32] = []
  /// How many tokens of the window have been given out, and their bytes.
  private var done = 0
  private var given: [UInt8] = []

  public init(_ tokenizer: Tokenizer, skipsSpecialTokens: Bool = true) {
    (self.tokenizer, self.skipsSpecialTokens) = (tokenizer, skipsSpecialTokens)
  }

  /// The text that is certain now and was not before; empty while a character is unfinished.
  public mutating func append(_ id: Int32) -> String {
    if skipsSpecialTokens, tokenizer.isSpecial(id) { return "" }
    window.append(id)
    let bytes = tokenizer.decodedBytes(window, skipsSpecialTokens)
    guard isWhole(bytes), bytes.count > given.count, bytes.starts(with: given) else { return "" }
    let new = String(decoding: bytes[given.count...], as: UTF8.self)
    // The tokens just given out stay as what is before the next ones.
    window.removeFirst(done)
    done = window.count
    given = tokenizer.decodedBytes(window, skipsSpecialTokens)
    return new
  }

  /// What was held back, with U+FFFD for what never became a character.
  public mutating func finish() -> String {
    let bytes = tokenizer.decodedBytes(window, skipsSpecialTokens)
    let rest = bytes.count > given.count ? String(decoding: bytes[given.count...], as: UTF8.self) : ""
    (window, done, given) = ([], 0, [])
    return rest
  }

  /// Whether the text ends with a whole character: not inside UTF-8's bytes, nor with the sign for such an end.
  private func isWhole(_ bytes: [UInt8]) -> Bool {
    if bytes.suffix(3).elementsEqual([0xEF, 0xBF, 0xBD]) { return false }
    var start = bytes.count
    while start > 0, bytes.count - start < 4 {
      start -= 1
      if bytes[start] & 0xC0 != 0x80 { return start + UTF8Scalars.length(bytes[start]) <= bytes.count }
    }
    return true
  }
}
