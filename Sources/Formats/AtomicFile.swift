import Foundation

/// A file that appears complete or not at all: written under a temporary name in the same folder, forced to disk,
/// then renamed over `path`. Until `commit`, what `path` held before stays; without one, the temporary file goes.
public final class AtomicFile {
  public let path: String
  private let temporary: String
  private var descriptor: Int32
  private var isCommitted = false
  /// Small writes are gathered, so that writing a header piece by piece costs one call.
  private var pending: [UInt8] = []
  private static let pendingLimit = 1 << 16

  public init(path: String) throws(FileError) {
    let folder = parentFolder(of: path)
    let name = path.split(separator: "/").last.map(String.init) ?? ""
    var opened: (name: String, descriptor: Int32)
    repeat {
      // Not mkstemp: it makes the file private, and the only way to read the umask is to change it.
      let suffix = String(UInt32.random(in: 0x1000_0000...UInt32.max), radix: 16)
      let candidate = "\(folder)/.\(name).tmp-\(suffix)"
      opened = (candidate, uninterrupted { open(candidate, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) })
    } while opened.descriptor < 0 && errno == EEXIST
    guard opened.descriptor >= 0 else {
      throw FileError(path: path, operation: "create a file in its folder")
    }
    self.path = path
    (temporary, descriptor) = opened
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    if !isCommitted { unlink(temporary) }
  }

  /// Writes `contents` to `path` in one go.
  public static func write(_ contents: some Sequence<UInt8>, to path: String) throws(FileError) {
    let file = try AtomicFile(path: path)
    try file.write(contents)
    try file.commit()
  }

  public func write(_ contents: some Sequence<UInt8>) throws(FileError) {
    pending.append(contentsOf: contents)
    if pending.count >= Self.pendingLimit { try flush() }
  }

  public func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    if pending.count + bytes.count < Self.pendingLimit {
      pending.append(contentsOf: bytes)
    } else {
      try flush()
      try writeAll(bytes, to: descriptor, path: path)
    }
  }

  /// Forces the contents to disk and puts the file in its place.
  public func commit() throws(FileError) {
    try flush()
    guard uninterrupted({ fsync(descriptor) }) == 0 else { throw failure("write to disk") }
    let closed = close(descriptor)
    descriptor = -1
    // A network file system may report a full disk only here.
    guard closed == 0 || errno == EINTR else { throw failure("close") }
    guard rename(temporary, path) == 0 else { throw failure("rename the finished file to its name") }
    isCommitted = true
    try synchronizeFolder(parentFolder(of: path))
  }

  private func flush() throws(FileError) {
    let bytes = pending
    pending = []
    try bytes.withUnsafeBufferPointer { (bytes) throws(FileError) in
      try writeAll(UnsafeRawBufferPointer(bytes), to: descriptor, path: path)
    }
  }

  private func failure(_ operation: String) -> FileError { FileError(path: path, operation: operation) }
}
