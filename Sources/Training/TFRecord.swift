/// The framing of TensorFlow's record files:
/// `u64 length, u32 masked CRC of length, bytes, u32 masked CRC of bytes`, little-endian.
/// Source: tensorflow/core/lib/io/record_writer.h.
enum TFRecord {
  static func framed(_ payload: [UInt8]) -> [UInt8] {
    let length = littleEndian(UInt64(payload.count))
    return length + littleEndian(masked(crc32c(length))) + payload + littleEndian(masked(crc32c(payload)))
  }

  /// A CRC of data that contain CRCs would be weak, so the stored one is rotated and shifted.
  static func masked(_ crc: UInt32) -> UInt32 { (crc >> 15 | crc << 17) &+ 0xa282_ead8 }

  /// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720, B.4).
  static func crc32c(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~0) { crc, byte in table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ crc >> 8 }
  }

  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { crc, _ in crc & 1 == 0 ? crc >> 1 : crc >> 1 ^ 0x82f6_3b78 }
  }

  private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian, Array.init)
  }
}
