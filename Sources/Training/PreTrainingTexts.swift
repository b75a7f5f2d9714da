import KalsaeData
import KalsaeGeneration
import KalsaeTokenizers

/// What an encoder is pre-trained on: single texts, [CLS] A [SEP], or pairs of them, [CLS] A [SEP] B [SEP].
public struct PreTrainingTexts: SequenceSource {
  private enum Kind: Sendable {
    case single(FixedSequences)
    case pairs(SentencePairs)
  }

  private let kind: Kind
  /// Tokens of the text itself.
  public let tokenCount: Int

  /// - Parameters:
  ///   - length: of an example with its special tokens. Longer texts are cut, so that nothing is lost.
  ///   - arePacked: the lines of a document become one text before it is cut.
  /// - Throws: when there is no token, or pairs cannot be made.
  init(
    _ corpus: Corpus, name: String, tokenizer: Tokenizer, tokens: EncoderTokens, length: Int, arePairs: Bool,
    arePacked: Bool
  ) throws {
    // What looks like a special token in the text is none.
    let documents = corpus.documents.map { document in
      document.map { tokenizer.ids(of: $0, addsSpecialTokens: false, parsesSpecialTokens: false) }
    }
    tokenCount = documents.reduce(0) { $0 + $1.reduce(0) { $0 + $1.count } }
    guard tokenCount > 0 else { throw DataError.emptyText(path: name) }
    if arePairs {
      kind = .pairs(
        try SentencePairs(
          documents: documents, name: name, beginning: tokens.beginning, separator: tokens.separator,
          maximumLength: length))
      return
    }
    let texts = arePacked ? documents.map { Array($0.joined()) } : documents.flatMap { $0 }
    let room = length - 2
    let sequences = texts.flatMap { text in
      stride(from: 0, to: text.count, by: room).map { start in
        TokenSequence(
          [tokens.beginning] + text[start..<min(start + room, text.count)] + [tokens.separator])
      }
    }
    kind = .single(FixedSequences(sequences, name: name))
  }

  private var source: any SequenceSource {
    switch kind {
    case .single(let source): source
    case .pairs(let source): source
    }
  }

  public var name: String { source.name }
  public var count: Int { source.count }
  public var longest: Int { source.longest }

  public func sequence(_ index: Int, epoch: Int, seed: UInt64) -> TokenSequence {
    source.sequence(index, epoch: epoch, seed: seed)
  }
}
