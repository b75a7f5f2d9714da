import KalsaeTensors

/// A value among the metadata of a GGUF file. Arrays of numbers and of strings are kept flat: a vocabulary has hundreds
/// of thousands of them.
package enum GGUFValue: Sendable, Equatable {
  case integer(Int)
  case double(Double)
  case bool(Bool)
  case string(String)
  case integers([Int])
  case doubles([Double])
  case strings([String])
  case bools([Bool])
}

/// A GGUF file that cannot be read: the path, the key at which it went wrong, and why.
public struct GGUFError: Error, Equatable, Sendable, CustomStringConvertible {
  public let path: String, reason: String
  public var description: String { "\(path): \(reason)" }

  package init(_ path: String, _ reason: String) { (self.path, self.reason) = (path, reason) }
}

/// The keys and values at the head of a GGUF file, versions 2 and 3, little-endian.
/// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Nothing in it is trusted.
package struct GGUFHeader: Sendable {
  package let path: String
  package let version: Int
  package let tensorCount: Int
  package private(set) var values: [String: GGUFValue] = [:]
  /// Where the descriptions of the tensors begin.
  package private(set) var end = 0

  package init(path: String) throws {
    self.path = path
    let file = try MappedFile(path: path)
    var reader = Reader(bytes: file.unsafeBytes, path: path)
    defer { withExtendedLifetime(file) {} }
    guard file.unsafeBytes.count >= 24, try reader.number(UInt32.self) == 0x4655_4747 else {
      throw GGUFError(path, "is not a GGUF file")
    }
    let version = try reader.number(UInt32.self)
    guard (2...3).contains(version) else {
      throw GGUFError(path, "has the GGUF version \(version); versions 2 and 3 are known")
    }
    self.version = Int(version)
    tensorCount = Int(clamping: try reader.number(UInt64.self))
    let count = try reader.number(UInt64.self)
    for index in 0..<count {
      reader.place = "key number \(index + 1)"
      let key = try reader.string()
      reader.place = "'\(JSON.shown(key))'"
      let kind = try reader.number(UInt32.self)
      guard values.updateValue(try reader.value(kind), forKey: key) == nil else {
        throw reader.failure("is there twice")
      }
    }
    end = reader.position
  }

  private struct Reader {
    let bytes: UnsafeRawBufferPointer, path: String
    var position = 0
    var place = "the header"

    func failure(_ reason: String) -> GGUFError { GGUFError(path, "\(place) \(reason)") }

    mutating func number<Number: FixedWidthInteger>(_: Number.Type) throws(GGUFError) -> Number {
      guard position + MemoryLayout<Number>.size <= bytes.count else {
        throw failure("is cut off by the end of the file; fetch the file again")
      }
      defer { position += MemoryLayout<Number>.size }
      return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    mutating func count(_ elementSize: Int) throws(GGUFError) -> Int {
      let count = try number(UInt64.self)
      guard count <= UInt64((bytes.count - position) / max(elementSize, 1)) else {
        throw failure("is longer than the file; fetch the file again")
      }
      return Int(count)
    }

    mutating func string() throws(GGUFError) -> String {
      let count = try count(1)
      defer { position += count }
      // Tokens may be bytes that are no UTF-8: what cannot be text becomes U+FFFD.
      return String(decoding: bytes[position..<position + count], as: UTF8.self)
    }

    mutating func scalar(_ kind: UInt32) throws(GGUFError) -> GGUFValue {
      switch kind {
      case 0: .integer(Int(try number(UInt8.self)))
      case 1: .integer(Int(try number(Int8.self)))
      case 2: .integer(Int(try number(UInt16.self)))
      case 3: .integer(Int(try number(Int16.self)))
      case 4: .integer(Int(try number(UInt32.self)))
      case 5: .integer(Int(try number(Int32.self)))
      case 6: .double(Double(Float(bitPattern: try number(UInt32.self))))
      case 7: .bool(try number(UInt8.self) != 0)
      case 8: .string(try string())
      case 10: .integer(Int(clamping: try number(UInt64.self)))
      case 11: .integer(Int(try number(Int64.self)))
      case 12: .double(Double(bitPattern: try number(UInt64.self)))
      default: throw failure("has the unknown type \(kind)")
      }
    }

    mutating func value(_ kind: UInt32) throws(GGUFError) -> GGUFValue {
      guard kind == 9 else { return try scalar(kind) }
      let element = try number(UInt32.self)
      let sizes: [UInt32: Int] = [0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 8: 8, 10: 8, 11: 8, 12: 8]
      guard let size = sizes[element] else { throw failure("is a list of the unknown type \(element)") }
      let count = try count(size)
      switch element {
      case 8:
        var strings: [String] = []
        strings.reserveCapacity(count)
        for _ in 0..<count { strings.append(try string()) }
        return .strings(strings)
      case 6, 12:
        var numbers: [Double] = []
        numbers.reserveCapacity(count)
        for _ in 0..<count { if case .double(let number) = try scalar(element) { numbers.append(number) } }
        return .doubles(numbers)
      case 7:
        var flags: [Bool] = []
        for _ in 0..<count { flags.append(try number(UInt8.self) != 0) }
        return .bools(flags)
      default:
        var numbers: [Int] = []
        numbers.reserveCapacity(count)
        for _ in 0..<count { if case .integer(let number) = try scalar(element) { numbers.append(number) } }
        return .integers(numbers)
      }
    }
  }
}

extension GGUFHeader {
  /// The value of a key as a kind; nil when it is absent, an error when it is another kind.
  package func string(_ key: String) throws(GGUFError) -> String? {
    switch values[key] {
    case nil: return nil
    case .string(let value): return value
    default: throw GGUFError(path, "'\(key)' should be a string")
    }
  }

  package func integer(_ key: String) throws(GGUFError) -> Int? {
    switch values[key] {
    case nil: return nil
    case .integer(let value): return value
    default: throw GGUFError(path, "'\(key)' should be an integer")
    }
  }

  package func bool(_ key: String) throws(GGUFError) -> Bool? {
    switch values[key] {
    case nil: return nil
    case .bool(let value): return value
    default: throw GGUFError(path, "'\(key)' should be true or false")
    }
  }

  package func strings(_ key: String) throws(GGUFError) -> [String]? {
    switch values[key] {
    case nil: return nil
    case .strings(let value): return value
    default: throw GGUFError(path, "'\(key)' should be a list of strings")
    }
  }

  package func doubles(_ key: String) throws(GGUFError) -> [Double]? {
    switch values[key] {
    case nil: return nil
    case .doubles(let value): return value
    default: throw GGUFError(path, "'\(key)' should be a list of numbers")
    }
  }

  package func integers(_ key: String) throws(GGUFError) -> [Int]? {
    switch values[key] {
    case nil: return nil
    case .integers(let value): return value
    default: throw GGUFError(path, "'\(key)' should be a list of integers")
    }
  }
}
