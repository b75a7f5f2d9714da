/// The patterns of GPT-2 and of tiktoken's cl100k family written out as scanners: what `Pattern` would find, several times
/// faster, since nearly all byte-level models split their text by one of them.
enum GPTScanner: Sendable, Equatable {
  /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
  case gpt2
  /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
  case cl100k(digits: Int)

  static let gpt2Pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  static func cl100kPattern(digits: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"# + digits
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// The scanner of a pattern that is one of these, to the letter.
  init?(pattern: String) {
    switch pattern {
    case Self.gpt2Pattern: self = .gpt2
    case Self.cl100kPattern(digits: "{1,3}"): self = .cl100k(digits: 3)
    case Self.cl100kPattern(digits: ""), Self.cl100kPattern(digits: "{1}"): self = .cl100k(digits: 1)
    case Self.cl100kPattern(digits: "+"): self = .cl100k(digits: Int.max)
    default: return nil
    }
  }

  /// The pattern, which `Pattern` understands as well.
  var pattern: String {
    switch self {
    case .gpt2: Self.gpt2Pattern
    case .cl100k(let digits):
      Self.cl100kPattern(digits: digits == 1 ? "" : digits == Int.max ? "+" : "{1,\(digits)}")
    }
  }

  private enum Kind { case letter, number, space, other, end }

  /// The bytes of a text with the classes that the patterns are made of.
  private struct Reader {
    let bytes: UnsafePointer<UInt8>, end: Int
    let table = ScalarTable.shared

    @inline(__always)
    func kind(_ position: Int) -> (kind: Kind, length: Int) {
      guard position < end else { return (.end, 0) }
      let byte = bytes[position]
      if byte < 0x80 {
        let letter = byte | 0x20
        if letter >= 0x61, letter <= 0x7A { return (.letter, 1) }
        if byte >= 0x30, byte <= 0x39 { return (.number, 1) }
        return (byte == 0x20 || byte >= 0x09 && byte <= 0x0D ? .space : .other, 1)
      }
      let (scalar, length) = UTF8Scalars.decode(bytes, position)
      let entry = table.entry(scalar)
      if entry & ScalarTable.whitespace != 0 { return (.space, length) }
      // Lu, Ll, Lt, Lm, Lo are categories 0 to 4; Nd, Nl, No are 8 to 10.
      let category = entry & 0x1F
      return (category < 5 ? .letter : category >= 8 && category <= 10 ? .number : .other, length)
    }

    @inline(__always)
    func skip(_ wanted: Kind, _ position: Int) -> Int {
      var position = position
      while true {
        let (kind, length) = kind(position)
        guard kind == wanted else { return position }
        position += length
      }
    }

    @inline(__always)
    func isNewline(_ position: Int) -> Bool { bytes[position] == 0x0A || bytes[position] == 0x0D }

    /// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at an apostrophe, nil when it is none of them.
    func contraction(_ position: Int, ignoringCase: Bool) -> Int? {
      func letter(_ at: Int) -> (UInt8, Int) {
        guard at < end else { return (0, 0) }
        let byte = bytes[at]
        // U+017F, the long s, is an s to those who ignore case.
        if ignoringCase, byte == 0xC5, at + 1 < end, bytes[at + 1] == 0xBF { return (0x73, 2) }
        let isCapital = byte >= 0x41 && byte <= 0x5A
        return (ignoringCase && isCapital ? byte | 0x20 : byte, 1)
      }
      let (first, length) = letter(position + 1)
      let next = position + 1 + length
      switch first {
      case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return next
      case UInt8(ascii: "r"), UInt8(ascii: "v"): return letter(next).0 == UInt8(ascii: "e") ? next + 1 : nil
      case UInt8(ascii: "l"): return letter(next).0 == UInt8(ascii: "l") ? next + 1 : nil
      default: return nil
      }
    }

    /// `\s+(?!\S)|\s+` at a space: all of a run at the end of the text, all but its last scalar before something else.
    func spaces(_ position: Int, runEnd: Int) -> Int {
      if runEnd == end { return runEnd }
      let last = UTF8Scalars.before(bytes, runEnd)
      return last == position ? runEnd : last
    }
  }

  /// Appends the pieces of `range`, which cover it.
  func split(_ bytes: UnsafePointer<UInt8>, _ range: Range<Int>, _ emit: (Int, Int) -> Void) {
    let reader = Reader(bytes: bytes, end: range.upperBound)
    var position = range.lowerBound
    switch self {
    case .gpt2:
      while position < range.upperBound {
        let next = Self.gpt2(reader, position)
        emit(position, next)
        position = next
      }
    case .cl100k(let digits):
      while position < range.upperBound {
        let next = Self.cl100k(reader, position, digits)
        emit(position, next)
        position = next
      }
    }
  }

  @inline(__always)
  private static func gpt2(_ reader: Reader, _ position: Int) -> Int {
    let byte = reader.bytes[position]
    if byte == UInt8(ascii: "'"), let end = reader.contraction(position, ignoringCase: false) { return end }
    let start = byte == 0x20 ? position + 1 : position
    let (kind, length) = reader.kind(start)
    switch kind {
    case .letter, .number, .other: return reader.skip(kind, start + length)
    case .space, .end: return reader.spaces(position, runEnd: reader.skip(.space, position))
    }
  }

  @inline(__always)
  private static func cl100k(_ reader: Reader, _ position: Int, _ digits: Int) -> Int {
    if reader.bytes[position] == UInt8(ascii: "'"),
      let end = reader.contraction(position, ignoringCase: true)
    {
      return end
    }
    let (kind, length) = reader.kind(position)
    let next = position + length
    if kind == .letter { return reader.skip(.letter, next) }
    if kind == .number {
      var end = next, count = 1
      while count < digits {
        let (kind, length) = reader.kind(end)
        guard kind == .number else { break }
        (end, count) = (end + length, count + 1)
      }
      return end
    }
    if !reader.isNewline(position), reader.kind(next).kind == .letter { return reader.skip(.letter, next) }
    let start = reader.bytes[position] == 0x20 ? next : position
    let (first, firstLength) = reader.kind(start)
    if first == .other {
      var end = reader.skip(.other, start + firstLength)
      while end < reader.end, reader.isNewline(end) { end += 1 }
      return end
    }
    // Only spaces are left: up to the last line's end in their run, else as in GPT-2.
    let runEnd = reader.skip(.space, position)
    var last = runEnd
    while last > position {
      if reader.isNewline(last - 1) { return last }
      last = UTF8Scalars.before(reader.bytes, last)
    }
    return reader.spaces(position, runEnd: runEnd)
  }
}
