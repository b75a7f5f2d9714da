import KalsaeTokenizers

/// A text as a network reads it and as a person does.
struct AttentionText {
  private(set) var ids: [Int32], types: [Int32], texts: [String]

  /// - Throws: when there is no token, when one is unknown to the model, or when there are more than `context`.
  init(
    _ text: String, _ tokenizer: Tokenizer, vocabulary: Int, context: Int, addsSpecialTokens: Bool = true,
    parsesSpecialTokens: Bool = true
  ) throws(InspectionError) {
    // What is looked at is the whole text, and nothing else.
    var whole = tokenizer
    (whole.truncation, whole.padding) = (nil, nil)
    let encoding = whole.encode(
      text, addsSpecialTokens: addsSpecialTokens, parsesSpecialTokens: parsesSpecialTokens)
    (ids, types) = (encoding.ids, encoding.typeIDs)
    texts = readableTokens(encoding, of: text, tokenizer)
    guard encoding.specialTokensMask.contains(0) else {
      throw InspectionError("an empty text: at least one token is needed")
    }
    if let strange = ids.first(where: { $0 < 0 || Int($0) >= vocabulary }) {
      throw InspectionError(
        "token \(strange) is outside the model's vocabulary of \(vocabulary): use the model's own tokenizer")
    }
    guard ids.count <= context else {
      throw InspectionError(
        "the text has \(ids.count) tokens, but the model sees only \(context): shorten it")
    }
  }

  /// Puts a token that marks structure at an end.
  mutating func insert(_ id: Int, _ tokenizer: Tokenizer, atStart: Bool) {
    let place = atStart ? 0 : ids.count
    ids.insert(Int32(id), at: place)
    types.insert(0, at: place)
    texts.insert(tokenizer.token(of: Int32(id)) ?? "<\(id)>", at: place)
  }
}

/// Each token of an encoded text as a person reads it: bytes as characters, word starts as spaces. A part of a character
/// is shown as the whole one; tokens that mark structure are shown as in the vocabulary.
public func readableTokens(_ encoding: Encoding, of text: String, _ tokenizer: Tokenizer) -> [String] {
  let bytes = Array(text.utf8)
  return encoding.ids.indices.map { place in
    let id = encoding.ids[place], name = encoding.tokens[place]
    if encoding.specialTokensMask[place] == 1 || tokenizer.isSpecial(id) { return name }
    let piece = tokenizer.decode([id], skipsSpecialTokens: false)
    if piece.unicodeScalars.contains("\u{FFFD}") {
      return String(decoding: bytes[encoding.offsets[place]], as: UTF8.self)
    }
    if piece.isEmpty { return name }
    // SentencePiece drops the space before a text; here every token stands alone.
    return name.hasPrefix("\u{2581}") && !piece.hasPrefix(" ") ? " " + piece : piece
  }
}
