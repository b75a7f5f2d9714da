import KalsaeTensors

/// Pairs of texts for next-sentence prediction (Devlin et al. 2018, section 3.1 and appendix A.2): [CLS] A [SEP] B [SEP].
///
/// Each document is cut into runs of sentences that fit the model together. A is the beginning of a run, cut at random;
/// B is in half of the cases the rest of it (label 0, "is next") and else sentences from a random place of another
/// document (label 1), as in transformers' `BertForNextSentencePrediction`.
public struct SentencePairs: SequenceSource {
  public let name: String
  public let maximumLength: Int
  private let documents: [[[Int32]]]
  private let beginning, separator: Int32
  /// Document and sentences of each run of at least two sentences.
  private let runs: [(document: Int, sentences: Range<Int>)]

  /// - Parameters:
  ///   - documents: their sentences, each as tokens without special ones.
  ///   - beginning: the token [CLS].
  ///   - separator: the token [SEP].
  ///   - maximumLength: of a pair with its three special tokens.
  /// - Throws: when there are fewer than two documents with sentences, or none with two sentences that fit.
  public init(
    documents: [[[Int32]]], name: String, beginning: Int32, separator: Int32, maximumLength: Int
  ) throws(DataError) {
    guard maximumLength >= 5 else {
      throw .invalidOption("a pair of sentences needs at least 5 positions, not \(maximumLength)")
    }
    let documents = documents.map { $0.filter { !$0.isEmpty } }.filter { !$0.isEmpty }
    guard documents.count >= 2 else {
      throw .invalidOption(
        "\(name): next-sentence prediction needs at least 2 documents, not \(documents.count); separate documents by "
          + "empty lines, one sentence a line")
    }
    var runs: [(document: Int, sentences: Range<Int>)] = []
    for (number, document) in documents.enumerated() {
      var start = 0, tokens = 0
      for (place, sentence) in document.enumerated() {
        // A run has two sentences at least, shortened if need be.
        if tokens + sentence.count > maximumLength - 3, place - start >= 2 {
          runs.append((number, start..<place))
          (start, tokens) = (place, 0)
        }
        tokens += sentence.count
      }
      if document.count - start >= 2 { runs.append((number, start..<document.count)) }
    }
    guard !runs.isEmpty else {
      throw .invalidOption(
        "\(name): no document has two sentences; write one sentence a line, documents separated by empty lines"
      )
    }
    (self.documents, self.runs, self.name) = (documents, runs, name)
    (self.beginning, self.separator, self.maximumLength) = (beginning, separator, maximumLength)
  }

  /// Lines in documents: an empty line ends one.
  public static func documents(_ lines: [String]) -> [[String]] {
    lines.split { $0.utf8.allSatisfy { $0 == 0x20 || $0 == 0x09 } }.map(Array.init)
  }

  public var count: Int { runs.count }
  public var longest: Int { maximumLength }

  public func sequence(_ number: Int, epoch: Int, seed: UInt64) -> TokenSequence {
    // "pairs"
    var random = SplitMix64(key: 0x70_6169_7273, seed, UInt64(epoch), UInt64(number))
    let (home, sentences) = runs[number], room = maximumLength - 3
    let cut = sentences.lowerBound + 1 + Int(random.below(UInt64(sentences.count - 1)))
    var a = Array(documents[home][sentences.lowerBound..<cut].joined()), b: [Int32]
    let isNext = random.below(2) == 0
    if isNext {
      b = Array(documents[home][cut..<sentences.upperBound].joined())
    } else {
      var other = Int(random.below(UInt64(documents.count - 1)))
      if other >= home { other += 1 }
      let document = documents[other]
      var place = Int(random.below(UInt64(document.count)))
      b = document[place]
      while a.count + b.count < room, place + 1 < document.count {
        place += 1
        b += document[place]
      }
    }
    // The longer one gives way.
    while a.count + b.count > room {
      if a.count > b.count { a.removeLast() } else { b.removeLast() }
    }
    let segments = [Int32](repeating: 0, count: a.count + 2) + [Int32](repeating: 1, count: b.count + 1)
    return TokenSequence(
      [beginning] + a + [separator] + b + [separator], segments: segments, label: isNext ? 0 : 1)
  }
}
