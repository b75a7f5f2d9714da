internal import CZlib

/// Unpacks gzip data (RFC 1952).
package enum Gunzip {
  /// Whether bytes begin as gzip data do.
  package static func isGzip(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.count > 2 && bytes[0] == 0x1F && bytes[1] == 0x8B
  }

  /// nil when the data are damaged, end early, or become more than `limit` bytes.
  package static func unpack(_ bytes: UnsafeRawBufferPointer, limit: Int) -> [UInt8]? {
    var stream = z_stream()
    let windowBits = 16 + MAX_WBITS
    guard inflateInit2_(&stream, windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      return nil
    }
    defer { inflateEnd(&stream) }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 18)
    stream.next_in = bytes.baseAddress.map {
      UnsafeMutablePointer(mutating: $0.assumingMemoryBound(to: UInt8.self))
    }
    stream.avail_in = UInt32(clamping: bytes.count)
    while true {
      let status = chunk.withUnsafeMutableBufferPointer {
        stream.next_out = $0.baseAddress
        stream.avail_out = UInt32($0.count)
        return inflate(&stream, Z_NO_FLUSH)
      }
      output += chunk[..<(chunk.count - Int(stream.avail_out))]
      if status == Z_STREAM_END { return output }
      guard status == Z_OK, output.count <= limit else { return nil }
    }
  }
}
