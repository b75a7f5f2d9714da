/// Texts with a class each, from a table whose columns are separated by tabs; there is no quoting.
///
/// With a header, columns `sentence`, `document`, `text` or `review`, and `label`, in any order and among others (so
/// SST-2's and NSMC's files); without, the text and its label, a whole number. Classes are numbered in the order of their
/// labels: of numbers by size, of names by their bytes.
public struct LabelledText: Sendable, Equatable {
  public let name: String
  public let texts: [String]
  /// The class of each text.
  public let labels: [Int]
  /// The label of each class, as the table has it.
  public let classNames: [String]

  public var classes: Int { classNames.count }
  public var count: Int { texts.count }

  private static let textColumns: Set = ["sentence", "document", "text", "review"]
  /// More different labels than this are taken for something else.
  private static let maximumClasses = 1000

  /// Whether a line names the columns of such a table.
  static func isHeader(_ line: String) -> Bool {
    let names = line.utf8.split(separator: 0x09).map { Substring($0).lowercased() }
    return names.contains("label") && names.contains(where: textColumns.contains)
  }

  /// Reads a file.
  /// - Parameter known: the classes, by number, when they are not to be found out from the file. Where none of them is called
  ///   by a number, the file may give the number of a class as its label.
  /// - Throws: what `TextFile` throws, and when a line has other columns than the first one, no label or none that is
  ///   `known`.
  public init(contentsOf path: String, classNames known: [String]? = nil) throws(DataError) {
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
          + "and a number as its label")
    }
    let numbers = known.map(Self.numbers)
    var texts: [String] = [], labels: [String] = []
    for (number, line) in lines.enumerated().dropFirst(hasHeader ? 1 : 0) {
      let fields = columns(line)
      guard fields.count == first.count else {
        throw malformed(number, "\(fields.count) column(s) instead of \(first.count)")
      }
      let label = String(fields[labelColumn])
      if let known, numbers?[label] == nil {
        throw malformed(
          number, "the label is \"\(label)\", which is none of those learned: \(shortList(known))")
      }
      if label.isEmpty || (Int(label) == nil && Double(label) != nil) {
        throw malformed(number, "the label is \"\(label)\", neither a whole number nor the name of a class")
      }
      if let before = labels.first, (Int(before) == nil) != (Int(label) == nil) {
        throw malformed(number, "the label is \"\(label)\", but others are like \"\(before)\"")
      }
      texts.append(String(fields[textColumn]))
      labels.append(label)
    }
    guard !texts.isEmpty else { throw .emptyText(path: path) }
    let classNames = known ?? Self.ordered(Set(labels))
    guard classNames.count <= Self.maximumClasses else {
      throw .malformed(
        path: path,
        reason:
          "\(classNames.count) different labels, more than \(Self.maximumClasses): is it a table of classes?")
    }
    let classes = numbers ?? Dictionary(uniqueKeysWithValues: zip(classNames, 0...))
    (self.name, self.texts, self.classNames) = (path, texts, classNames)
    self.labels = labels.map { classes[$0]! }
  }

  /// The class of each label of a file whose classes are known.
  private static func numbers(_ known: [String]) -> [String: Int] {
    var numbers = Dictionary(zip(known, 0...)) { first, _ in first }
    if known.allSatisfy({ Int($0) == nil }) {
      for number in known.indices { numbers["\(number)"] = number }
    }
    return numbers
  }

  private init(_ other: LabelledText, _ indices: some Sequence<UInt32>) {
    (name, classNames) = (other.name, other.classNames)
    texts = indices.map { other.texts[Int($0)] }
    labels = indices.map { other.labels[Int($0)] }
  }

  private static func ordered(_ labels: Set<String>) -> [String] {
    labels.sorted { a, b in
      // Two spellings of one number, "1" and "01", are two labels.
      if let x = Int(a), let y = Int(b), x != y { return x < y }
      return FileIO.utf8Order(a, b)
    }
  }

  /// Divides the texts: the second part has `fraction` of them, the same ones every time.
  /// - Throws: when one part would be empty.
  public func split(fraction: Double) throws(DataError) -> (training: LabelledText, test: LabelledText) {
    let held = Int((Double(count) * fraction).rounded())
    guard held > 0, held < count else {
      throw .invalidOption("\(fraction) of the \(count) text(s) of \(name) leaves none for one of its parts")
    }
    let order = EpochOrder.selection(count: count, seed: 0)
    return (LabelledText(self, order[held...].sorted()), LabelledText(self, order[..<held].sorted()))
  }

  /// `count` of the texts, chosen at random by `seed`.
  /// - Throws: when there are fewer.
  public func sample(_ count: Int, seed: UInt64) throws(DataError) -> LabelledText {
    guard count <= self.count else {
      throw .invalidOption("\(name) has \(self.count) text(s) to learn from, fewer than \(count)")
    }
    return LabelledText(self, EpochOrder.selection(count: self.count, seed: seed)[..<count])
  }
}
