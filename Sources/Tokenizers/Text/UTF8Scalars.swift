/// UTF-8 by scalars, over bytes that are known to be valid.
enum UTF8Scalars {
  /// Bytes of the scalar that begins with this byte.
  @inline(__always)
  static func length(_ lead: UInt8) -> Int {
    if lead < 0x80 { return 1 }
    if lead < 0xE0 { return 2 }
    return lead < 0xF0 ? 3 : 4
  }

  /// The scalar at a position where one begins, and its length.
  @inline(__always)
  static func decode(_ bytes: UnsafePointer<UInt8>, _ position: Int) -> (value: UInt32, length: Int) {
    let lead = UInt32(bytes[position])
    if lead < 0x80 { return (lead, 1) }
    let second = UInt32(bytes[position + 1]) & 0x3F
    if lead < 0xE0 { return ((lead & 0x1F) << 6 | second, 2) }
    let third = UInt32(bytes[position + 2]) & 0x3F
    if lead < 0xF0 { return ((lead & 0x0F) << 12 | second << 6 | third, 3) }
    let fourth = UInt32(bytes[position + 3]) & 0x3F
    return ((lead & 0x07) << 18 | second << 12 | third << 6 | fourth, 4)
  }

  /// Where the scalar before `position` begins.
  @inline(__always)
  static func before(_ bytes: UnsafePointer<UInt8>, _ position: Int) -> Int {
    var start = position - 1
    while bytes[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }

  @inline(__always)
  static func append(_ value: UInt32, to bytes: inout [UInt8]) {
    switch value {
    case 0..<0x80: bytes.append(UInt8(value))
    case 0x80..<0x800:
      bytes.append(UInt8(0xC0 | value >> 6))
      bytes.append(UInt8(0x80 | value & 0x3F))
    case 0x800..<0x10000:
      bytes.append(UInt8(0xE0 | value >> 12))
      bytes.append(UInt8(0x80 | value >> 6 & 0x3F))
      bytes.append(UInt8(0x80 | value & 0x3F))
    default:
      bytes.append(UInt8(0xF0 | value >> 18))
      bytes.append(UInt8(0x80 | value >> 12 & 0x3F))
      bytes.append(UInt8(0x80 | value >> 6 & 0x3F))
      bytes.append(UInt8(0x80 | value & 0x3F))
    }
  }

  static func count(_ bytes: some Collection<UInt8>) -> Int { bytes.count { $0 & 0xC0 != 0x80 } }
}

/// GPT-2's alphabet: every byte as a printable scalar, so that a vocabulary file is text. Printable bytes of Latin-1
/// stand for themselves, the others for U+0100, U+0101, ...
enum ByteAlphabet {
  /// The scalar of each byte.
  static let scalars: [UInt32] = {
    var next: UInt32 = 0x100
    return (0..<256).map { (byte: UInt32) in
      if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte) {
        return byte
      }
      defer { next += 1 }
      return next
    }
  }()

  /// The byte of each scalar below 0x144, -1 where there is none.
  private static let bytes: [Int16] = {
    var table = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { table[Int(scalar)] = Int16(byte) }
    return table
  }()

  /// The byte that a scalar stands for.
  static func byte(of scalar: UInt32) -> UInt8? {
    guard scalar < 0x144, bytes[Int(scalar)] >= 0 else { return nil }
    return UInt8(bytes[Int(scalar)])
  }

  /// The bytes that a token's text stands for; nil when a scalar stands for none.
  static func decode(_ token: some Collection<UInt8>) -> [UInt8]? {
    withContiguous(token) { token, count in
      var result: [UInt8] = []
      result.reserveCapacity(count)
      var position = 0
      while position < count {
        let (scalar, length) = UTF8Scalars.decode(token, position)
        guard let byte = byte(of: scalar) else { return nil }
        result.append(byte)
        position += length
      }
      return result
    }
  }

  /// Bytes as text.
  static func encode(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    for byte in bytes { UTF8Scalars.append(scalars[Int(byte)], to: &result) }
    return result
  }
}
