import Foundation
internal import CZlib

/// A file read through zlib: gzip is unpacked, anything else comes as it is.
struct GzipFile: ~Copyable {
  let path: String
  /// The most bytes that can possibly come: deflate packs at best 1032 to 1.
  let maximumBytes: Int
  private let handle: gzFile

  init(_ path: String) throws(DataError) {
    let file = try InputFile(path)
    let isGzip = try file.read(0..<min(2, file.size)) == [0x1F, 0x8B]
    let maximum = isGzip ? file.size.multipliedReportingOverflow(by: 1032).partialValue : file.size
    guard let handle = gzopen(file.path, "rb") else {
      throw .unreadable(path: file.path, reason: FileIO.systemReason)
    }
    gzbuffer(handle, 1 << 18)
    self.handle = handle
    self.path = file.path
    self.maximumBytes = maximum
  }

  deinit { gzclose_r(handle) }

  /// The next `count` bytes, or fewer at the end of the file.
  ///
  /// Memory grows with what arrives, so that a file which promises too much costs nothing.
  func read(upTo count: Int) throws(DataError) -> [UInt8] {
    let step = 1 << 27
    var bytes = try chunk(min(count, step))
    while bytes.count < count && bytes.count.isMultiple(of: step) {
      let next = try chunk(min(count - bytes.count, step))
      if next.isEmpty { break }
      bytes += next
    }
    return bytes
  }

  private func chunk(_ count: Int) throws(DataError) -> [UInt8] {
    var failed = false
    let handle = self.handle
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, done in
      while done < count {
        let got = gzread(handle, buffer.baseAddress! + done, UInt32(count - done))
        failed = got < 0
        if got <= 0 { break }
        done += Int(got)
      }
    }
    if failed || bytes.count < count {
      var code: Int32 = 0
      let message = gzerror(handle, &code).map { String(cString: $0) } ?? ""
      if code == Z_BUF_ERROR {
        throw .malformed(path: path, reason: "truncated: the gzip data ends early; fetch the file again")
      }
      if failed {
        throw .malformed(path: path, reason: "damaged gzip data (\(message)); fetch the file again")
      }
    }
    return bytes
  }
}
