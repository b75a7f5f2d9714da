/// General categories and White_Space of all scalars, a byte each for the Basic Multilingual Plane, so that a class test
/// costs one load.
final class ScalarTable: Sendable {
  static let shared = ScalarTable()

  /// Bits 0-4: the general category; bit 5: White_Space; bit 6: Alphabetic.
  private let entries: [UInt8]

  static let whitespace: UInt8 = 0x20, alphabetic: UInt8 = 0x40

  private init() {
    entries = [UInt8](unsafeUninitializedCapacity: 0x10000) { buffer, count in
      let han = Self.computed(0x4E00), hangul = Self.computed(0xAC00), privateUse = Self.computed(0xE000)
      for value in 0..<UInt32(0x10000) {
        buffer[Int(value)] =
          switch value {
          case 0x4E00...0x9FFF: han
          case 0xAC00...0xD7A3: hangul
          case 0xD800...0xDFFF: UInt8(Category.surrogate.rawValue)
          case 0xE000...0xF8FF: privateUse
          default: Self.computed(value)
          }
      }
      count = 0x10000
    }
  }

  private static func computed(_ value: UInt32) -> UInt8 {
    guard let scalar = Unicode.Scalar(value) else { return UInt8(Category.unassigned.rawValue) }
    let properties = scalar.properties
    return UInt8(Category(properties.generalCategory).rawValue) | (properties.isWhitespace ? whitespace : 0)
      | (properties.isAlphabetic ? alphabetic : 0)
  }

  @inline(__always)
  func entry(_ value: UInt32) -> UInt8 {
    value < 0x10000 ? entries[Int(value)] : Self.computed(value)
  }

  @inline(__always)
  func category(_ value: UInt32) -> UInt32 { UInt32(entry(value) & 0x1F) }

  /// Whether the category is among those of a mask.
  @inline(__always)
  func isIn(_ mask: Category.Mask, _ value: UInt32) -> Bool { mask.rawValue >> category(value) & 1 != 0 }

  @inline(__always)
  func isWhitespace(_ value: UInt32) -> Bool { entry(value) & Self.whitespace != 0 }

  /// `\w` of Unicode's regular expressions: Alphabetic, marks, decimal digits, connectors, joiners.
  func isWord(_ value: UInt32) -> Bool {
    if value < 0x80 {
      return value == 0x5F || (0x30...0x39).contains(value) || (0x41...0x5A).contains(value & 0xDF)
    }
    return entry(value) & Self.alphabetic != 0 || isIn(.word, value) || value == 0x200C || value == 0x200D
  }

  /// What BERT calls punctuation: category P, and all ASCII that is neither letter, digit, space nor control.
  func isPunctuation(_ value: UInt32) -> Bool {
    if value < 0x80 {
      return (0x21...0x2F).contains(value) || (0x3A...0x40).contains(value) || (0x5B...0x60).contains(value)
        || (0x7B...0x7E).contains(value)
    }
    return isIn(.punctuation, value)
  }
}

/// Unicode's general categories, numbered.
enum Category: UInt32, CaseIterable {
  case Lu, Ll, Lt, Lm, Lo, Mn, Mc, Me, Nd, Nl, No, Pc, Pd, Ps, Pe, Pi, Pf, Po, Sm, Sc, Sk, So, Zs, Zl, Zp
  case control, format, surrogate, privateUse, unassigned

  struct Mask: OptionSet, Sendable {
    let rawValue: UInt32
    static func of(_ categories: Category...) -> Mask {
      Mask(rawValue: categories.reduce(0) { $0 | 1 << $1.rawValue })
    }
    static let letter = of(.Lu, .Ll, .Lt, .Lm, .Lo), mark = of(.Mn, .Mc, .Me), number = of(.Nd, .Nl, .No)
    static let punctuation = of(.Pc, .Pd, .Ps, .Pe, .Pi, .Pf, .Po), symbol = of(.Sm, .Sc, .Sk, .So)
    static let separator = of(.Zs, .Zl, .Zp)
    static let other = of(.control, .format, .surrogate, .privateUse, .unassigned)
    static let word = of(.Mn, .Mc, .Me, .Nd, .Pc)
  }

  /// The mask of a category's or group's name in a regular expression: "L", "Lu", "Letter".
  static func mask(named name: String) -> Mask? {
    switch name {
    case "L", "Letter": .letter
    case "M", "Mark": .mark
    case "N", "Number": .number
    case "P", "Punct", "Punctuation": .punctuation
    case "S", "Symbol": .symbol
    case "Z", "Separator": .separator
    case "C", "Other": .other
    case "Cc": .of(.control)
    case "Cf": .of(.format)
    case "Cs": .of(.surrogate)
    case "Co": .of(.privateUse)
    case "Cn": .of(.unassigned)
    default: allCases.first { String(describing: $0) == name && name.count == 2 }.map { .of($0) }
    }
  }

  init(_ category: Unicode.GeneralCategory) {
    self =
      switch category {
      case .uppercaseLetter: .Lu
      case .lowercaseLetter: .Ll
      case .titlecaseLetter: .Lt
      case .modifierLetter: .Lm
      case .otherLetter: .Lo
      case .nonspacingMark: .Mn
      case .spacingMark: .Mc
      case .enclosingMark: .Me
      case .decimalNumber: .Nd
      case .letterNumber: .Nl
      case .otherNumber: .No
      case .connectorPunctuation: .Pc
      case .dashPunctuation: .Pd
      case .openPunctuation: .Ps
      case .closePunctuation: .Pe
      case .initialPunctuation: .Pi
      case .finalPunctuation: .Pf
      case .otherPunctuation: .Po
      case .mathSymbol: .Sm
      case .currencySymbol: .Sc
      case .modifierSymbol: .Sk
      case .otherSymbol: .So
      case .spaceSeparator: .Zs
      case .lineSeparator: .Zl
      case .paragraphSeparator: .Zp
      case .control: .control
      case .format: .format
      case .surrogate: .surrogate
      case .privateUse: .privateUse
      case .unassigned: .unassigned
      @unknown default: .unassigned
      }
  }
}
