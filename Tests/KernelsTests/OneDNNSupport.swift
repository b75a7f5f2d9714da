import COneDNN

/// What the bridge said when it failed.
struct OneDNNError: Error, CustomStringConvertible { let description: String }

/// Calls `body` with a message buffer; nil becomes the message, thrown.
func checked<Result>(_ body: (UnsafeMutablePointer<CChar>, Int) -> Result?) throws -> Result {
  var message = [CChar](repeating: 0, count: 512)
  let result = message.withUnsafeMutableBufferPointer { body($0.baseAddress!, $0.count) }
  guard let result else {
    throw OneDNNError(
      description: String(decoding: message.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self))
  }
  return result
}

func checkedStatus(_ body: (UnsafeMutablePointer<CChar>, Int) -> CInt) throws {
  _ = try checked { body($0, $1) == 0 ? () : nil }
}

/// Aligned bytes that the tests own, with a guard zone after them that a kernel must leave alone.
final class Bytes {
  let pointer: UnsafeMutableRawPointer
  let count: Int
  private static let guardCount = 64

  init(count: Int) {
    self.count = count
    pointer = .allocate(byteCount: count + Self.guardCount, alignment: 64)
    pointer.initializeMemory(as: UInt8.self, repeating: 0xA5, count: count + Self.guardCount)
  }
  deinit { pointer.deallocate() }

  var isGuardIntact: Bool {
    UnsafeRawBufferPointer(start: pointer + count, count: Self.guardCount).allSatisfy { $0 == 0xA5 }
  }
}

/// Elements of a conednn_dtype as Doubles.
struct Values {
  let type: conednn_dtype
  let bytes: Bytes
  let count: Int

  init(count: Int, _ type: conednn_dtype) {
    self.type = type
    self.count = count
    bytes = Bytes(count: count * conednn_dtype_size(type))
  }

  /// Stores `values` rounded to `type`.
  init(_ values: [Double], _ type: conednn_dtype) {
    self.init(count: values.count, type)
    for (i, value) in values.enumerated() {
      if type == CONEDNN_F32 {
        bytes.pointer.storeBytes(of: Float(value), toByteOffset: 4 * i, as: Float.self)
      } else {
        bytes.pointer.storeBytes(of: bfloat16Bits(value), toByteOffset: 2 * i, as: UInt16.self)
      }
    }
  }

  var pointer: UnsafeMutableRawPointer { bytes.pointer }

  var doubles: [Double] {
    (0..<count).map {
      type == CONEDNN_F32
        ? Double(pointer.load(fromByteOffset: 4 * $0, as: Float.self))
        : Double(Float(bitPattern: UInt32(pointer.load(fromByteOffset: 2 * $0, as: UInt16.self)) << 16))
    }
  }
}

/// The upper half of a float, rounded to nearest, ties to even.
func bfloat16Bits(_ value: Double) -> UInt16 {
  let bits = Float(value).bitPattern
  return UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
}

/// Repeatable values in (-1, 1) that bfloat16 holds exactly.
func noise(_ count: Int, seed: UInt64) -> [Double] {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Double(Int(state >> 40) % 255 - 127) / 128
  }
}

/// |a - b| / |b| in the Euclidean norm; infinite if any element is not finite.
func relativeError(_ a: [Double], _ b: [Double]) -> Double {
  precondition(a.count == b.count)
  let difference = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
  let norm = b.reduce(0) { $0 + $1 * $1 }
  return difference.isFinite ? (difference / max(norm, 1e-30)).squareRoot() : .infinity
}

/// Accepted error of a result of this type: rounding of the result and of float32 sums.
func tolerance(_ type: conednn_dtype) -> Double { type == CONEDNN_F32 ? 2e-6 : 3e-3 }
