#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Beam search: keeps the `width` most probable beginnings, and ends with the best finished sequence.
///
/// Sequences of different lengths are compared by log P(Y) / lp(Y) with lp(Y) = ((5 + |Y|) / 6)^alpha (Wu et al. 2016,
/// equation 14; Vaswani et al. 2017, section 6.1, uses width 4 and alpha 0.6).
public struct BeamSearch: Sendable {
  public var width: Int
  /// alpha: 0 compares sums of log-probabilities, which prefers short sequences.
  public var lengthPenalty: Double
  /// The largest number of tokens of a result, without the end token.
  public var maximumLength: Int

  public init(width: Int = 4, lengthPenalty: Double = 0.6, maximumLength: Int) {
    self.width = width
    self.lengthPenalty = lengthPenalty
    self.maximumLength = maximumLength
  }

  /// A sequence and how probable it is.
  public struct Hypothesis: Sendable, Equatable {
    /// Without the end token.
    public let tokens: [Int32]
    /// log P(Y), and that over lp(Y).
    public let logProbability: Double, score: Double
    /// Whether it ended by itself rather than at the largest length.
    public let isFinished: Bool
  }

  /// Runs the search; results best first, at most `width`.
  ///
  /// - Parameters:
  ///   - end: the token that finishes a sequence.
  ///   - next: the log-probabilities of the next token after each beam. `parents[i]` is the place, in the previous
  ///     call, of the beam that beam i continues (0 for all at first), `last[i]` the token appended to it, and
  ///     `beams[i]` all its tokens.
  public func run(
    end: Int32, next: (_ beams: [[Int32]], _ parents: [Int]) throws -> [[Double]]
  ) rethrows -> [Hypothesis] {
    struct Beam {
      var tokens: [Int32], logProbability: Double, parent: Int
    }
    var beams = [Beam(tokens: [], logProbability: 0, parent: 0)]
    var finished: [Hypothesis] = []
    for length in 0..<maximumLength {
      let scores = try next(beams.map(\.tokens), beams.map(\.parent))
      var continued: [Beam] = []
      var ended: [Hypothesis] = []
      for (index, beam) in beams.enumerated() {
        // Beyond its own best width + 1 tokens a beam cannot contribute.
        for token in best(scores[index], width + 1) {
          let total = beam.logProbability + scores[index][Int(token)]
          if token == end {
            ended.append(hypothesis(beam.tokens, total, isFinished: true))
          } else {
            continued.append(Beam(tokens: beam.tokens + [token], logProbability: total, parent: index))
          }
        }
      }
      continued.sort { $0.logProbability > $1.logProbability }
      // An end counts only if it would have been among the best `width` continuations.
      let threshold = continued.count >= width ? continued[width - 1].logProbability : -.infinity
      finished += ended.filter { $0.logProbability >= threshold }
      finished.sort { $0.score > $1.score }
      finished.removeLast(max(0, finished.count - width))
      beams = Array(continued.prefix(width))
      guard let leader = beams.first else { break }
      // No continuation can still win: its sum only falls, and the penalty grows at most to the largest length.
      let bound = leader.logProbability / penalty(lengthPenalty > 0 ? maximumLength : length + 2)
      if finished.count == width, finished[width - 1].score >= bound { return finished }
    }
    let open = beams.map { hypothesis($0.tokens, $0.logProbability, isFinished: false) }
    return Array(
      (finished + (finished.count < width ? open : [])).sorted { $0.score > $1.score }.prefix(width))
  }

  private func penalty(_ length: Int) -> Double { pow(Double(5 + length) / 6, lengthPenalty) }

  /// |Y| counts the end token, as the model had to predict it.
  private func hypothesis(_ tokens: [Int32], _ logProbability: Double, isFinished: Bool) -> Hypothesis {
    let length = tokens.count + (isFinished ? 1 : 0)
    return Hypothesis(
      tokens: tokens, logProbability: logProbability, score: logProbability / penalty(length),
      isFinished: isFinished)
  }

  private func best(_ scores: [Double], _ count: Int) -> [Int32] {
    mostProbable(scores.map(Float.init), count)
  }
}
