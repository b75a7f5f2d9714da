import Foundation

/// Plain file access whose errors name the full path.
package enum FileIO {
  /// `path` made absolute, `~` expanded, `.` and `..` removed.
  package static func fullPath(_ path: String) -> String {
    URL(fileURLWithPath: (path as NSString).expandingTildeInPath).standardizedFileURL.path
  }

  /// True when `path` is a folder, or a link to one.
  package static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
  }

  /// True when `path` exists and is not a folder.
  package static func isFile(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
  }

  /// The names in a folder, in the order of their UTF-8 bytes.
  package static func names(in folder: String) throws(DataError) -> [String] {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: folder).sorted(by: utf8Order)
    } catch {
      throw .unreadable(path: folder, reason: "its contents cannot be listed; check its permissions")
    }
  }

  /// The order of `LC_ALL=C sort`: by bytes, so the same on every machine.
  package static func utf8Order(_ a: String, _ b: String) -> Bool {
    a.utf8.lexicographicallyPrecedes(b.utf8)
  }

  /// The whole file.
  package static func read(_ path: String) throws(DataError) -> [UInt8] {
    let file = try InputFile(path)
    return try file.read(0..<file.size)
  }

  static var systemReason: String { String(cString: strerror(errno)) }
}

/// A regular file opened for reading; closed when it goes out of scope.
struct InputFile: ~Copyable {
  let path: String
  let size: Int
  private let descriptor: Int32

  init(_ path: String) throws(DataError) {
    let full = FileIO.fullPath(path)
    var info = stat()
    // Asked before opening, because opening a pipe would wait for its writer.
    guard stat(full, &info) == 0 else {
      if errno == ENOENT { throw .missing(path: full, remedy: "check the path") }
      throw .unreadable(path: full, reason: FileIO.systemReason)
    }
    guard info.st_mode & S_IFMT == S_IFREG else {
      throw .unreadable(path: full, reason: "it is not a regular file")
    }
    let opened = open(full, O_RDONLY | O_CLOEXEC)
    guard opened >= 0 else { throw .unreadable(path: full, reason: FileIO.systemReason) }
    self.path = full
    self.size = Int(info.st_size)
    self.descriptor = opened
  }

  deinit { close(descriptor) }

  /// The bytes of `range`, which must lie inside the file.
  func read(_ range: Range<Int>) throws(DataError) -> [UInt8] {
    let descriptor = self.descriptor
    let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      while count < range.count {
        let got = pread(
          descriptor, buffer.baseAddress! + count, range.count - count, range.lowerBound + count)
        if got < 0 && errno == EINTR { continue }
        if got <= 0 { break }
        count += got
      }
    }
    guard bytes.count == range.count else {
      throw .unreadable(path: path, reason: "it ends before byte \(range.upperBound)")
    }
    return bytes
  }
}

/// Writes a file that appears complete or not at all: a temporary file in the same folder, fsync, rename.
///
///     try AtomicOutput.write(to: "samples.png") { (file) throws(DataError) in try file.append(bytes) }
package struct AtomicOutput: ~Copyable {
  private let path: String
  private let temporary: String
  private let descriptor: Int32

  private init(path: String) throws(DataError) {
    let full = FileIO.fullPath(path)
    let folder = (full as NSString).deletingLastPathComponent
    guard FileIO.isFolder(folder) else {
      throw .unwritable(path: full, reason: "the folder \(folder) does not exist; create it first")
    }
    guard !FileIO.isFolder(full) else { throw .unwritable(path: full, reason: "it is a folder") }
    let name = (full as NSString).lastPathComponent
    let unique = String(UInt64.random(in: 0 ... .max), radix: 36)
    let temporary = folder + "/.\(name.prefix(100)).\(unique).tmp"
    let opened = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard opened >= 0 else { throw .unwritable(path: full, reason: FileIO.systemReason) }
    descriptor = opened
    self.path = full
    self.temporary = temporary
  }

  deinit { close(descriptor) }

  /// Creates or replaces `path` with what `body` appends; if anything throws, `path` stays as it was.
  package static func write(
    to path: String, _ body: (borrowing AtomicOutput) throws(DataError) -> Void
  ) throws(DataError) {
    let file = try AtomicOutput(path: path)
    do throws(DataError) {
      try body(file)
      guard fsync(file.descriptor) == 0, rename(file.temporary, file.path) == 0 else { throw file.failure }
    } catch {
      unlink(file.temporary)
      throw error
    }
    file.syncFolder()
  }

  private var failure: DataError { .unwritable(path: path, reason: FileIO.systemReason) }

  /// Makes the rename itself durable. Some file systems cannot sync a folder; the file is complete anyway.
  private func syncFolder() {
    let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_CLOEXEC)
    guard folder >= 0 else { return }
    fsync(folder)
    close(folder)
  }

  package func append(_ bytes: UnsafeRawBufferPointer) throws(DataError) {
    var done = 0
    while done < bytes.count {
      let written = Foundation.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw failure }
      done += written
    }
  }

  package func append(_ bytes: [UInt8]) throws(DataError) {
    var result: Result<Void, DataError> = .success(())
    bytes.withUnsafeBytes { raw in
      do throws(DataError) { try append(raw) } catch { result = .failure(error) }
    }
    try result.get()
  }
}
