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
  ///     call, of the beam that beam i continues (0 for all at first), and `beams[i]` all its tokens.
  public func run(
    end: Int32, next: (_ beams: [[Int32]], _ parents: [Int]) throws -> [[Double]]
  ) rethrows -> [Hypothesis] {
    var search = Progress(self, end: end)
    while !search.isOver {
      let scores = try next(search.beams.map(\.tokens), search.beams.map(\.parent))
      search.advance(scores.map { row in search.best(row.map(Float.init)) { row[$0] } })
    }
    return search.results
  }

  /// A search under way: what several searches that share a model's batch are made of.
  struct Progress {
    struct Beam {
      var tokens: [Int32], logProbability: Double, parent: Int
    }
    typealias Candidate = (token: Int32, logProbability: Double)

    private let search: BeamSearch, end: Int32
    /// The beginnings that are kept, the most probable one first.
    private(set) var beams = [Beam(tokens: [], logProbability: 0, parent: 0)]
    /// Whether nothing better can be found, or the largest length is reached.
    private(set) var isOver: Bool
    private var finished: [Hypothesis] = []

    init(_ search: BeamSearch, end: Int32) {
      (self.search, self.end) = (search, end)
      isOver = search.maximumLength < 1
    }

    /// The candidates after a beam whose next token has these logits; beyond its own best width + 1 tokens a beam cannot
    /// contribute.
    func best(_ logits: [Float], _ logProbability: (Int) -> Double) -> [Candidate] {
      mostProbable(logits, search.width + 1).map { ($0, logProbability(Int($0))) }
    }

    /// Continues each beam by its candidates.
    mutating func advance(_ candidates: [[Candidate]]) {
      let width = search.width
      var continued: [Beam] = []
      var ended: [Hypothesis] = []
      for (index, beam) in beams.enumerated() {
        for (token, logProbability) in candidates[index] {
          let total = beam.logProbability + logProbability
          if token == end {
            ended.append(search.hypothesis(beam.tokens, total, isFinished: true))
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
      let length = beams[0].tokens.count + 1
      beams = Array(continued.prefix(width))
      isOver = length == search.maximumLength || beams.isEmpty || isDecided(length)
    }

    /// Whether no continuation can still win: its sum only falls, and the penalty grows at most to the largest length.
    private func isDecided(_ length: Int) -> Bool {
      let longest = search.lengthPenalty > 0 ? search.maximumLength : length + 1
      return finished.count == search.width
        && finished[search.width - 1].score >= beams[0].logProbability / search.penalty(longest)
    }

    /// Best first; those that did not end only where too few did.
    var results: [Hypothesis] {
      guard finished.count < search.width else { return finished }
      let open = beams.map { search.hypothesis($0.tokens, $0.logProbability, isFinished: false) }
      return Array((finished + open).sorted { $0.score > $1.score }.prefix(search.width))
    }
  }

  private func penalty(_ length: Int) -> Double { pow(Double(5 + length) / 6, lengthPenalty) }

  /// |Y| counts the end token, as the model had to predict it.
  private func hypothesis(_ tokens: [Int32], _ logProbability: Double, isFinished: Bool) -> Hypothesis {
    let length = tokens.count + (isFinished ? 1 : 0)
    return Hypothesis(
      tokens: tokens, logProbability: logProbability, score: logProbability / penalty(length),
      isFinished: isFinished)
  }
}
