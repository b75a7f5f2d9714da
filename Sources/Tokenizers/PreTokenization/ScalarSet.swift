/// A set of scalars in a regular expression: a bit for each scalar of the Basic Multilingual Plane, a rule for the rest.
struct ScalarSet: Sendable {
  indirect enum Rule: Sendable {
    case none, any, whitespace, word
    case range(UInt32, UInt32)
    case categories(Category.Mask)
    case not(Rule)
    case or(Rule, Rule)
    case and(Rule, Rule)

    func contains(_ value: UInt32) -> Bool {
      switch self {
      case .none: false
      case .any: true
      case .whitespace: ScalarTable.shared.isWhitespace(value)
      case .word: ScalarTable.shared.isWord(value)
      case .range(let low, let high): low <= value && value <= high
      case .categories(let mask): ScalarTable.shared.isIn(mask, value)
      case .not(let rule): !rule.contains(value)
      case .or(let a, let b): a.contains(value) || b.contains(value)
      case .and(let a, let b): a.contains(value) && b.contains(value)
      }
    }
  }

  private var bits: [UInt64]
  private var rule: Rule

  private init(_ rule: Rule, _ isMember: (UInt32) -> Bool) {
    self.rule = rule
    bits = (0..<1024).map { word in
      var bits: UInt64 = 0
      for bit in 0..<64 where isMember(UInt32(word * 64 + bit)) { bits |= 1 << UInt64(bit) }
      return bits
    }
  }

  @inline(__always)
  func contains(_ value: UInt32) -> Bool {
    value < 0x10000 ? bits[Int(value >> 6)] >> UInt64(value & 63) & 1 != 0 : rule.contains(value)
  }

  static let empty = ScalarSet(range: 1, 0)
  static let any = empty.inverted
  static let whitespace = ScalarSet(.whitespace) { ScalarTable.shared.isWhitespace($0) }
  /// Oniguruma's `\w`, which has no joiners.
  static let word = ScalarSet(.word) { ScalarTable.shared.isWord($0) && $0 != 0x200C && $0 != 0x200D }

  init(range low: UInt32, _ high: UInt32) {
    rule = low <= high ? .range(low, high) : .none
    bits = [UInt64](repeating: 0, count: 1024)
    guard low <= high, low < 0x10000 else { return }
    for value in low...min(high, 0xFFFF) { bits[Int(value >> 6)] |= 1 << UInt64(value & 63) }
  }

  init(categories mask: Category.Mask) {
    let table = ScalarTable.shared
    self.init(.categories(mask)) { table.isIn(mask, $0) }
  }

  var inverted: ScalarSet {
    var result = self
    for word in result.bits.indices { result.bits[word] = ~result.bits[word] }
    result.rule = .not(rule)
    return result
  }

  func union(_ other: ScalarSet) -> ScalarSet {
    var result = self
    for word in result.bits.indices { result.bits[word] |= other.bits[word] }
    result.rule = if case .none = rule { other.rule } else { .or(rule, other.rule) }
    return result
  }

  func intersection(_ other: ScalarSet) -> ScalarSet {
    var result = self
    for word in result.bits.indices { result.bits[word] &= other.bits[word] }
    result.rule = .and(rule, other.rule)
    return result
  }

  /// With both cases of every letter, and the two scalars that fold to ASCII letters.
  var ignoringCase: ScalarSet {
    var result = self
    for value in UInt32(0x41)...0x5A {
      if contains(value) || contains(value | 0x20) {
        result = result.union(.init(range: value, value)).union(.init(range: value | 0x20, value | 0x20))
        if value == 0x53 { result = result.union(.init(range: 0x17F, 0x17F)) }
        if value == 0x4B { result = result.union(.init(range: 0x212A, 0x212A)) }
      }
    }
    for value in UInt32(0xC0)..<0x600 where contains(value) {
      for other in Self.cases(value) { result = result.union(.init(range: other, other)) }
    }
    return result
  }

  private static func cases(_ value: UInt32) -> [UInt32] {
    guard let properties = Unicode.Scalar(value)?.properties else { return [] }
    return [properties.lowercaseMapping, properties.uppercaseMapping].compactMap { mapping in
      mapping.unicodeScalars.count == 1 ? mapping.unicodeScalars.first!.value : nil
    }
  }

  /// The scripts that published patterns name.
  static func script(_ name: String) -> ScalarSet? {
    let ranges: [ClosedRange<UInt32>]
    switch name {
    case "Han":
      ranges = [
        0x2E80...0x2E99, 0x2E9B...0x2EF3, 0x2F00...0x2FD5, 0x3005...0x3005, 0x3007...0x3007, 0x3021...0x3029,
        0x3038...0x303B, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFA6D, 0xFA70...0xFAD9,
        0x16FE2...0x16FE3,
        0x16FF0...0x16FF1, 0x20000...0x2A6DF, 0x2A700...0x2EE5D, 0x2F800...0x2FA1D, 0x30000...0x323AF,
      ]
    case "Hiragana":
      ranges = [
        0x3041...0x3096, 0x309D...0x309F, 0x1B001...0x1B11F, 0x1B132...0x1B132, 0x1B150...0x1B152,
        0x1F200...0x1F200,
      ]
    case "Katakana":
      ranges = [
        0x30A1...0x30FA, 0x30FD...0x30FF, 0x31F0...0x31FF, 0x32D0...0x32FE, 0x3300...0x3357, 0xFF66...0xFF6F,
        0xFF71...0xFF9D, 0x1AFF0...0x1AFF3, 0x1AFF5...0x1AFFB, 0x1AFFD...0x1AFFE, 0x1B000...0x1B000,
        0x1B120...0x1B122, 0x1B155...0x1B155, 0x1B164...0x1B167,
      ]
    case "Hangul":
      ranges = [
        0x1100...0x11FF, 0x302E...0x302F, 0x3131...0x318E, 0x3200...0x321E, 0x3260...0x327E, 0xA960...0xA97C,
        0xAC00...0xD7A3, 0xD7B0...0xD7C6, 0xD7CB...0xD7FB, 0xFFA0...0xFFBE, 0xFFC2...0xFFC7, 0xFFCA...0xFFCF,
        0xFFD2...0xFFD7, 0xFFDA...0xFFDC,
      ]
    case "Thai": ranges = [0x0E01...0x0E3A, 0x0E40...0x0E5B]
    default: return nil
    }
    return ranges.reduce(.empty) { $0.union(.init(range: $1.lowerBound, $1.upperBound)) }
  }
}
