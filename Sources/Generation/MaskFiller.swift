import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import KalsaeTokenizers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Says which words a masked language model expects behind the masks of a text.
///
///     let filler = try MaskFiller(model: BertForMaskedLM(folder: "bert"), tokenizer: Tokenizer(path: "bert"))
///     let words = try filler.fill("Paris is the [MASK] of France.")[0]  // most probable first
public struct MaskFiller: Sendable {
  public let model: BertForMaskedLM
  public let tokenizer: Tokenizer
  public let tokens: EncoderTokens
  /// A token of plain text, after which others are decoded to see what stands between two words.
  private let ordinary: Int32

  /// One word for a mask.
  public struct Candidate: Sendable, Equatable {
    public let id: Int32
    /// As the vocabulary has it: "##ing".
    public let token: String
    public let probability: Double
    /// The whole text with this token in the mask's place; other masks remain.
    public let text: String
  }

  /// - Throws: when the tokenizer lacks a special token, or has more tokens than the model.
  public init(model: BertForMaskedLM, tokenizer: Tokenizer) throws(GenerationError) {
    let vocabulary = model.bert.config.vocab_size
    guard tokenizer.vocabularySize <= vocabulary else {
      throw GenerationError(
        "the tokenizer has \(tokenizer.vocabularySize) tokens, but the model's vocab_size is \(vocabulary): they do "
          + "not belong together")
    }
    var tokenizer = tokenizer
    (tokenizer.truncation, tokenizer.padding) = (nil, nil)
    (self.model, self.tokenizer, tokens) = (model, tokenizer, try EncoderTokens(tokenizer))
    ordinary = (0..<Int32(tokenizer.vocabularySize)).first { !tokenizer.isSpecial($0) } ?? tokens.mask
  }

  /// The `top` most probable tokens for each mask of a text, most probable first; all masks are filled at once, none
  /// knowing what the others become.
  /// - Throws: when the text has no mask, or is longer than the model's context.
  public func fill(_ text: String, top: Int = 5) throws(GenerationError) -> [[Candidate]] {
    require(top > 0, "MaskFiller: top must be positive, not \(top)")
    let encoding = tokenizer.encode(text, addsSpecialTokens: false)
    let ids = [tokens.beginning] + encoding.ids + [tokens.separator]
    let context = model.bert.config.max_position_embeddings
    let masks = encoding.ids.indices.filter { encoding.ids[$0] == tokens.mask }
    guard !masks.isEmpty else {
      let name = tokenizer.token(of: tokens.mask) ?? "[MASK]"
      throw GenerationError("the text has no mask: write \(name) where a word is to be filled in")
    }
    guard ids.count <= context else {
      throw GenerationError(
        "the text has \(ids.count) tokens with \(ids.count - encoding.count) special ones, more than the model's "
          + "context of \(context): shorten it")
    }
    let places = Tensor(masks.map { Int32($0 + 1) })
    let logits = Mode.evaluation { model.logits(Tensor(ids, [1, ids.count]), at: places) }.floats()
    let width = model.bert.config.vocab_size
    return masks.enumerated().map { number, mask in
      let row = Array(logits[number * width..<(number + 1) * width]), scores = logProbabilities(row)
      // The model may have rows that are no token.
      let known = Array(row[..<tokenizer.vocabularySize])
      return mostProbable(known, min(top, known.count)).map { id in
        Candidate(
          id: id, token: tokenizer.token(of: id) ?? "", probability: exp(scores[Int(id)]),
          text: filled(text, encoding.offsets[mask], id))
      }
    }
  }

  /// The text with a token in place of the bytes of a mask. Spaces before it give way to those that the token brings.
  private func filled(_ text: String, _ place: Range<Int>, _ id: Int32) -> String {
    let bytes = Array(text.utf8)
    let before = bytes[..<place.lowerBound].reversed().drop { $0 == 0x20 }.reversed()
    let context = before.isEmpty ? [] : [ordinary]
    let start = tokenizer.decode(context, skipsSpecialTokens: false)
    let word = tokenizer.decode(context + [id], skipsSpecialTokens: false).utf8.dropFirst(start.utf8.count)
    let added = before.isEmpty ? Array(word.drop { $0 == 0x20 }) : Array(word)
    return String(decoding: before + added + bytes[place.upperBound...], as: UTF8.self)
  }
}
