import KalsaeTensors

/// The character n-gram F-score of a corpus (Popović 2015), equal to sacrebleu's default, chrF2.
///
/// Characters are Unicode scalars, white space is left out, n = 1 to 6, recall counts beta^2 = 4 times as much as
/// precision. Orders for which hypothesis or reference has no n-gram at all do not take part in the averages.
public struct ChrF: Sendable, Equatable {
  /// 0 to 100.
  public let score: Double
  /// How many references each hypothesis was compared with.
  public let referenceCount: Int

  static let order = 6
  private static let beta = 2.0

  /// The score of `hypotheses`; each element of `references` is one translation of the whole corpus. Of several
  /// references, the one that gives a sentence its highest score counts.
  public init(_ hypotheses: [String], references: [[String]]) {
    requireParallel("ChrF", hypotheses, references)
    var sum = Statistics()
    for (row, hypothesis) in hypotheses.enumerated() {
      let counts = Self.nGrams(hypothesis)
      var best: Statistics?
      for reference in references {
        let statistics = Statistics(counts, Self.nGrams(reference[row]))
        if best.map({ statistics.score > $0.score }) ?? true { best = statistics }
      }
      sum.add(best!)
    }
    (score, referenceCount) = (sum.score, references.count)
  }

  /// The score of `hypotheses` with one reference each.
  public init(_ hypotheses: [String], reference: [String]) {
    self.init(hypotheses, references: [reference])
  }

  /// Names the settings as sacrebleu does, with the version of it that the scores were compared with.
  public var signature: String {
    "nrefs:\(referenceCount)|case:mixed|eff:yes|nc:6|nw:0|space:no|version:\(comparedVersion)"
  }

  private typealias Counts = [ArraySlice<Unicode.Scalar>: Int]

  private static func nGrams(_ text: String) -> [Counts] {
    let characters = Scalars(text).filter { !$0.isPythonSpace }
    return (1...order).map { countedNGrams(characters, $0) }
  }

  /// For each order the n-grams of the hypothesis, of the reference, and in both.
  private struct Statistics {
    var hypothesis = [Int](repeating: 0, count: ChrF.order)
    var reference = [Int](repeating: 0, count: ChrF.order)
    var both = [Int](repeating: 0, count: ChrF.order)

    init() {}

    init(_ hypothesis: [Counts], _ reference: [Counts]) {
      for n in 0..<ChrF.order {
        // A hypothesis is not blamed for n-grams longer than its reference.
        self.hypothesis[n] = reference[n].isEmpty ? 0 : hypothesis[n].values.reduce(0, +)
        self.reference[n] = reference[n].values.reduce(0, +)
        both[n] = matches(hypothesis[n], reference[n])
      }
    }

    mutating func add(_ other: Statistics) {
      for n in 0..<ChrF.order {
        hypothesis[n] += other.hypothesis[n]
        reference[n] += other.reference[n]
        both[n] += other.both[n]
      }
    }

    /// (1 + beta^2) P R / (beta^2 P + R), with P and R averaged over the orders, in percent.
    var score: Double {
      let orders = (0..<ChrF.order).filter { hypothesis[$0] > 0 && reference[$0] > 0 }
      guard !orders.isEmpty else { return 0 }
      var precision = 0.0, recall = 0.0
      for n in orders {
        precision += Double(both[n]) / Double(hypothesis[n])
        recall += Double(both[n]) / Double(reference[n])
      }
      precision /= Double(orders.count)
      recall /= Double(orders.count)
      guard precision + recall > 0 else { return 0 }
      let factor = ChrF.beta * ChrF.beta
      return 100 * (1 + factor) * precision * recall / (factor * precision + recall)
    }
  }
}

extension ChrF: CustomStringConvertible {
  public var description: String { "chrF2 = \(fixed(score, 2))" }
}
