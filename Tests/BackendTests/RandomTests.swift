import KalsaeReferenceBackend
import KalsaeTensors
import Testing

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

@Suite struct RandomTests {
  private func values(_ tensor: Tensor) -> [Double] {
    var interpreter = ReferenceInterpreter()
    return interpreter.value(tensor).values
  }

  /// Mean of `f` over the numbers.
  private func mean(_ numbers: [Double], _ f: (Double) -> Double = { $0 }) -> Double {
    numbers.reduce(0) { $0 + f($1) } / Double(numbers.count)
  }

  private let key = RandomKey(seed: 11, step: 5)
  private let n = 20_000

  @Test func uniformNumbers() {
    let u = values(.uniform([n], key: key))
    #expect(u.allSatisfy { $0 >= 0 && $0 < 1 })
    #expect(u.allSatisfy { $0 == Double(Float($0)) }, "exact in float32")
    #expect(abs(mean(u) - 0.5) < 4 * 0.2887 / Double(n).squareRoot())
    #expect(abs(mean(u) { $0 * $0 } - 1.0 / 3) < 0.01)
    let shifted = values(.uniform([n], -2, 6, key: key))
    #expect(shifted.allSatisfy { $0 >= -2 && $0 < 6 })
    #expect(abs(mean(shifted) - 2) < 0.1)
  }

  @Test func normalNumbers() {
    let z = values(.normal([n], key: key))
    let tolerance = 4 / Double(n).squareRoot()
    #expect(abs(mean(z)) < tolerance)
    #expect(abs(mean(z) { $0 * $0 } - 1) < 1.5 * tolerance)
    #expect(abs(mean(z) { $0 * $0 * $0 }) < 4 * tolerance)
    #expect(abs(mean(z) { $0 * $0 * $0 * $0 } - 3) < 10 * tolerance)
    // Kolmogorov-Smirnov: the 99.9 % quantile is 1.95 / sqrt(n).
    let sorted = z.sorted()
    let distance = sorted.indices.map {
      abs(Double($0) / Double(n) - 0.5 * (1 + erf(sorted[$0] / 2.squareRoot())))
    }.max()!
    #expect(distance < 1.95 / Double(n).squareRoot())
    // Neighbours come from one pair.
    #expect(abs(mean(stride(from: 0, to: n, by: 2).map { z[$0] * z[$0 + 1] })) < 2 * tolerance)
  }

  @Test(arguments: [0.0, 0.1, 0.5, 0.9, 1.0])
  func truthValues(_ probability: Double) {
    let b = values(.bernoulli([n], probability: probability, key: key))
    let tolerance = 4 * (probability * (1 - probability) / Double(n)).squareRoot()
    #expect(abs(mean(b) - probability) <= tolerance)
  }

  @Test func aNumberDependsOnItsPlaceOnly() {
    let long = values(.normal([1000], key: key))
    #expect(values(.normal([7], key: key)) == Array(long[..<7]))
    #expect(values(.normal([10, 10], key: key)) == Array(long[..<100]))
    #expect(values(.normal([1000], key: key)) == long)
  }

  @Test func keysStepsAndStreamsAreIndependent() {
    let samples = [
      values(.normal([n], key: key)), values(.normal([n], key: RandomKey(seed: 12, step: 5))),
      values(.normal([n], key: RandomKey(seed: 11, step: 6))), values(.normal([n], key: key, stream: 1)),
    ]
    for a in samples.indices {
      for b in samples.indices where b < a {
        let correlation = mean(zip(samples[a], samples[b]).map(*))
        #expect(abs(correlation) < 4 / Double(n).squareRoot(), "\(a) and \(b)")
        #expect(Set(samples[a]).intersection(samples[b]).count < 10)
      }
    }
  }

  @Test func dropoutKeepsTheMean() {
    let x = Tensor.ones([n])
    Mode.training(key) {
      let y = dropout(x, probability: 0.3)
      let kept = values(y)
      #expect(Set(kept.map { Float($0) }) == [0, Float(1 / 0.7)])
      #expect(abs(mean(kept) { $0 == 0 ? 1 : 0 } - 0.3) < 4 * (0.21 / Double(n)).squareRoot())
      #expect(
        values(gradients(of: y.sum(), withRespectTo: [x])[0]) == kept, "the same elements pass backwards")
      #expect(values(dropout(x, probability: 0.3)) != kept, "another call, another mask")
    }
    let again = Mode.training(key) { values(dropout(x, probability: 0.3)) }
    let first = Mode.training(key) { values(dropout(x, probability: 0.3)) }
    #expect(again == first)
  }
}
