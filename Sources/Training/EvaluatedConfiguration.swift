import KalsaeCheckpoints
import KalsaeNeural

/// A run with AdamW and a falling learning rate, whose model is measured on held-out data now and then.
public protocol EvaluatedConfiguration: TrainingConfiguration {
  /// Steps between measurements.
  var evaluateEvery: Int { get set }
  /// Where the learning rate ends, as a fraction of its peak, along half a cosine.
  var finalLearningRate: Double { get set }
  /// AdamW's, of matrices.
  var weightDecay: Double { get set }
  /// Adam's decay of the squared gradient's mean.
  var beta2: Double { get set }
}

extension EvaluatedConfiguration {
  /// Reads the keys that such runs have.
  mutating func readEvaluated(_ c: ConfigJSON) throws(ConfigError) {
    try readCommon(c)
    evaluateEvery = try c("evaluate_every", or: evaluateEvery)
    finalLearningRate = try c("final_learning_rate", or: finalLearningRate)
    weightDecay = try c("weight_decay", or: weightDecay)
    beta2 = try c("beta2", or: beta2)
  }

  /// The keys that such runs have.
  var evaluatedJSON: JSONObject {
    var object = commonJSON
    object["evaluate_every"] = .integer(evaluateEvery)
    object["final_learning_rate"] = .double(finalLearningRate)
    object["weight_decay"] = .double(weightDecay)
    object["beta2"] = .double(beta2)
    return object
  }

  /// The first of these values without meaning.
  var evaluatedProblem: (key: String, reason: String)? {
    if let commonProblem { return commonProblem }
    if evaluateEvery < 1 { return ("evaluate_every", "must be at least 1, not \(evaluateEvery)") }
    if !(0...1).contains(finalLearningRate) {
      return ("final_learning_rate", "is a fraction of the peak, in [0, 1], not \(finalLearningRate)")
    }
    if !(weightDecay >= 0) { return ("weight_decay", "must not be negative, but is \(weightDecay)") }
    if !(0..<1).contains(beta2) { return ("beta2", "must be in [0, 1), not \(beta2)") }
    return nil
  }

  /// The warm-up, then half a cosine.
  var cosineLearningRate: LearningRate {
    LearningRate(
      peak: learningRate, warmup: warmup,
      decay: .cosine(total: steps, minimum: learningRate * finalLearningRate))
  }

  /// Whether the model is measured after this step: every so often, and at the end.
  func isTimeToEvaluate(_ step: Int) -> Bool { step % evaluateEvery == 0 || step == steps }
}
