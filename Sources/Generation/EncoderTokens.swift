import KalsaeTokenizers

/// The special tokens that the inputs of an encoder need, by the names of BERT's or RoBERTa's tokenizers.
public struct EncoderTokens: Sendable, Hashable {
  public let beginning, separator, padding, mask: Int32

  /// - Throws: when the tokenizer lacks one.
  public init(_ tokenizer: Tokenizer) throws(GenerationError) {
    func find(_ names: String...) throws(GenerationError) -> Int32 {
      for name in names {
        if let token = tokenizer.addedTokens.first(where: { $0.content == name }) { return token.id }
      }
      throw GenerationError(
        "the tokenizer has no token \(names.joined(separator: " or ")), which an encoder needs; kalsae tokenizer "
          + "train --type wordpiece makes one that has")
    }
    beginning = try find("[CLS]", "<s>")
    separator = try find("[SEP]", "</s>")
    padding = try find("[PAD]", "<pad>")
    mask = try find("[MASK]", "<mask>")
  }

  public var all: Set<Int32> { [beginning, separator, padding, mask] }
}
