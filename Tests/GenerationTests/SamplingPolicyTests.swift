import Foundation
import KalsaeGeneration
import Testing

/// A setting, and the probabilities that transformers' logits processors leave.
struct SamplingCase: Decodable {
  let logits: [Float]
  let seen: [Int32]
  let setting: [String: Double]
  let kept: [String: Double]

  static let all: [SamplingCase] = {
    let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/sampling/cases.json").path
    return FileManager.default.contents(atPath: path)
      .flatMap { try? JSONDecoder().decode([SamplingCase].self, from: $0) } ?? []
  }()

  var policy: SamplingPolicy {
    var policy = SamplingPolicy()
    policy.temperature = setting["temperature"] ?? 1
    policy.topK = setting["top_k"].map { Int($0) }
    policy.topP = setting["top_p"]
    policy.minP = setting["min_p"]
    policy.repetitionPenalty = setting["repetition_penalty"] ?? 1
    return policy
  }
}

@Suite struct SamplingPolicyTests {
  @Test func theSameTokensAreLeftAsInTransformers() {
    #expect(SamplingCase.all.count == 30)
    for sample in SamplingCase.all {
      let left = sample.policy.candidates(sample.logits, seen: sample.seen)
      #expect(left.count == sample.kept.count, "\(sample.setting)")
      for (token, probability) in left {
        let expected = sample.kept["\(token)"] ?? -1
        #expect(abs(probability - expected) <= 1e-5 * expected, "\(sample.setting), token \(token)")
      }
      #expect(zip(left, left.dropFirst()).allSatisfy { $0.probability >= $1.probability })
    }
  }

  @Test func greedyTakesTheFirstLargest() {
    let logits: [Float] = [0, 3, -1, 3, 2]
    #expect(SamplingPolicy.greedy.sample(logits, seen: [], uniform: 0.99) == 1)
    #expect(argmax(logits) == 1)
  }

  @Test func drawsFollowTheProbabilities() {
    let logits: [Float] = [0, 1, 2, -.infinity, 0.5]
    let policy = SamplingPolicy(), n = 20_000
    var counts = [Double](repeating: 0, count: 5)
    for i in 0..<n {
      counts[Int(policy.sample(logits, seen: [], uniform: (Double(i) + 0.5) / Double(n)))] += 1 / Double(n)
    }
    let expected = logProbabilities(logits).map { exp($0) }
    for (a, b) in zip(counts, expected) { #expect(abs(a - b) < 1e-4) }
  }

  @Test func theLargestOfManyAreFound() {
    let logits = (0..<5000).map { Float(($0 * 7919) % 5003) }
    var policy = SamplingPolicy()
    policy.topK = 9
    let expected = logits.indices.sorted { logits[$0] > logits[$1] }.prefix(9).map { Int32($0) }
    #expect(policy.candidates(logits, seen: []).map(\.token) == expected)
  }

  @Test func valuesWithoutMeaningAreNamed() {
    func problem(_ change: (inout SamplingPolicy) -> Void) -> String? {
      var policy = SamplingPolicy()
      change(&policy)
      return policy.problem?.key
    }
    #expect(problem { _ in } == nil)
    #expect(problem { $0.temperature = -1 } == "temperature")
    #expect(problem { $0.topK = 0 } == "top_k")
    #expect(problem { $0.topP = 7 } == "top_p")
    #expect(problem { $0.minP = .nan } == "min_p")
    #expect(problem { $0.repetitionPenalty = 0 } == "repetition_penalty")
  }
}
