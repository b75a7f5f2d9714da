import KalsaeTensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// How predicted classes compare with the true ones, counted example by example.
///
///     var result = Classification(classes: 2)
///     result.add(predictions, labels)
///     print(result.accuracy, result.f1(1), result.macroF1)
///
/// A ratio whose denominator is 0 is 0, as in scikit-learn.
public struct Classification: Sendable, Equatable {
  public let classes: Int
  /// Examples by true class, then by predicted class.
  public private(set) var confusion: [[Int]]

  public init(classes: Int) {
    require(classes > 0, "Classification: \(classes) classes")
    self.classes = classes
    confusion = Array(repeating: Array(repeating: 0, count: classes), count: classes)
  }

  /// Counts examples; each class is in 0 ..< classes.
  public mutating func add(_ predictions: [Int], _ labels: [Int]) {
    require(
      predictions.count == labels.count,
      "Classification: \(predictions.count) predictions, but \(labels.count) labels")
    for (prediction, label) in zip(predictions, labels) {
      require(
        (0..<classes).contains(prediction) && (0..<classes).contains(label),
        "Classification: prediction \(prediction) of label \(label) is outside 0 ..< \(classes)")
      confusion[label][prediction] += 1
    }
  }

  public var count: Int { confusion.reduce(0) { $0 + $1.reduce(0, +) } }

  /// The share of examples whose class was predicted.
  public var accuracy: Double { Self.ratio((0..<classes).reduce(0) { $0 + confusion[$1][$1] }, count) }

  /// Of the examples predicted to be `label`, the share that are.
  public func precision(_ label: Int) -> Double {
    Self.ratio(confusion[label][label], confusion.reduce(0) { $0 + $1[label] })
  }

  /// Of the examples that are `label`, the share predicted to be.
  public func recall(_ label: Int) -> Double {
    Self.ratio(confusion[label][label], confusion[label].reduce(0, +))
  }

  /// The harmonic mean of precision and recall of `label`; in a binary task that of the positive class.
  public func f1(_ label: Int) -> Double {
    let found = confusion[label][label]
    return Self.ratio(
      2 * found, confusion[label].reduce(0, +) + confusion.reduce(0) { $0 + $1[label] })
  }

  /// The mean over the classes that occur, truly or predicted.
  public var macroPrecision: Double { mean(precision) }
  public var macroRecall: Double { mean(recall) }
  public var macroF1: Double { mean(f1) }

  private func mean(_ metric: (Int) -> Double) -> Double {
    let present = (0..<classes).filter { label in
      confusion[label].contains { $0 > 0 } || confusion.contains { $0[label] > 0 }
    }
    return present.isEmpty ? 0 : present.reduce(0) { $0 + metric($1) } / Double(present.count)
  }

  private static func ratio(_ a: Int, _ b: Int) -> Double { b == 0 ? 0 : Double(a) / Double(b) }
}

/// What a language model makes of a text, summed over batches of any size.
public struct Perplexity: Sendable, Equatable {
  /// The sum of the tokens' negative log-likelihoods, in nats.
  public private(set) var sum = 0.0
  public private(set) var count = 0

  public init() {}

  /// Adds `count` tokens of mean cross-entropy `loss`.
  public mutating func add(loss: Double, count: Int) {
    require(count >= 0, "Perplexity: \(count) tokens")
    guard count > 0 else { return }
    sum += loss * Double(count)
    self.count += count
  }

  /// The mean cross-entropy per token, in nats; NaN before the first token.
  public var loss: Double { sum / Double(count) }
  /// exp(loss): among how many equally likely tokens the model chooses.
  public var perplexity: Double { exp(loss) }
}
