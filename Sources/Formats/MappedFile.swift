import Foundation

/// A regular file mapped read-only into memory, unmapped when the last reference goes.
///
/// The mapping shows the file itself: whoever keeps one must not have the file truncated underneath it. Files written
/// by `AtomicFile` are safe, since they are replaced by rename and never changed in place.
public final class MappedFile: @unchecked Sendable {
  // Unchecked: the pointer is set once and the pages are read-only.
  public let path: String
  /// Valid while this object lives; prefer `withUnsafeBytes`, which sees to that.
  public let unsafeBytes: UnsafeRawBufferPointer

  public init(path: String) throws(FileError) {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    let descriptor = uninterrupted { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
    guard descriptor >= 0 else { throw FileError(path: path, operation: "open") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileError(path: path, operation: "open") }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let isFolder = status.st_mode & S_IFMT == S_IFDIR
      throw FileError(path: path, operation: "read as a file", code: isFolder ? EISDIR : EINVAL)
    }
    self.path = path
    let count = Int(status.st_size)
    guard count > 0 else {
      unsafeBytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
    guard let start, start != MAP_FAILED else { throw FileError(path: path, operation: "map into memory") }
    unsafeBytes = UnsafeRawBufferPointer(start: start, count: count)
  }

  deinit {
    if let start = unsafeBytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: start), unsafeBytes.count)
    }
  }

  public func withUnsafeBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // The optimiser may release an object after its last use, which is before the body's last use of the pages.
    defer { withExtendedLifetime(self) {} }
    return try body(unsafeBytes)
  }
}

/// A range of a mapped file; holding it holds the mapping.
public struct MappedBytes: Sendable {
  public let file: MappedFile
  public let range: Range<Int>

  package init(file: MappedFile, range: Range<Int>) { (self.file, self.range) = (file, range) }

  public var count: Int { range.count }

  public func withUnsafeBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try file.withUnsafeBytes { (bytes) throws(Failure) in
      try body(UnsafeRawBufferPointer(rebasing: bytes[range]))
    }
  }
}
