import KalsaeTensors

/// A JSON value. Integers that fit `Int` stay exact; keys of an object keep the order they were given in.
public enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int)
  case double(Double)
  case string(String)
  case array([JSON])
  case object(JSONObject)

  /// Reads one JSON text (UTF-8).
  public init(parsing text: some Sequence<UInt8>) throws(JSONError) {
    self = try Array(text).withUnsafeBufferPointer { (bytes) throws(JSONError) in try JSON(bytes) }
  }

  package init(parsing file: MappedFile) throws(JSONError) {
    self = try file.withUnsafeBytes { (bytes) throws(JSONError) in
      try bytes.withMemoryRebound(to: UInt8.self) { (bytes) throws(JSONError) in try JSON(bytes) }
    }
  }

  private init(_ bytes: UnsafeBufferPointer<UInt8>) throws(JSONError) {
    var reader = JSONReader(bytes)
    self = try reader.value()
    try reader.expectEnd()
  }
}

/// The members of a JSON object, in order, each key once.
public struct JSONObject: Sendable, Equatable, Sequence, ExpressibleByDictionaryLiteral {
  public private(set) var keys: [String] = []
  private var values: [String: JSON] = [:]

  public init() {}

  public init(dictionaryLiteral members: (String, JSON)...) {
    for (key, value) in members {
      require(values.updateValue(value, forKey: key) == nil, "JSONObject: duplicate key '\(key)'")
      keys.append(key)
    }
  }

  public var count: Int { keys.count }

  /// The value of `key`; a new key goes last, nil removes.
  public subscript(key: String) -> JSON? {
    get { values[key] }
    set {
      if let newValue {
        if values.updateValue(newValue, forKey: key) == nil { keys.append(key) }
      } else if values.removeValue(forKey: key) != nil {
        keys.removeAll { $0 == key }
      }
    }
  }

  public func makeIterator() -> AnyIterator<(key: String, value: JSON)> {
    var index = 0
    return AnyIterator {
      guard index < keys.count else { return nil }
      defer { index += 1 }
      return (keys[index], values[keys[index]]!)
    }
  }

  /// The same members by ascending key (by Unicode scalar), here and in every object below.
  public func sorted() -> JSONObject {
    var result = JSONObject()
    for key in keys.sorted(by: JSON.ascending) { result[key] = values[key]!.sorted() }
    return result
  }
}

// MARK: - Literals and numbers

extension JSON {
  /// The shortest decimal that reads back as this `Float`: 0.1, not 0.10000000149011612.
  public init(_ value: Float) { self = .double(Double(value.description) ?? Double(value)) }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral,
  ExpressibleByNilLiteral
{
  public init(stringLiteral value: String) { self = .string(value) }
  public init(integerLiteral value: Int) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(arrayLiteral elements: JSON...) { self = .array(elements) }
  public init(nilLiteral: ()) { self = .null }
  public init(dictionaryLiteral members: (String, JSON)...) {
    var object = JSONObject()
    for (key, value) in members {
      require(object[key] == nil, "JSON: duplicate key '\(key)'")
      object[key] = value
    }
    self = .object(object)
  }
}

// MARK: - Writing

extension JSON {
  /// This value with the keys of every object in ascending order.
  public func sorted() -> JSON {
    switch self {
    case .array(let elements): .array(elements.map { $0.sorted() })
    case .object(let object): .object(object.sorted())
    default: self
    }
  }

  /// One line without spaces. The same value always gives the same bytes; a number that is not finite, which JSON
  /// cannot express, becomes null.
  public var text: String {
    var out = ""
    write(to: &out, indent: nil)
    return out
  }

  /// Two spaces a level, lists of plain values on one line, a newline at the end: the form of a configuration file.
  public var prettyText: String {
    var out = ""
    write(to: &out, indent: 0)
    return out + "\n"
  }

  package static func quoted(_ string: String) -> String {
    var out = "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\u{8}": out += "\\b"
      case "\u{C}": out += "\\f"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\0"..<" ":
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }

  /// A string for an error message: control characters escaped, length bounded.
  package static func shown(_ string: String) -> String {
    let text = quoted(string).dropFirst().dropLast()
    return text.utf8.count <= 200 ? String(text) : text.prefix(200) + "..."
  }

  /// By Unicode scalar, so that no locale or Unicode version changes an order on disk.
  package static func ascending(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }

  private func write(to out: inout String, indent: Int?) {
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .integer(let value): out += String(value)
    case .double(let value): out += value.isFinite ? value.description : "null"
    case .string(let value): out += JSON.quoted(value)
    case .array(let elements):
      let isPlain = elements.allSatisfy { !$0.isContainer }
      JSON.writeList(elements.map { (nil, $0) }, "[", "]", to: &out, indent: indent, onOneLine: isPlain)
    case .object(let object):
      JSON.writeList(object.map { ($0.key, $0.value) }, "{", "}", to: &out, indent: indent, onOneLine: false)
    }
  }

  private var isContainer: Bool {
    switch self {
    case .array, .object: true
    default: false
    }
  }

  private static func writeList(
    _ members: [(key: String?, value: JSON)], _ open: String, _ close: String, to out: inout String,
    indent: Int?,
    onOneLine: Bool
  ) {
    func newline(_ level: Int) -> String { "\n" + String(repeating: "  ", count: level) }
    let breaks = indent != nil && !onOneLine && !members.isEmpty
    out += open
    for (index, member) in members.enumerated() {
      if index > 0 { out += indent != nil && onOneLine ? ", " : "," }
      if breaks { out += newline(indent! + 1) }
      if let key = member.key { out += quoted(key) + (indent == nil ? ":" : ": ") }
      member.value.write(to: &out, indent: indent.map { $0 + 1 })
    }
    if breaks { out += newline(indent!) }
    out += close
  }
}
