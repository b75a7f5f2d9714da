/// Reading of text: UTF-8 and nothing else, plain or gzipped.
public enum TextFile {
  /// The whole file. A byte order mark at the beginning is no part of the text.
  /// - Throws: when it cannot be read, is not UTF-8, or holds nothing but white space.
  public static func read(_ path: String) throws(DataError) -> String {
    let file = try GzipFile(path)
    var bytes = try file.read(upTo: file.maximumBytes)
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      let offset = firstInvalid(bytes), line = bytes[..<offset].count { $0 == 0x0A } + 1
      throw .notUTF8(path: file.path, byte: bytes[offset], offset: offset, line: line)
    }
    guard text.unicodeScalars.contains(where: { !$0.properties.isWhitespace }) else {
      throw .emptyText(path: file.path)
    }
    return text
  }

  /// The file's lines without their ends (LF, or CR LF). What follows the last end is a line if it is not empty.
  public static func lines(_ path: String) throws(DataError) -> [String] { split(try read(path)) }

  static func split(_ text: String) -> [String] {
    var lines = text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    return lines.map { line in String(Substring(line.last == 0x0D ? line.dropLast() : line)) }
  }

  /// Where the first sequence that is no UTF-8 begins.
  private static func firstInvalid(_ bytes: [UInt8]) -> Int {
    var parser = Unicode.UTF8.ForwardParser(), iterator = bytes.makeIterator(), offset = 0
    while case .valid(let scalar) = parser.parseScalar(from: &iterator) { offset += scalar.count }
    return offset
  }
}

/// Sentences and their translations: line n of one file is the translation of line n of the other.
public struct ParallelText: Sendable, Equatable {
  public let source, target: [String]

  /// Reads both files.
  /// - Throws: what `TextFile` throws, and when the files have different numbers of lines.
  public init(source sourcePath: String, target targetPath: String) throws(DataError) {
    source = try TextFile.lines(sourcePath)
    target = try TextFile.lines(targetPath)
    guard source.count == target.count else {
      throw .unequalLines(
        source: FileIO.fullPath(sourcePath), sourceCount: source.count, target: FileIO.fullPath(targetPath),
        targetCount: target.count)
    }
  }

  public var count: Int { source.count }
}
