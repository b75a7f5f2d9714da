import KalsaeTokenizers

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
