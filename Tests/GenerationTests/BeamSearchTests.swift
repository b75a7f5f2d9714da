import Foundation
import KalsaeGeneration
import Testing

@Suite struct BeamSearchTests {
  /// A language of three tokens and an end whose probabilities depend on the last token and the position.
  static func logProbabilities(_ tokens: [Int32]) -> [Double] {
    let last = tokens.last.map { Double($0) + 1 } ?? 0
    let weights = (0..<4).map { 1 + sin(last * 1.7 + Double($0) * 2.3 + Double(tokens.count) * 0.9) }
    let total = weights.reduce(0, +)
    return weights.map { log($0 / total) }
  }
  static let end: Int32 = 3

  /// Every sequence up to a length, with its score.
  static func all(_ length: Int, _ alpha: Double) -> [(tokens: [Int32], score: Double)] {
    var result: [(tokens: [Int32], score: Double)] = []
    func grow(_ tokens: [Int32], _ sum: Double) {
      let scores = logProbabilities(tokens)
      func score(_ sum: Double, _ count: Int) -> Double { sum / pow(Double(5 + count) / 6, alpha) }
      if tokens.count == length {
        result.append((tokens, score(sum, length)))
        return
      }
      result.append((tokens, score(sum + scores[3], tokens.count + 1)))
      for token in 0..<3 { grow(tokens + [Int32(token)], sum + scores[token]) }
    }
    grow([], 0)
    return result.sorted { $0.score > $1.score }
  }

  @Test(arguments: [0, 0.6, 1.5])
  func aWideBeamFindsTheBest(_ alpha: Double) {
    let exact = Self.all(5, alpha)
    let search = BeamSearch(width: 200, lengthPenalty: alpha, maximumLength: 5)
    let found = search.run(end: Self.end) { beams, _ in beams.map(Self.logProbabilities) }
    for (a, b) in zip(found.prefix(10), exact) {
      #expect(a.tokens == b.tokens)
      #expect(abs(a.score - b.score) < 1e-12)
    }
  }

  @Test func aBeamOfOneIsGreedy() {
    let search = BeamSearch(width: 1, lengthPenalty: 0, maximumLength: 6)
    let found = search.run(end: Self.end) { beams, _ in beams.map(Self.logProbabilities) }
    var tokens: [Int32] = []
    while tokens.count < 6 {
      let scores = Self.logProbabilities(tokens)
      let token = Int32(scores.indices.max { scores[$0] < scores[$1] }!)
      if token == Self.end { break }
      tokens.append(token)
    }
    #expect(found.count == 1 && found[0].tokens == tokens)
  }

  @Test func parentsSayWhichBeamIsContinued() {
    var before: [[Int32]] = [[]]
    let search = BeamSearch(width: 3, lengthPenalty: 0.6, maximumLength: 7)
    _ = search.run(end: Self.end) { beams, parents in
      for (beam, parent) in zip(beams, parents) where !beam.isEmpty {
        #expect(Array(beam.dropLast()) == before[parent])
      }
      before = beams
      return beams.map(Self.logProbabilities)
    }
  }

  @Test func stopStringsAreNeverShown() {
    for pieces in [["ab", "cST", "OPd"], ["abcSTOPd"], ["a", "b", "c", "S", "T", "O", "P", "d"]] {
      var stops = StopStrings(["STOP", ""])
      let shown = pieces.map { stops.add($0) }.joined()
      #expect(shown == "abc" && stops.isStopped)
    }
    var none = StopStrings(["끝."])
    #expect(none.add("가끝") == "가" && none.add("까지") == "끝까지")
    #expect(none.add("끝") == "" && none.finish() == "끝" && !none.isStopped)
  }
}
