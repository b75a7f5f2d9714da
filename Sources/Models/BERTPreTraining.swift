import KalsaeNeural
import KalsaeTensors

// What pre-training and filling in need of BERT: words at chosen places only. The head costs 2 C (C + V) operations a
// token, for 15 % of the tokens where only the hidden ones are predicted.

/// BERT while it is pre-trained: with next sentences the parameters of `BertForPreTraining`, without them those of
/// `BertForMaskedLM`, under the same keys.
public struct BertPreTrainingModel: Module {
  public let bert: BertModel
  public let cls: BertHeads

  /// Traps when the configuration contradicts itself.
  public init(_ config: BertConfig, predictsNextSentence: Bool) {
    bert = BertModel(config, pooler: predictsNextSentence)
    cls = BertHeads(
      predictions: BertPredictions(config, words: bert.embeddings.word_embeddings.weight),
      seq_relationship: predictsNextSentence ? config.linear(config.hidden_size, 2) : nil)
  }

  /// What is predicted of a batch.
  public struct Output {
    /// The head's features at the chosen places, (N, C); see `wordLoss` and `wordLogits`.
    public let features: Tensor
    /// Logits of whether the second text follows the first, (B, 2), 0 if it does; nil without that head.
    public let relationship: Tensor?
  }

  /// Tokens (B, T), `places` int32 (N) among these B T tokens; the rest as in `BertModel`.
  public func callAsFunction(
    _ tokens: Tensor, at places: Tensor, attentionMask: Tensor? = nil, segments: Tensor? = nil,
    observe: (String, Tensor) -> Void = { _, _ in }
  ) -> Output {
    let (x, pooled) = bert(tokens, attentionMask: attentionMask, segments: segments) {
      observe("bert." + $0, $1)
    }
    let features = cls.predictions.features(rows(of: x, at: places))
    observe("cls.predictions.transform", features)
    return Output(features: features, relationship: pooled.flatMap { cls.seq_relationship?($0) })
  }

  /// The mean cross-entropy of the words at the places, without ever holding all logits ("Formal Algorithms for
  /// Transformers", algorithm 12, ETraining). Labels int32 (N); `ignored` ones do not count.
  public func wordLoss(_ features: Tensor, _ labels: Tensor, ignored: Int = -100) -> Tensor {
    let decoder = cls.predictions.decoder
    return linearCrossEntropy(
      features, weight: decoder.weight.value, bias: decoder.bias?.value, labels: labels, ignoredLabel: ignored
    )
  }

  /// The logits of the words at the places, (N, V), float32.
  public func wordLogits(_ features: Tensor) -> Tensor {
    cls.predictions.decoder(features).cast(to: .float32)
  }
}

extension BertForMaskedLM {
  /// The logits (N, V), float32, of the words at `places`, int32 (N), among the B T tokens (B, T).
  public func logits(_ tokens: Tensor, at places: Tensor) -> Tensor {
    let x = rows(of: bert(tokens).hidden, at: places)
    return cls.predictions.decoder(cls.predictions.features(x)).cast(to: .float32)
  }
}

/// Rows of (B, T, C) at places among the B T ones: (N, C).
private func rows(of x: Tensor, at places: Tensor) -> Tensor {
  x.reshaped(-1, x.shape[-1]).gathered(places)
}
