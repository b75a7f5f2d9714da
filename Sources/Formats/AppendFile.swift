import Foundation

/// A file that only grows, a whole record at a time: a reader that follows it, and a run that is killed, see every
/// record that `append` returned for. A record that does not fit on the disk is taken back.
public final class AppendFile {
  public let path: String
  private let descriptor: Int32

  /// Opens `path` for appending, making it where it is missing; with `mustBeNew`, one that exists is an error.
  public init(path: String, mustBeNew: Bool = false) throws(FileError) {
    let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | (mustBeNew ? O_EXCL : 0)
    descriptor = uninterrupted { open(path, flags, 0o666) }
    guard descriptor >= 0 else { throw FileError(path: path, operation: "open for appending") }
    self.path = path
  }

  deinit { close(descriptor) }

  public func append(_ record: [UInt8]) throws(FileError) {
    let before = lseek(descriptor, 0, SEEK_END)
    do {
      try record.withUnsafeBufferPointer { (bytes) throws(FileError) in
        try writeAll(UnsafeRawBufferPointer(bytes), to: descriptor, path: path)
      }
    } catch {
      // Otherwise the next record would continue the line or frame that this one broke off.
      if before >= 0 { ftruncate(descriptor, before) }
      throw error
    }
  }

  /// Forces what was appended to disk, so that it outlives a power failure too.
  public func synchronize() throws(FileError) {
    guard uninterrupted({ fsync(descriptor) }) == 0 else {
      throw FileError(path: path, operation: "write to disk")
    }
  }
}
