import KalsaeTensors

internal import CZlib

/// Raw deflate streams and checksums, by zlib.
enum Deflate {
  static func crc32(_ bytes: UnsafeRawBufferPointer, continuing crc: UInt32 = 0) -> UInt32 {
    guard let base = bytes.baseAddress else { return crc }
    return UInt32(crc32_z(UInt(crc), base.assumingMemoryBound(to: UInt8.self), bytes.count))
  }

  /// Packs the parts as one stream.
  static func compress(_ parts: [UnsafeRawBufferPointer]) -> [UInt8] {
    var stream = z_stream()
    let version = ZLIB_VERSION
    let opened = deflateInit2_(
      &stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY, version,
      Int32(MemoryLayout<z_stream>.size))
    require(opened == Z_OK, "deflate: out of memory")
    defer { deflateEnd(&stream) }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 18)
    func run(_ input: UnsafeRawBufferPointer, _ flush: Int32) {
      stream.next_in = input.baseAddress.map {
        UnsafeMutablePointer(mutating: $0.assumingMemoryBound(to: UInt8.self))
      }
      stream.avail_in = UInt32(input.count)
      repeat {
        chunk.withUnsafeMutableBufferPointer {
          stream.next_out = $0.baseAddress
          stream.avail_out = UInt32($0.count)
          _ = deflate(&stream, flush)
        }
        output += chunk[..<(chunk.count - Int(stream.avail_out))]
      } while stream.avail_out == 0
    }
    for part in parts {
      // zlib counts in 32 bits.
      for start in stride(from: 0, to: part.count, by: 1 << 30) {
        run(.init(rebasing: part[start..<min(start + 1 << 30, part.count)]), Z_NO_FLUSH)
      }
    }
    run(.init(start: nil, count: 0), Z_FINISH)
    return output
  }

  /// Unpacks a stream that must give exactly `count` bytes; nil if it does not.
  static func decompress(_ bytes: [UInt8], count: Int) -> [UInt8]? {
    var stream = z_stream()
    let version = ZLIB_VERSION
    guard inflateInit2_(&stream, -MAX_WBITS, version, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      return nil
    }
    defer { inflateEnd(&stream) }
    var status = Z_OK
    let output = bytes.withUnsafeBufferPointer { input in
      // One byte of room more than expected, so that a longer stream shows itself.
      [UInt8](unsafeUninitializedCapacity: count + 1) { buffer, done in
        var used = 0
        while status == Z_OK && done <= count {
          stream.next_in = input.baseAddress.map { UnsafeMutablePointer(mutating: $0 + used) }
          let offered = min(input.count - used, 1 << 30)
          let room = min(count + 1 - done, 1 << 30)
          stream.avail_in = UInt32(offered)
          stream.next_out = buffer.baseAddress! + done
          stream.avail_out = UInt32(room)
          status = inflate(&stream, Z_NO_FLUSH)
          used += offered - Int(stream.avail_in)
          done += room - Int(stream.avail_out)
        }
      }
    }
    return status == Z_STREAM_END && output.count == count ? output : nil
  }
}
