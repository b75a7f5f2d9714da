import Foundation

/// A call to the operating system that failed: the path, what was being done, and the system's own reason.
public struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
  public let path: String
  /// A verb that reads after "cannot": "open", "write", "rename".
  public let operation: String
  /// `errno` as the call left it.
  public let code: Int32

  public init(path: String, operation: String, code: Int32 = errno) {
    (self.path, self.operation, self.code) = (path, operation, code)
  }

  public var isDiskFull: Bool { code == ENOSPC || code == EDQUOT || code == EFBIG }

  public var description: String {
    "\(path): cannot \(operation): \(String(cString: strerror(code)))\(remedy)"
  }

  private var remedy: String {
    switch code {
    case _ where isDiskFull: "; free some space and run it again (what was there before is unchanged)"
    case ENOENT where operation == "open": "; check the path"
    case EEXIST, ENOTEMPTY: "; choose another name or remove it first"
    case EACCES, EPERM, EROFS: "; check who may write and read there"
    default: ""
    }
  }
}

/// The folder that holds `path`, "." when the path names none.
package func parentFolder(of path: String) -> String {
  guard let slash = path.lastIndex(of: "/") else { return "." }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// Repeats a call that a signal interrupted.
package func uninterrupted<Value: SignedInteger>(_ call: () -> Value) -> Value {
  while true {
    let result = call()
    if result != -1 || errno != EINTR { return result }
  }
}

package func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, path: String) throws(FileError) {
  var rest = bytes
  while !rest.isEmpty {
    // Linux transfers at most 2 GiB a call anyway; a short count only means that another turn is needed.
    let written = uninterrupted { write(descriptor, rest.baseAddress, min(rest.count, 1 << 30)) }
    guard written > 0 else { throw FileError(path: path, operation: "write") }
    rest = UnsafeRawBufferPointer(rebasing: rest[written...])
  }
}

/// Forces a folder's entries to disk: a rename is durable only after this.
package func synchronizeFolder(_ path: String) throws(FileError) {
  let descriptor = uninterrupted { open(path, O_RDONLY | O_CLOEXEC) }
  guard descriptor >= 0 else { throw FileError(path: path, operation: "open the folder") }
  defer { close(descriptor) }
  // Some file systems refuse fsync on a folder with EINVAL: their renames are ordered without it.
  guard uninterrupted({ fsync(descriptor) }) == 0 || errno == EINVAL else {
    throw FileError(path: path, operation: "write the folder to disk")
  }
}
