import KalsaeModels
import KalsaeNeural
import KalsaeTensors

/// A network that says how probable each token is as the next one.
public protocol CausalLanguageModel: Sendable {
  var vocabularySize: Int { get }
  /// The largest number of tokens that the model can look at.
  var contextLength: Int { get }
  func makeCache(batch: Int, capacity: Int, leftPadding: [Int]?) -> KeyValueCache
  /// The logits (B, V) after the last of `tokens`, int32 (B, T), which follow those in `cache`.
  func nextLogits(_ tokens: Tensor, cache: KeyValueCache) -> Tensor
}

extension GPT2LMHeadModel: CausalLanguageModel {
  public var vocabularySize: Int { config.vocab_size }
  public var contextLength: Int { config.n_positions }

  public func nextLogits(_ tokens: Tensor, cache: KeyValueCache) -> Tensor {
    // Only the last position is multiplied by the vocabulary.
    let x = transformer(tokens, cache: cache).at(tokens.shape[1] - 1, axis: 1)  // (B, C)
    return lm_head(x).cast(to: .float32)
  }
}
