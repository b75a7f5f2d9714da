/// Texts with a class each, from a table whose columns are separated by tabs; there is no quoting.
///
/// With a header, columns `sentence`, `document`, `text` or `review`, and `label`, in any order and among others (so
/// SST-2's and NSMC's files); without, the text and its label. Labels are 0, 1, 2, ...
public struct LabelledText: Sendable, Equatable {
  public let name: String
  public let texts: [String]
  public let labels: [Int]

  /// One more than the largest label.
  public var classes: Int { labels.max()! + 1 }
  public var count: Int { texts.count }

  private static let textColumns: Set = ["sentence", "document", "text", "review"]

  /// Whether a line names the columns of such a table.
  static func isHeader(_ line: String) -> Bool {
    let names = line.utf8.split(separator: 0x09).map { Substring($0).lowercased() }
    return names.contains("label") && names.contains(where: textColumns.contains)
  }

  /// Reads a file.
  /// - Throws: what `TextFile` throws, and when a line has other columns than the first one or no label.
  public init(contentsOf path: String) throws(DataError) {
    let path = FileIO.fullPath(path), lines = try TextFile.lines(path)
    func malformed(_ line: Int, _ reason: String) -> DataError {
      .malformed(path: path, reason: "line \(line + 1): \(reason)")
    }
    func columns(_ line: String) -> [Substring] {
      line.utf8.split(separator: 0x09, omittingEmptySubsequences: false).map { Substring($0) }
    }
    let first = columns(lines[0]), names = first.map { $0.lowercased() }
    var (textColumn, labelColumn, hasHeader) = (0, 1, false)
    if let text = names.firstIndex(where: Self.textColumns.contains),
      let label = names.firstIndex(of: "label")
    {
      (textColumn, labelColumn, hasHeader) = (text, label, true)
    } else if first.count != 2 || Int(first[1]) == nil {
      throw malformed(
        0,
        "neither a header with the columns sentence (or document, text, review) and label, nor a text, a tab "
          + "and a label")
    }
    var texts: [String] = [], labels: [Int] = []
    for (number, line) in lines.enumerated().dropFirst(hasHeader ? 1 : 0) {
      let fields = columns(line)
      guard fields.count == first.count else {
        throw malformed(number, "\(fields.count) column(s) instead of \(first.count)")
      }
      guard let label = Int(fields[labelColumn]), (0...Int(Int32.max)).contains(label) else {
        throw malformed(number, "the label is \"\(fields[labelColumn])\", not 0, 1, 2, ...")
      }
      texts.append(String(fields[textColumn]))
      labels.append(label)
    }
    guard !texts.isEmpty else { throw .emptyText(path: path) }
    (self.name, self.texts, self.labels) = (path, texts, labels)
  }
}
