/// A word of the training text and how often it is there.
struct CountedWord: Equatable {
  var bytes: [UInt8]
  var count: Int
}

/// Counts the words of texts after normalisation and splitting.
struct WordCounter {
  private let normalizer: Normalizer?
  private let preTokenizer: PreTokenizer
  private var unicode = UnicodeNormalizer()
  private var stack: [Pattern.Retry] = []
  private var table = ByteTable(capacity: 1 << 16)
  private var list: [CountedWord] = []

  init(_ pipeline: (Normalizer?, PreTokenizer)) { (normalizer, preTokenizer) = pipeline }

  var isEmpty: Bool { list.isEmpty }

  mutating func count(_ text: [UInt8]) {
    var text = Text(text, base: 0, isTracked: false)
    if let normalizer { text = normalizer.apply(text, &unicode) }
    var pieces = Pieces(text)
    preTokenizer.apply(&pieces, isStart: true, keepsBytes: true, &stack)
    for piece in pieces.pieces {
      let word = pieces.text.bytes[piece.range]
      if let index = table.value(word) {
        list[Int(index)].count += 1
      } else {
        table.insert(word, Int32(list.count))
        list.append(CountedWord(bytes: Array(word), count: 1))
      }
    }
  }

  /// All words by their bytes, so that the order of the text does not matter.
  func words() -> [CountedWord] { list.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) } }
}
