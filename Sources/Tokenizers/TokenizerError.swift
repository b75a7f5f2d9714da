import KalsaeFormats

/// A tokenizer file that cannot be used: the path, what is wrong where, and what to do.
public struct TokenizerError: Error, Equatable, Sendable, CustomStringConvertible {
  public let path: String, reason: String

  public init(_ path: String, _ reason: String) { (self.path, self.reason) = (path, reason) }

  public var description: String { "\(path): \(reason)" }
}

/// Reads a whole file of UTF-8.
func readText(_ path: String) throws -> [UInt8] {
  let bytes = try MappedFile(path: path).withUnsafeBytes { Array($0) }
  guard String(validating: bytes, as: UTF8.self) != nil else {
    var line = 1
    for part in bytes.split(separator: 0x0A, omittingEmptySubsequences: false) {
      if String(validating: part, as: UTF8.self) == nil { break }
      line += 1
    }
    throw TokenizerError(path, "line \(line) is not UTF-8; convert the file to UTF-8")
  }
  return bytes
}
