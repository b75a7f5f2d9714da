import Foundation
import KalsaeTensors

/// An array as NumPy stores it: a shape and its elements, last axis fastest.
public struct NPYArray: Sendable, Equatable {
  public enum Elements: Sendable, Equatable {
    case uint8([UInt8])
    case float32([Float])
    case int64([Int64])

    public var count: Int {
      switch self {
      case .uint8(let values): values.count
      case .float32(let values): values.count
      case .int64(let values): values.count
      }
    }

    /// NumPy's name: byte order, kind, bytes.
    var descriptor: String {
      switch self {
      case .uint8: "|u1"
      case .float32: "<f4"
      case .int64: "<i8"
      }
    }
  }

  public let shape: [Int]
  public let elements: Elements

  public init(shape: [Int], elements: Elements) {
    require(
      shape.allSatisfy { $0 >= 0 } && shape.reduce(1, *) == elements.count,
      "NPYArray: \(elements.count) elements for shape \(shape)")
    self.shape = shape
    self.elements = elements
  }
}

/// The `.npy` format: magic, version, a Python dictionary as text, then the raw elements (little endian, like
/// every processor this runs on). Source: numpy.lib.format.
enum NPYFormat {
  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  /// Magic, version 1.0 and dictionary, padded so that the elements start at a multiple of 64.
  static func header(_ array: NPYArray) -> [UInt8] {
    let shape = array.shape.map(String.init).joined(separator: ", ") + (array.shape.count == 1 ? "," : "")
    var text =
      "{'descr': '\(array.elements.descriptor)', 'fortran_order': False, 'shape': (\(shape)), }"
    let unpadded = magic.count + 4 + text.utf8.count + 1
    text += String(repeating: " ", count: (64 - unpadded % 64) % 64) + "\n"
    let length = text.utf8.count
    return magic + [1, 0, UInt8(length & 0xFF), UInt8(length >> 8)] + Array(text.utf8)
  }

  /// Reads a whole `.npy` file; the error is the reason alone.
  static func decode(_ bytes: [UInt8]) throws(CodecError) -> NPYArray {
    guard bytes.count >= 12, bytes.starts(with: magic) else { throw CodecError("not an .npy array") }
    // Version 1 has a two-byte length, versions 2 and 3 a four-byte one.
    let lengthBytes = bytes[6] == 1 ? 2 : 4
    let length = (0..<lengthBytes).reversed().reduce(0) { $0 << 8 | Int(bytes[8 + $1]) }
    let start = 8 + lengthBytes + length
    guard start <= bytes.count else { throw CodecError("truncated .npy header") }
    let header = String(decoding: bytes[8 + lengthBytes..<start], as: UTF8.self)

    guard value(of: "fortran_order", in: header).hasPrefix("False") else {
      throw CodecError("the array is in Fortran order; save it with numpy.ascontiguousarray")
    }
    let shape = try shape(in: header)
    var count = 1
    for extent in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: extent)
      guard !overflow else { throw CodecError("shape \(shape) is impossibly large") }
      count = product
    }
    let descriptor = String(value(of: "descr", in: header).dropFirst().prefix { $0 != "'" && $0 != "\"" })
    func elements<T>(_ zero: T) throws(CodecError) -> [T] {
      let (size, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<T>.size)
      guard !overflow, bytes.count - start == size else {
        throw CodecError("shape \(shape) of \(descriptor) does not fit its \(bytes.count - start) bytes")
      }
      return [T](unsafeUninitializedCapacity: count) { buffer, initialized in
        bytes.withUnsafeBytes {
          UnsafeMutableRawBufferPointer(buffer).copyMemory(from: .init(rebasing: $0[start...]))
        }
        initialized = count
      }
    }
    switch descriptor {
    case "|u1", "<u1": return NPYArray(shape: shape, elements: .uint8(try elements(0)))
    case "<f4": return NPYArray(shape: shape, elements: .float32(try elements(0)))
    case "<i8": return NPYArray(shape: shape, elements: .int64(try elements(0)))
    default:
      throw CodecError("element type \(descriptor); only uint8, float32 and int64 can be read")
    }
  }

  /// The text behind `'key':`.
  private static func value(of key: String, in header: String) -> Substring {
    guard let quoted = header.range(of: "'\(key)'"),
      let colon = header[quoted.upperBound...].firstIndex(of: ":")
    else { return "" }
    return header[colon...].dropFirst().drop { $0 == " " }
  }

  private static func shape(in header: String) throws(CodecError) -> [Int] {
    let text = value(of: "shape", in: header)
    guard text.first == "(", let end = text.firstIndex(of: ")") else {
      throw CodecError("the .npy header has no shape")
    }
    var shape: [Int] = []
    for part in text[text.index(after: text.startIndex)..<end].split(separator: ",") {
      let digits = part.filter { $0 != " " }
      if digits.isEmpty { continue }
      guard let extent = Int(digits), extent >= 0 else {
        throw CodecError("the .npy header has the shape \(text[...end])")
      }
      shape.append(extent)
    }
    return shape
  }
}
