/// SentencePiece's compiled normalisation rules: a double-array trie over UTF-8 (Darts) whose values are places in a block
/// of NUL-terminated replacements. Format: sentencepiece/src/normalizer.cc.
struct PrecompiledMap: Sendable, Equatable {
  /// The file's bytes, as they are written back.
  let blob: [UInt8]
  private let units: [UInt32]
  private let replacements: [UInt8]

  /// nil when the sizes inside do not fit.
  init?(_ blob: [UInt8]) {
    guard blob.count >= 4 else { return nil }
    func word(_ at: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(blob[at + $1]) << UInt32(8 * $1) } }
    let size = Int(word(0))
    guard size % 4 == 0, size > 0, size <= blob.count - 4 else { return nil }
    self.blob = blob
    units = stride(from: 4, to: 4 + size, by: 4).map(word)
    replacements = Array(blob[(4 + size)...])
  }

  /// The longest rule that applies at the start of `key`: its length and its replacement.
  func longestMatch(_ key: UnsafeBufferPointer<UInt8>) -> (length: Int, replacement: ArraySlice<UInt8>)? {
    var found: (Int, Int)? = nil
    var node = offset(units[0])
    for (index, byte) in key.enumerated() {
      node ^= Int(byte)
      guard node < units.count, units[node] & 0x8000_00FF == UInt32(byte) else { break }
      let hasLeaf = units[node] >> 8 & 1 == 1
      node ^= offset(units[node])
      guard node < units.count else { break }
      if hasLeaf { found = (index + 1, Int(units[node] & 0x7FFF_FFFF)) }
    }
    guard let (length, place) = found, place <= replacements.count else { return nil }
    let end = replacements[place...].firstIndex(of: 0) ?? replacements.count
    return (length, replacements[place..<end])
  }

  private func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & 1 << 9) >> 6) }

  /// The rules applied everywhere, the longest first, one scalar otherwise: how SentencePiece does it.
  func normalize(_ text: Text) -> Text { normalize(text, byGrapheme: false) }

  /// How Hugging Face's tokenizers do it: a rule for a whole grapheme (below six bytes), else rules for its scalars.
  func normalizeByGrapheme(_ text: Text) -> Text { normalize(text, byGrapheme: true) }

  private func normalize(_ text: Text, byGrapheme: Bool) -> Text {
    var builder = TextBuilder(text)
    text.bytes.withUnsafeBufferPointer { bytes in
      func step(_ position: Int, _ end: Int) -> Int? {
        guard let match = longestMatch(.init(rebasing: bytes[position..<end])) else { return nil }
        builder.append(match.replacement, from: position..<position + match.length)
        return position + match.length
      }
      var position = 0
      var graphemes = byGrapheme && !text.isASCII ? graphemeEnds(text.bytes) : []
      graphemes.reverse()
      while position < bytes.count {
        var end = bytes.count
        if byGrapheme {
          end = graphemes.popLast() ?? position + 1
          if end - position < 6, let match = prefixMatch(.init(rebasing: bytes[position..<end])) {
            builder.append(match, from: position..<end)
            position = end
            continue
          }
          while position < end {
            let next = position + UTF8Scalars.length(bytes[position])
            if let match = prefixMatch(.init(rebasing: bytes[position..<next])) {
              builder.append(match, from: position..<next)
            } else {
              builder.keep(position..<next)
            }
            position = next
          }
          continue
        }
        if let next = step(position, end) {
          position = next
        } else {
          let next = position + UTF8Scalars.length(bytes[position])
          builder.keep(position..<next)
          position = next
        }
      }
    }
    return builder.finished()
  }

  /// The replacement of the shortest rule that begins `key`, which is the one that Hugging Face's code takes.
  private func prefixMatch(_ key: UnsafeBufferPointer<UInt8>) -> ArraySlice<UInt8>? {
    var node = offset(units[0])
    for byte in key {
      node ^= Int(byte)
      guard node < units.count, units[node] & 0x8000_00FF == UInt32(byte) else { return nil }
      let hasLeaf = units[node] >> 8 & 1 == 1
      node ^= offset(units[node])
      guard node < units.count else { return nil }
      if hasLeaf {
        let place = Int(units[node] & 0x7FFF_FFFF)
        guard place <= replacements.count else { return nil }
        return replacements[place..<(replacements[place...].firstIndex(of: 0) ?? replacements.count)]
      }
    }
    return nil
  }

  /// Where the extended grapheme clusters end: the one place where tokenizing looks at `Character`, because the
  /// rules of the format do.
  private func graphemeEnds(_ bytes: [UInt8]) -> [Int] {
    var end = 0
    return String(decoding: bytes, as: UTF8.self).map { character in
      end += character.utf8.count
      return end
    }
  }
}
