import KalsaeTensors

// What language models are trained with: the mean of -log P over the tokens that count.

/// The loss of predicting each token from those before it ("Formal Algorithms for Transformers", algorithms 11 and 13,
/// EDTraining and DTraining).
///
/// Logits (B, T, V) at each token, tokens int32 (B, T): the logits at t predict token t + 1. Tokens equal to `ignored`,
/// padding usually, are not predicted.
public func nextTokenLoss(
  _ logits: Tensor, _ tokens: Tensor, ignored: Int? = nil, labelSmoothing: Double = 0
) -> Tensor {
  let count = tokens.shape[1]
  require(count > 1, "nextTokenLoss: \(tokens.shape) has no next token")
  return crossEntropy(
    logits.sliced(1, 0..<count - 1), tokens.sliced(1, 1..<count), labelSmoothing: labelSmoothing,
    ignoredLabel: ignored)
}

/// The loss of filling in masked tokens ("Formal Algorithms for Transformers", algorithm 12, ETraining).
///
/// Logits (B, T, V), labels int32 (B, T): the tokens behind the masks, and `ignored` where there is none.
public func maskedTokenLoss(_ logits: Tensor, _ labels: Tensor, ignored: Int = -100) -> Tensor {
  crossEntropy(logits, labels, ignoredLabel: ignored)
}
