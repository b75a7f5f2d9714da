import KalsaeFormats

/// Trains tokenizers on text. The same text gives the same tokenizer.
///
///     let tokenizer = try TokenizerTrainer(vocabularySize: 8000).train(.bytePairs, files: ["corpus.txt"])
///     try tokenizer.save(to: "tokenizer.json")
public struct TokenizerTrainer: Sendable {
  public enum Kind: Sendable {
    /// Byte-level BPE with GPT-2's splitting.
    case bytePairs
    /// BERT's WordPiece, by merging the most frequent pairs as Hugging Face's trainer does.
    case wordPiece
    /// The unigram language model with SentencePiece's spaces.
    case unigram
  }

  /// Tokens in all, the special ones included.
  public var vocabularySize: Int
  /// What occurs less often is no token of its own; nil: 2, for unigram 1.
  public var minimumFrequency: Int? = nil
  /// WordPiece: keeps capitals and accents.
  public var keepsCase = false
  /// Beside those of the kind: <|endoftext|>; [PAD] [UNK] [CLS] [SEP] [MASK]; <pad> </s> <unk>.
  public var specialTokens: [String] = []

  public init(vocabularySize: Int) { self.vocabularySize = vocabularySize }

  /// Trains on text files, line by line. A file that is not UTF-8 and files without text are errors.
  public func train(_ kind: Kind, files: [String]) throws -> Tokenizer {
    var counter = WordCounter(pipeline(kind))
    for path in files {
      var lines = try readText(path).split(separator: 0x0A, omittingEmptySubsequences: false)
      if lines.last?.isEmpty == true { lines.removeLast() }
      for line in lines {
        // The end of a line is text to those who split by spaces.
        counter.count(Array(line) + (kind == .bytePairs ? [0x0A] : []))
      }
    }
    guard !counter.isEmpty else {
      throw TokenizerError(files.joined(separator: ", "), "no text to train on: the files are empty")
    }
    return try train(kind, counter.words())
  }

  /// Trains on texts.
  public func train(_ kind: Kind, texts: some Sequence<String>) throws -> Tokenizer {
    var counter = WordCounter(pipeline(kind))
    for text in texts { counter.count(Array(text.utf8)) }
    guard !counter.isEmpty else { throw TokenizerError("the texts", "no text to train on: they are empty") }
    return try train(kind, counter.words())
  }

  /// What happens to text before words are counted.
  private func pipeline(_ kind: Kind) -> (Normalizer?, PreTokenizer) {
    switch kind {
    case .bytePairs: (nil, .byteLevel(addsPrefixSpace: false, trimsOffsets: false, usesPattern: true))
    case .wordPiece: (.bert(BertNormalizer(lowercases: !keepsCase)), .bert)
    case .unigram: (.unicode(.NFKC), .metaspace(replacement: 0x2581, scheme: .always, splits: true))
    }
  }

  private func train(_ kind: Kind, _ words: [CountedWord]) throws -> Tokenizer {
    let (normalizer, preTokenizer) = pipeline(kind)
    let names: [String] =
      switch kind {
      case .bytePairs: ["<|endoftext|>"]
      case .wordPiece: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
      case .unigram: ["<pad>", "</s>", "<unk>"]
      }
    var special: [String] = []
    for name in names + specialTokens where !special.contains(name) { special.append(name) }
    let added = special.enumerated().map { AddedToken(id: Int32($0), content: $1, isSpecial: true) }
    switch kind {
    case .bytePairs:
      var trainer = PairTrainer(size: vocabularySize, minimumFrequency: minimumFrequency ?? 2, prefix: [])
      let bpe = try trainer.train(words, special: special, alphabet: (0...255).map { [UInt8($0)] })
      let pipeline = Pipeline(
        normalizer: normalizer, preTokenizer: preTokenizer, model: .bpe(bpe.onRawBytes()),
        postProcessor: .byteLevel(trimsOffsets: false, addsPrefixSpace: false, usesPattern: true),
        decoder: .byteLevel, addedTokens: added, texts: bpe.spelled(special.count))
      return Tokenizer(pipeline)
    case .wordPiece:
      var trainer = PairTrainer(
        size: vocabularySize, minimumFrequency: minimumFrequency ?? 2, prefix: Array("##".utf8))
      let vocabulary = try trainer.train(words, special: special, alphabet: []).vocabulary
      let pipeline = Pipeline(
        normalizer: normalizer, preTokenizer: preTokenizer,
        model: .wordPiece(
          WordPiece(
            vocabulary: vocabulary, unknown: vocabulary.id("[UNK]")!, continuingPrefix: Array("##".utf8),
            maximumWordLength: 100)),
        postProcessor: Self.bertTemplate(vocabulary),
        decoder: .wordPiece(prefix: Array("##".utf8), cleansUp: true),
        addedTokens: added, texts: vocabulary)
      return Tokenizer(pipeline)
    case .unigram:
      let trainer = UnigramTrainer(size: vocabularySize, minimumFrequency: minimumFrequency ?? 1)
      let (vocabulary, scores) = try trainer.train(words, special: special)
      let end = PostProcessor.TokenPair(token: "</s>", id: vocabulary.id("</s>")!)
      let pipeline = Pipeline(
        normalizer: normalizer, preTokenizer: preTokenizer,
        model: .unigram(
          Unigram(
            vocabulary: vocabulary, scores: scores, unknown: vocabulary.id("<unk>"), byteTokens: nil,
            usesSinglePrecision: false)),
        postProcessor: .around(start: nil, end: end),
        decoder: .metaspace(replacement: 0x2581, scheme: .always, splits: true), addedTokens: added,
        texts: vocabulary)
      return Tokenizer(pipeline)
    }
  }

  private static func bertTemplate(_ vocabulary: Vocabulary) -> PostProcessor {
    let tokens = ["[CLS]", "[SEP]"].reduce(into: [String: PostProcessor.SpecialToken]()) {
      $0[$1] = .init(ids: [vocabulary.id($1)!], tokens: [$1])
    }
    let first: [PostProcessor.Piece] = [
      .special("[CLS]", type: 0), .text(isSecond: false, type: 0), .special("[SEP]", type: 0),
    ]
    return .template(
      single: first, pair: first + [.text(isSecond: true, type: 1), .special("[SEP]", type: 1)],
      tokens: tokens)
  }
}

extension Tokenizer {
  /// A tokenizer of single characters (Unicode scalars): those of a text, in ascending order, after <unk>.
  public static func characters(of text: String) -> Tokenizer {
    var vocabulary = Vocabulary()
    vocabulary.append("<unk>".utf8)
    for scalar in Set(text.unicodeScalars.map(\.value)).sorted() {
      var bytes: [UInt8] = []
      UTF8Scalars.append(scalar, to: &bytes)
      vocabulary.append(bytes)
    }
    var bpe = BPE(vocabulary: vocabulary, merges: PairTable(), mergeList: [])
    bpe.unknown = 0
    bpe.prepare()
    return Tokenizer(
      Pipeline(
        model: .bpe(bpe), decoder: .fuse,
        addedTokens: [AddedToken(id: 0, content: "<unk>", isSpecial: true)], texts: vocabulary))
  }
}
