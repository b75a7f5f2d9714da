import Foundation

/// Makes the folder `path` appear complete or not at all: `body` fills a temporary folder beside it, whose files are
/// forced to disk before it is renamed. A `path` that exists already is refused before `body` runs, never replaced.
///
/// The temporary folder is `.tmp-NAME`; one that an interrupted run left behind is removed first. It also goes when
/// `body` throws.
@discardableResult
public func publishFolder<Result>(at path: String, _ body: (_ temporary: String) throws -> Result) throws
  -> Result
{
  let (folder, name) = split(path)
  let final = folder + "/" + name
  let temporary = folder + "/" + temporaryPrefix + name
  guard access(final, F_OK) != 0 else {
    throw FileError(path: path, operation: "create the folder", code: EEXIST)
  }
  try removeTree(temporary)
  guard mkdir(temporary, 0o777) == 0 else { throw FileError(path: temporary, operation: "create the folder") }
  do {
    let result = try body(temporary)
    try synchronizeTree(temporary)
    // rename(2) would silently replace an empty folder that appeared meanwhile; nothing of value can be lost so.
    guard rename(temporary, final) == 0 else {
      throw FileError(path: path, operation: "rename the finished folder")
    }
    try synchronizeFolder(folder)
    return result
  } catch {
    // The first error is the one to report; a remainder is removed by the next call or by the sweep.
    try? removeTree(temporary)
    throw error
  }
}

/// Removes what interrupted calls of `publishFolder` and `AtomicFile` left in `folder`. Returns the removed names.
///
/// Call it only while no other process writes there.
@discardableResult
public func removeStaleTemporaries(in folder: String) throws(FileError) -> [String] {
  var removed: [String] = []
  for name in try entries(of: folder) where name.hasPrefix(temporaryPrefix) || isTemporaryFile(name) {
    try removeTree(folder + "/" + name)
    removed.append(name)
  }
  return removed
}

private let temporaryPrefix = ".tmp-"

/// `.NAME.tmp-` and eight hexadecimal digits.
private func isTemporaryFile(_ name: String) -> Bool {
  name.hasPrefix(".") && name.dropLast(8).hasSuffix(".tmp-") && name.suffix(8).allSatisfy(\.isHexDigit)
}

/// Parent and name of a path, which may end in slashes.
private func split(_ path: String) -> (folder: String, name: String) {
  let trimmed = path.reversed().drop { $0 == "/" }.reversed()
  let clean = String(trimmed)
  return (parentFolder(of: clean), clean.split(separator: "/").last.map(String.init) ?? "")
}

/// Names in a folder in ascending order, without "." and "..".
package func entries(of folder: String) throws(FileError) -> [String] {
  guard let stream = opendir(folder) else { throw FileError(path: folder, operation: "list the folder") }
  defer { closedir(stream) }
  var names: [String] = []
  while let entry = readdir(stream) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: $0.pointee)) {
        String(cString: $0)
      }
    }
    if name != ".", name != ".." { names.append(name) }
  }
  return names.sorted()
}

/// The kind of a path itself, without following a link; nil when nothing is there.
private func kind(of path: String) -> mode_t? {
  var status = stat()
  return lstat(path, &status) == 0 ? status.st_mode & S_IFMT : nil
}

/// Removes a file, a link or a whole folder; nothing there is fine. Links are not followed.
public func removeTree(_ path: String) throws(FileError) {
  guard let kind = kind(of: path) else { return }
  if kind == S_IFDIR {
    for name in try entries(of: path) { try removeTree(path + "/" + name) }
    guard rmdir(path) == 0 else { throw FileError(path: path, operation: "remove") }
  } else {
    guard unlink(path) == 0 else { throw FileError(path: path, operation: "remove") }
  }
}

private func synchronizeTree(_ folder: String) throws(FileError) {
  for name in try entries(of: folder) {
    let path = folder + "/" + name
    switch kind(of: path) {
    case S_IFDIR: try synchronizeTree(path)
    case S_IFREG:
      let descriptor = uninterrupted { open(path, O_RDONLY | O_CLOEXEC) }
      guard descriptor >= 0 else { throw FileError(path: path, operation: "open") }
      defer { close(descriptor) }
      guard uninterrupted({ fsync(descriptor) }) == 0 else {
        throw FileError(path: path, operation: "write to disk")
      }
    default: break
    }
  }
  try synchronizeFolder(folder)
}
