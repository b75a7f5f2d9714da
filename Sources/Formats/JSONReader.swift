/// A JSON text that cannot be read: where, and what was wrong there.
public struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
  public let line: Int, column: Int
  public let message: String

  public init(line: Int, column: Int, message: String) {
    (self.line, self.column, self.message) = (line, column, message)
  }

  public var description: String { "line \(line), column \(column): \(message)" }
}

/// A pull reader of JSON (RFC 8259) over UTF-8 bytes that trusts nothing: linear time, bounded depth, no duplicate
/// keys, no lone surrogates, numbers that fit. `bytes` must outlive the reader.
package struct JSONReader {
  /// Deep enough for every configuration, shallow enough for the stack of a worker thread.
  package static let maximumDepth = 128

  package let bytes: UnsafeBufferPointer<UInt8>
  package private(set) var position = 0

  package init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  package func failure(_ message: String) -> JSONError {
    var line = 1, column = 1
    for byte in bytes[..<min(position, bytes.count)] {
      if byte == UInt8(ascii: "\n") { (line, column) = (line + 1, 1) } else { column += 1 }
    }
    return JSONError(line: line, column: column, message: message)
  }

  // MARK: Structure

  /// The next byte that is not white space, without taking it; nil at the end.
  package mutating func peek() -> UInt8? {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      case let byte: return byte
      }
    }
    return nil
  }

  package mutating func expect(_ token: Unicode.Scalar) throws(JSONError) {
    guard peek() == UInt8(ascii: token) else { throw failure("expected '\(token)', found \(found())") }
    position += 1
  }

  package mutating func expectEnd() throws(JSONError) {
    guard peek() == nil else { throw failure("expected the end, found \(found())") }
  }

  /// Inside an object whose '{' was taken: the next key with its ':' taken, or nil once '}' was.
  package mutating func nextKey(_ first: inout Bool) throws(JSONError) -> String? {
    guard try next(&first, closing: "}") else { return nil }
    guard peek() == UInt8(ascii: "\"") else { throw failure("expected a key in quotes, found \(found())") }
    let key = try string()
    try expect(":")
    return key
  }

  /// Inside an array whose '[' was taken: whether another element follows; false once ']' was taken.
  package mutating func nextElement(_ first: inout Bool) throws(JSONError) -> Bool {
    try next(&first, closing: "]")
  }

  private mutating func next(_ first: inout Bool, closing: Unicode.Scalar) throws(JSONError) -> Bool {
    let byte = peek()
    if byte == UInt8(ascii: closing) {
      position += 1
      return false
    }
    if first {
      first = false
    } else {
      guard byte == UInt8(ascii: ",") else { throw failure("expected ',' or '\(closing)', found \(found())") }
      position += 1
    }
    return true
  }

  private func found() -> String {
    guard position < bytes.count else { return "the end of the text" }
    let byte = bytes[position]
    return (0x21...0x7E).contains(byte) ? "'\(Unicode.Scalar(byte))'" : "byte 0x" + String(byte, radix: 16)
  }

  // MARK: Values

  package mutating func value(depth: Int = 0) throws(JSONError) -> JSON {
    guard depth < Self.maximumDepth else { throw failure("nested deeper than \(Self.maximumDepth) levels") }
    guard let byte = peek() else { throw failure("expected a value, found \(found())") }
    switch byte {
    case UInt8(ascii: "{"):
      position += 1
      var object = JSONObject(), first = true
      while let key = try nextKey(&first) {
        guard object[key] == nil else { throw failure("duplicate key '\(JSON.shown(key))'") }
        object[key] = try value(depth: depth + 1)
      }
      return .object(object)
    case UInt8(ascii: "["):
      position += 1
      var array: [JSON] = [], first = true
      while try nextElement(&first) { array.append(try value(depth: depth + 1)) }
      return .array(array)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: throw failure("expected a value, found \(found())")
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSON) throws(JSONError) -> JSON {
    let end = position + word.utf8CodeUnitCount
    guard end <= bytes.count,
      (0..<word.utf8CodeUnitCount).allSatisfy({ bytes[position + $0] == word.utf8Start[$0] })
    else { throw failure("expected \(word)") }
    position = end
    return value
  }

  /// An integer that fits `Int` exactly, or the nearest finite `Double` of anything else.
  package mutating func number() throws(JSONError) -> JSON {
    _ = peek()
    let start = position
    var isInteger = true
    if at("-") { position += 1 }
    if at("0") { position += 1 } else { try digits() }
    if at(".") {
      isInteger = false
      position += 1
      try digits()
    }
    if at("e") || at("E") {
      isInteger = false
      position += 1
      if at("+") || at("-") { position += 1 }
      try digits()
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isInteger, let value = Int(text) { return .integer(value) }
    guard let value = Double(text), value.isFinite else { throw failure("number out of range") }
    return .double(value)
  }

  private func at(_ scalar: Unicode.Scalar) -> Bool {
    position < bytes.count && bytes[position] == UInt8(ascii: scalar)
  }

  private mutating func digits() throws(JSONError) {
    let start = position
    while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) {
      position += 1
    }
    guard position > start else { throw failure("expected a digit, found \(found())") }
  }

  package mutating func string() throws(JSONError) -> String {
    try expect("\"")
    var start = position
    var unescaped: [UInt8]? = nil
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        let run = bytes[start..<position]
        let text =
          unescaped.map { String(validating: $0 + run, as: UTF8.self) }
          ?? String(validating: run, as: UTF8.self)
        guard let text else { throw failure("a string that is not valid UTF-8") }
        position += 1
        return text
      case UInt8(ascii: "\\"):
        if unescaped == nil { unescaped = [] }
        unescaped!.append(contentsOf: bytes[start..<position])
        position += 1
        unescaped!.append(contentsOf: String(try escape()).utf8)
        start = position
      case 0..<0x20: throw failure("a control character inside a string must be escaped")
      default: position += 1
      }
    }
    throw failure("a string without its closing quote")
  }

  private mutating func escape() throws(JSONError) -> Unicode.Scalar {
    guard position < bytes.count else { throw failure("a string without its closing quote") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let high = try hexadecimal()
      if let scalar = Unicode.Scalar(high) { return scalar }
      guard high < 0xDC00, at("\\") else { throw failure("a lone surrogate in a string") }
      position += 1
      guard at("u") else { throw failure("a lone surrogate in a string") }
      position += 1
      let low = try hexadecimal()
      guard (0xDC00..<0xE000).contains(low) else { throw failure("a lone surrogate in a string") }
      return Unicode.Scalar(0x10000 + (high - 0xD800) << 10 + (low - 0xDC00))!
    default: throw failure("an unknown escape in a string")
    }
  }

  private mutating func hexadecimal() throws(JSONError) -> UInt32 {
    guard position + 4 <= bytes.count else { throw failure("an unfinished \\u escape") }
    var value: UInt32 = 0
    for byte in bytes[position..<position + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw failure("\\u needs four hexadecimal digits")
      }
      value = value << 4 | UInt32(digit)
    }
    position += 4
    return value
  }
}
