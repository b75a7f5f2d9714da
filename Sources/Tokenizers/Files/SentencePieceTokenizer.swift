import KalsaeFormats

/// Tokenizers from pieces with scores: SentencePiece's models, and those of GGUF files that come from them.
enum SentencePieceTokenizer {
  /// How the pieces are used.
  struct Settings {
    var file: SentencePieceFile
    var addsStart = false, addsEnd = false
    var extraIDs = 0
  }

  static func make(_ settings: Settings, path: String) throws -> Tokenizer {
    let file = settings.file
    var vocabulary = Vocabulary(capacity: file.pieces.count)
    for piece in file.pieces { vocabulary.append(piece.text) }
    var byteTokens: [Int32]? = nil
    if file.hasByteFallback || file.pieces.contains(where: { $0.kind == .byte }) {
      byteTokens = TokenizerJSON.byteTokens(vocabulary)
    }
    let unknown = file.pieces.indices.contains(file.unknown) ? Int32(file.unknown) : nil
    let model: Model
    switch file.modelType {
    case 1:
      let normal = file.pieces.filter { $0.kind == .normal }.map { Double($0.score) }
      let highest = normal.max() ?? 0
      let scores = file.pieces.map { piece in
        piece.kind == .userDefined ? Double(piece.text.count) * highest - 0.1 : Double(piece.score)
      }
      model = .unigram(
        Unigram(
          vocabulary: vocabulary, scores: scores, unknown: unknown, byteTokens: byteTokens,
          usesSinglePrecision: true,
          lowest: normal.min(),
          isUsable: { file.pieces[Int($0)].kind == .normal || file.pieces[Int($0)].kind == .userDefined }))
    case 2: model = .bpe(bpe(file, vocabulary, unknown, byteTokens))
    case 3: model = .wordLevel(WordLevel(vocabulary: vocabulary, unknown: unknown))
    case 4:
      var bpe = BPE(vocabulary: vocabulary, merges: PairTable(), mergeList: [])
      (bpe.unknown, bpe.byteTokens, bpe.fusesUnknown) = (unknown, byteTokens, true)
      bpe.prepare()
      model = .bpe(bpe)
    default: throw TokenizerError(path, "has the unknown model type \(file.modelType)")
    }
    var map: PrecompiledMap? = nil
    if !file.map.isEmpty {
      guard let read = PrecompiledMap(file.map) else {
        throw TokenizerError(
          path, "'precompiled_charsmap' is damaged: its sizes do not fit; fetch the file again")
      }
      map = read
    }
    var added = file.pieces.indices.compactMap { index -> AddedToken? in
      let piece = file.pieces[index]
      guard piece.kind == .control || piece.kind == .userDefined, !piece.text.isEmpty else { return nil }
      return AddedToken(
        id: Int32(index), content: String(decoding: piece.text, as: UTF8.self),
        isSpecial: piece.kind == .control,
        isNormalized: piece.kind == .userDefined)
    }
    for index in 0..<settings.extraIDs {
      added.append(
        AddedToken(
          id: Int32(file.pieces.count + settings.extraIDs - 1 - index), content: "<extra_id_\(index)>",
          isSpecial: true))
    }
    let pipeline = Pipeline(
      normalizer: .sentencePiece(
        map, removesExtraSpaces: file.removesExtraSpaces, addsPrefix: file.addsPrefix,
        escapesSpaces: file.escapesSpaces, isSuffix: file.isSuffix),
      model: model, postProcessor: try around(settings, path),
      decoder: .sentencePiece(
        SentencePieceDecoder(
          stripsPrefix: file.addsPrefix || file.removesExtraSpaces,
          removesExtraSpaces: file.removesExtraSpaces,
          isSuffix: file.isSuffix, unknown: unknown.map { file.pieces[Int($0)].text } ?? [],
          surface: Array(file.unknownSurface.utf8))),
      addedTokens: added, texts: vocabulary)
    return Tokenizer(pipeline)
  }

  /// Joins pieces whose concatenation is a piece, the highest score first.
  private static func bpe(
    _ file: SentencePieceFile, _ vocabulary: Vocabulary, _ unknown: Int32?, _ byteTokens: [Int32]?
  ) -> BPE {
    let usable = file.pieces.indices.filter {
      file.pieces[$0].kind == .normal || file.pieces[$0].kind == .userDefined
    }
    // Equal scores are one rank, so that the leftmost goes first.
    let scores = Set(usable.map { file.pieces[$0].score }).sorted(by: >)
    var ranks: [Float: Int] = [:]
    for (rank, score) in scores.enumerated() { ranks[score] = rank }
    var merges = PairTable(capacity: usable.count * 4)
    var list: [(rank: Int, left: Int32, right: Int32)] = []
    for index in usable {
      let piece = file.pieces[index]
      piece.text.withUnsafeBufferPointer { text in
        guard let start = text.baseAddress, vocabulary.id(start, text.count) == Int32(index) else { return }
        var cut = UTF8Scalars.length(text[0])
        while cut < text.count {
          if let left = vocabulary.id(start, cut), let right = vocabulary.id(start + cut, text.count - cut) {
            merges.insert(left, right, rank: ranks[piece.score]!, id: Int32(index))
            list.append((ranks[piece.score]!, left, right))
          }
          cut += UTF8Scalars.length(text[cut])
        }
      }
    }
    list.sort { ($0.rank, $0.left, $0.right) < ($1.rank, $1.left, $1.right) }
    var bpe = BPE(vocabulary: vocabulary, merges: merges, mergeList: list.map { ($0.left, $0.right) })
    (bpe.unknown, bpe.byteTokens, bpe.fusesUnknown) = (unknown, byteTokens, true)
    bpe.prepare()
    return bpe
  }

  private static func around(_ settings: Settings, _ path: String) throws -> PostProcessor? {
    func piece(_ id: Int, _ what: String) throws -> PostProcessor.TokenPair {
      guard settings.file.pieces.indices.contains(id) else {
        throw TokenizerError(path, "the \(what) token has the number \(id), which is none of the vocabulary")
      }
      return .init(token: String(decoding: settings.file.pieces[id].text, as: UTF8.self), id: Int32(id))
    }
    return .around(
      start: settings.addsStart ? try piece(settings.file.start, "start") : nil,
      end: settings.addsEnd ? try piece(settings.file.end, "end") : nil)
  }
}

extension PostProcessor {
  /// One token before and one after every text, as far as given; nil when neither is.
  static func around(start: TokenPair?, end: TokenPair?) -> PostProcessor? {
    guard start != nil || end != nil else { return nil }
    func pieces(_ isSecond: Bool) -> [Piece] {
      let type: Int32 = isSecond ? 1 : 0
      return (start.map { [.special($0.token, type: type)] } ?? []) + [.text(isSecond: isSecond, type: type)]
        + (end.map { [.special($0.token, type: type)] } ?? [])
    }
    var tokens: [String: SpecialToken] = [:]
    for token in [start, end].compactMap(\.self) {
      tokens[token.token] = SpecialToken(ids: [token.id], tokens: [token.token])
    }
    return .template(single: pieces(false), pair: pieces(false) + pieces(true), tokens: tokens)
  }
}
