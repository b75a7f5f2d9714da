import ArgumentParser
import KalsaeTraining

/// The options of a training whose model is measured on held-out data.
struct EvaluationArguments: ParsableArguments {
  @Option(help: "Steps between measurements on held-out data.") var evaluateEvery: Int?
  @Option(help: "Where the learning rate ends, as a fraction of its peak.") var finalLearningRate: Double?
  @Option(help: "AdamW's weight decay of matrices.") var weightDecay: Double?
  @Option(help: "Adam's decay of the squared gradient's mean.") var beta2: Double?

  /// What is given here wins over `configuration`.
  func apply(to configuration: inout some EvaluatedConfiguration) {
    if let evaluateEvery { configuration.evaluateEvery = evaluateEvery }
    if let finalLearningRate { configuration.finalLearningRate = finalLearningRate }
    if let weightDecay { configuration.weightDecay = weightDecay }
    if let beta2 { configuration.beta2 = beta2 }
  }
}

/// The defaults of these options that a command's help lists.
func evaluationDefaults(_ c: some EvaluatedConfiguration) -> String {
  "a measurement every \(c.evaluateEvery) steps, final learning rate \(c.finalLearningRate), weight decay "
    + "\(c.weightDecay), beta2 \(c.beta2)"
}
