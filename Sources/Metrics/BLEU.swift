import KalsaeTensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The BLEU score of a corpus (Papineni et al. 2002), equal to sacrebleu's with its default settings.
///
/// Mixed case, tokenization 13a, n-grams up to 4, the exponential smoothing of NIST (Chen and Cherry 2014, method 3):
///
///     BLEU = BP exp(1/4 sum_n log p_n),   BP = min(1, exp(1 - reference length / hypothesis length))
///
/// Give detokenized text; a corpus whose hypotheses hold no 4-gram scores 0.
public struct BLEU: Sendable, Equatable {
  /// 0 to 100.
  public let score: Double
  /// Percent of the hypotheses' n-grams, n = 1 to 4, that a reference has too; smoothed.
  public let precisions: [Double]
  /// The factor that punishes short hypotheses, 0 to 1.
  public let brevityPenalty: Double
  /// Numbers of matching n-grams and of all n-grams in the hypotheses, n = 1 to 4.
  public let matches, totals: [Int]
  /// Tokens of the hypotheses, and of the references closest to them in length.
  public let hypothesisLength, referenceLength: Int
  /// How many references each hypothesis was compared with.
  public let referenceCount: Int

  /// The score of `hypotheses`; each element of `references` is one translation of the whole corpus.
  public init(_ hypotheses: [String], references: [[String]]) {
    requireParallel("BLEU", hypotheses, references)
    var statistics = Statistics()
    for (row, hypothesis) in hypotheses.enumerated() {
      statistics.add(hypothesis, references.map { $0[row] })
    }
    self.init(statistics, referenceCount: references.count)
  }

  /// The score of `hypotheses` with one reference each.
  public init(_ hypotheses: [String], reference: [String]) {
    self.init(hypotheses, references: [reference])
  }

  /// Names the settings as sacrebleu does, with the version of it that the scores were compared with.
  public var signature: String {
    "nrefs:\(referenceCount)|case:mixed|eff:no|tok:13a|smooth:exp|version:\(comparedVersion)"
  }

  static let order = 4

  private struct Statistics {
    var matches = [Int](repeating: 0, count: BLEU.order), totals = [Int](repeating: 0, count: BLEU.order)
    var hypothesisLength = 0, referenceLength = 0

    mutating func add(_ hypothesis: String, _ references: [String]) {
      let tokens = MTEvalTokenizer.tokens(hypothesis)
      let sources = references.map(MTEvalTokenizer.tokens)
      // The reference of the closest length, the shorter of two.
      let closest = sources.map(\.count).min {
        let (a, b) = (abs($0 - tokens.count), abs($1 - tokens.count))
        return a == b ? $0 < $1 : a < b
      }
      hypothesisLength += tokens.count
      referenceLength += closest!
      for n in 1...BLEU.order {
        let counts = countedNGrams(tokens, n)
        // Each n-gram counts as often as it occurs in the reference that has most of it.
        let known = sources.map { countedNGrams($0, n) }.reduce(into: [:]) {
          $0.merge($1, uniquingKeysWith: max)
        }
        totals[n - 1] += max(tokens.count - n + 1, 0)
        matches[n - 1] += KalsaeMetrics.matches(counts, known)
      }
    }
  }

  private init(_ statistics: Statistics, referenceCount: Int) {
    (matches, totals) = (statistics.matches, statistics.totals)
    hypothesisLength = statistics.hypothesisLength
    referenceLength = statistics.referenceLength
    self.referenceCount = referenceCount
    let (hypothesis, reference) = (Double(hypothesisLength), Double(referenceLength))
    brevityPenalty =
      hypothesisLength >= referenceLength
      ? 1 : hypothesisLength > 0 ? exp(1 - reference / hypothesis) : 0
    var precisions = [Double](repeating: 0, count: Self.order)
    guard matches.contains(where: { $0 > 0 }) else {
      (self.precisions, score) = (precisions, 0)
      return
    }
    var smoothing = 1.0
    for n in 0..<Self.order where totals[n] > 0 {
      if matches[n] == 0 { smoothing *= 2 }
      precisions[n] = 100 * (matches[n] > 0 ? Double(matches[n]) : 1 / smoothing) / Double(totals[n])
    }
    self.precisions = precisions
    score =
      precisions.contains(0)
      ? 0 : brevityPenalty * exp(precisions.reduce(0) { $0 + log($1) } / Double(Self.order))
  }
}

extension BLEU: CustomStringConvertible {
  /// As sacrebleu prints it: score, precisions, brevity penalty, ratio and lengths.
  public var description: String {
    let ratio = referenceLength > 0 ? Double(hypothesisLength) / Double(referenceLength) : 0
    let parts = precisions.map { fixed($0, 1) }.joined(separator: "/")
    return "BLEU = \(fixed(score, 2)) \(parts) (BP = \(fixed(brevityPenalty, 3)) ratio = \(fixed(ratio, 3)) "
      + "hyp_len = \(hypothesisLength) ref_len = \(referenceLength))"
  }
}

/// The release of sacrebleu that the fixtures of the tests come from.
let comparedVersion = "2.6.0"

func requireParallel(_ name: String, _ hypotheses: [String], _ references: [[String]]) {
  require(!references.isEmpty, "\(name): there are no references")
  for reference in references {
    require(
      reference.count == hypotheses.count,
      "\(name): \(hypotheses.count) hypotheses, but \(reference.count) references")
  }
}

/// A number with a fixed count of decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
  var text = [CChar](repeating: 0, count: 64)
  withVaList([Int32(decimals), value]) { _ = vsnprintf(&text, text.count, "%.*f", $0) }
  return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
}
