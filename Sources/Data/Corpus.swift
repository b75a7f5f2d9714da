/// Documents of sentences: what an encoder is pre-trained on.
///
/// Each line of a text file is a sentence, or a text of its own; an empty line ends a document. A table (`.tsv`, or a
/// header as `LabelledText` knows it) gives the text of each row, a document for itself; its labels are not used.
public struct Corpus: Sendable, Equatable {
  /// What messages call it.
  public let name: String
  /// The sentences of each document; none is empty, and no document either.
  public let documents: [[String]]

  /// Sentences of all documents.
  public var count: Int { documents.reduce(0) { $0 + $1.count } }

  public init(documents: [[String]], name: String) {
    (self.documents, self.name) = (documents, name)
  }

  /// Reads files, one after the other; a new file begins a new document.
  /// - Throws: what `TextFile` and `LabelledText` throw.
  public init(contentsOf paths: [String]) throws(DataError) {
    var documents: [[String]] = []
    for path in paths {
      if Self.isTable(path) {
        documents += SentencePairs.documents(try LabelledText(contentsOf: path).texts.flatMap { [$0, ""] })
      } else {
        documents += SentencePairs.documents(try TextFile.lines(path))
      }
    }
    guard !documents.isEmpty else { throw .emptyText(path: paths.joined(separator: ", ")) }
    self.init(
      documents: documents, name: paths.count == 1 ? FileIO.fullPath(paths[0]) : "\(paths.count) files")
  }

  /// Whether a file is a table of texts: by its name, or by its first line. One that cannot be read is none.
  public static func isTable(_ path: String) -> Bool {
    if path.hasSuffix(".tsv") || path.hasSuffix(".tsv.gz") { return true }
    guard let file = try? GzipFile(path), var start = try? file.read(upTo: 4096) else { return false }
    if start.starts(with: [0xEF, 0xBB, 0xBF]) { start.removeFirst(3) }
    let line = start.prefix { $0 != 0x0A && $0 != 0x0D }
    return LabelledText.isHeader(String(decoding: line, as: UTF8.self))
  }

  /// The last part apart from the rest: of the sentences, or of the documents where they must stay whole.
  /// - Parameter validationFraction: of the sentences or documents, rounded, at least one.
  /// - Throws: when nothing is left to learn from.
  public func split(
    validationFraction: Double, wholeDocuments: Bool
  ) throws(DataError) -> (training: Corpus, validation: Corpus) {
    let all = wholeDocuments ? documents.count : count
    let kept = all - max(Int((Double(all) * validationFraction).rounded()), 1)
    guard kept > 0 else {
      throw .invalidOption(
        "\(name): nothing is left to learn from when \(all - kept) of \(all) "
          + "\(wholeDocuments ? "document" : "line")(s) are held out; give more text, or --validation-fraction 0"
      )
    }
    var front: [[String]] = [], back: [[String]] = [], seen = 0
    for document in documents {
      let cut = wholeDocuments ? (seen < kept ? document.count : 0) : min(max(kept - seen, 0), document.count)
      if cut > 0 { front.append(Array(document[..<cut])) }
      if cut < document.count { back.append(Array(document[cut...])) }
      seen += wholeDocuments ? 1 : document.count
    }
    return (Corpus(documents: front, name: name), Corpus(documents: back, name: name))
  }
}
