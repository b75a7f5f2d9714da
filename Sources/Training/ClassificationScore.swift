import Foundation
import KalsaeMetrics
import KalsaeTensors

/// How well a classifier does on examples whose classes are known.
public struct ClassificationScore: Sendable, Equatable {
  public private(set) var result: Classification
  private var lossSum = 0.0

  public init(classes: Int) { result = Classification(classes: classes) }

  public var count: Int { result.count }
  public var accuracy: Double { result.accuracy }
  /// The mean of the classes' F1 scores.
  public var macroF1: Double { result.macroF1 }
  /// The mean cross-entropy in nats.
  public var loss: Double { count == 0 ? 0 : lossSum / Double(count) }

  /// Counts examples: logits (N, classes), and the class of each. Of equal logits the first one wins.
  mutating func add(logits: [Float], labels: [Int]) {
    let classes = result.classes
    require(
      logits.count == labels.count * classes,
      "ClassificationScore: \(logits.count) logits for \(labels.count) labels")
    var predictions: [Int] = []
    for (row, label) in labels.enumerated() {
      let logProbabilities = logSoftmax(logits[row * classes..<(row + 1) * classes])
      lossSum -= logProbabilities[label]
      predictions.append(logProbabilities.indices.max { logProbabilities[$0] < logProbabilities[$1] }!)
    }
    result.add(predictions, labels)
  }

  /// As a run logs them.
  var measured: [(name: String, value: Double)] {
    [("validation_loss", loss), ("validation_accuracy", accuracy), ("validation_macro_f1", macroF1)]
  }
}

/// One row of logits as logarithms of probabilities.
func logSoftmax(_ logits: some Collection<Float>) -> [Double] {
  let largest = Double(logits.max() ?? 0)
  let sum = logits.reduce(0) { $0 + exp(Double($1) - largest) }
  return logits.map { Double($0) - largest - log(sum) }
}
