#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// How the next token is chosen from the logits.
///
/// The filters apply in this order, as in transformers: repetition penalty, temperature, top-k, top-p, min-p.
public struct SamplingPolicy: Sendable, Equatable {
  /// Divides the logits; 0 takes the most probable token always.
  public var temperature = 1.0
  /// Only the k most probable tokens (Fan et al. 2018, section 5.4).
  public var topK: Int? = nil
  /// Only the fewest most probable tokens that together have this probability (Holtzman et al. 2020, section 3.1).
  public var topP: Double? = nil
  /// Only tokens with at least this share of the most probable token's probability (Nguyen et al. 2024).
  public var minP: Double? = nil
  /// Makes tokens that occurred before less probable where above 1 (Keskar et al. 2019, section 4.1).
  public var repetitionPenalty = 1.0

  public init() {}

  /// The most probable token, always.
  public static var greedy: SamplingPolicy {
    var policy = SamplingPolicy()
    policy.temperature = 0
    return policy
  }

  /// The first value without meaning: its name and what it should be.
  public var problem: (key: String, reason: String)? {
    if !(temperature >= 0 && temperature.isFinite) {
      return ("temperature", "must be 0 (greedy) or more, not \(temperature)")
    }
    if let topK, topK < 1 { return ("top_k", "must be at least 1, not \(topK)") }
    if let topP, !(topP > 0 && topP <= 1) { return ("top_p", "must be in (0, 1], not \(topP)") }
    if let minP, !(0...1).contains(minP) { return ("min_p", "must be in [0, 1], not \(minP)") }
    if !(repetitionPenalty > 0 && repetitionPenalty.isFinite) {
      return ("repetition_penalty", "must be positive, not \(repetitionPenalty)")
    }
    return nil
  }

  /// The tokens that may come next with their probabilities, most probable first.
  ///
  /// - Parameters:
  ///   - logits: one number for each token of the vocabulary.
  ///   - seen: the tokens so far, for the repetition penalty.
  public func candidates(_ logits: [Float], seen: some Sequence<Int32>) -> [(
    token: Int32, probability: Double
  )] {
    var logits = logits
    if repetitionPenalty != 1 { penalizeRepetition(&logits, seen) }
    guard temperature > 0 else {
      return [(argmax(logits), 1)]
    }
    var order = mostProbable(logits, topK ?? logits.count)
    let best = Double(logits[Int(order[0])])
    var weights = order.map { exp((Double(logits[Int($0)]) - best) / temperature) }
    func keep(_ count: Int) {
      order.removeLast(order.count - count)
      weights.removeLast(weights.count - count)
    }
    if let topP, topP < 1 {
      let total = weights.reduce(0, +)
      var sum = 0.0
      // The token that reaches the threshold is kept.
      keep(
        weights.firstIndex {
          sum += $0 / total; return sum >= topP
        }.map { $0 + 1 } ?? weights.count)
    }
    if let minP { keep(weights.firstIndex { $0 < minP } ?? weights.count) }
    let total = weights.reduce(0, +)
    return zip(order, weights).map { ($0, $1 / total) }
  }

  /// Draws the next token with a uniform number in [0, 1).
  public func sample(_ logits: [Float], seen: some Sequence<Int32>, uniform: Double) -> Int32 {
    let candidates = candidates(logits, seen: seen)
    var left = uniform
    for (token, probability) in candidates {
      left -= probability
      if left < 0 { return token }
    }
    return candidates.last!.token
  }

  /// A positive logit is divided by the penalty, a negative one multiplied, once for each token.
  private func penalizeRepetition(_ logits: inout [Float], _ seen: some Sequence<Int32>) {
    let penalty = Float(repetitionPenalty)
    for token in Set(seen) where logits.indices.contains(Int(token)) {
      let logit = logits[Int(token)]
      logits[Int(token)] = logit > 0 ? logit / penalty : logit * penalty
    }
  }
}

/// The first token with the largest logit.
public func argmax(_ logits: [Float]) -> Int32 {
  var tops = SIMD16<Float>(repeating: -.infinity)
  let rest = logits.withUnsafeBytes { bytes in
    let blocks = logits.count / 16
    for block in 0..<blocks {
      let values = bytes.loadUnaligned(fromByteOffset: 64 * block, as: SIMD16<Float>.self)
      tops.replace(with: values, where: values .> tops)
    }
    return 16 * blocks
  }
  let top = logits[rest...].reduce(tops.max()) { $1 > $0 ? $1 : $0 }
  return Int32(logits.firstIndex(of: top) ?? 0)
}

/// The `count` tokens with the largest logits, largest first; of equal ones the smaller token first.
func mostProbable(_ logits: [Float], _ count: Int) -> [Int32] {
  func isBefore(_ a: Int32, _ b: Int32) -> Bool {
    let (x, y) = (logits[Int(a)], logits[Int(b)])
    return x != y ? x > y : a < b
  }
  guard count < logits.count / 8 else {
    return Array((0..<Int32(logits.count)).sorted(by: isBefore).prefix(count))
  }
  // A heap with the worst kept token at its root: few tokens of a large vocabulary ever enter it.
  var heap: [Int32] = []
  heap.reserveCapacity(count)
  func sift(_ heap: inout [Int32], _ start: Int) {
    var parent = start
    while true {
      var worst = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < heap.count && isBefore(heap[worst], heap[child]) {
        worst = child
      }
      guard worst != parent else { return }
      heap.swapAt(parent, worst)
      parent = worst
    }
  }
  for token in 0..<Int32(logits.count) {
    if heap.count < count {
      heap.append(token)
      if heap.count == count {
        for parent in stride(from: count / 2 - 1, through: 0, by: -1) { sift(&heap, parent) }
      }
    } else if isBefore(token, heap[0]) {
      heap[0] = token
      sift(&heap, 0)
    }
  }
  return heap.sorted(by: isBefore)
}

/// log softmax of one row of logits, in Double.
public func logProbabilities(_ logits: [Float]) -> [Double] {
  let best = Double(logits.max() ?? 0)
  let logSum = log(logits.reduce(0.0) { $0 + exp(Double($1) - best) }) + best
  return logits.map { Double($0) - logSum }
}
