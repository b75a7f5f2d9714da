import KalsaeReferenceBackend
import KalsaeTensors
import Testing

/// Exact values and corner cases that samples do not reach.
@Suite struct FunctionTests {
  private func values(_ tensor: Tensor) -> [Double] {
    var interpreter = ReferenceInterpreter()
    return interpreter.value(tensor).values
  }

  private func gradient(_ x: Tensor, _ y: Tensor) -> [Double] {
    values(gradients(of: y.sum(), withRespectTo: [x])[0])
  }

  private func vector(_ values: Double...) -> Tensor { Tensor(values.map { Float($0) }) }

  @Test func powersOfZeroAndNegatives() {
    let base = vector(0, 0, 0, -2, 2)
    #expect(gradient(base, pow(base, vector(2, 1, 0, 3, 0))) == [0, 1, 0, 12, 0])
    let exponent = vector(2, 1, 0, 3)
    #expect(gradient(exponent, pow(vector(0, 0, 0, -2), exponent)) == [0, 0, 0, 0])
  }

  @Test func tiesShareTheGradient() {
    let a = vector(1, 2, 3, .infinity, -.infinity)
    let b = vector(1, 3, 2, .infinity, -.infinity)
    #expect(gradient(a, maximum(a, b)) == [0.5, 0, 1, 0.5, 0.5])
    #expect(gradient(b, maximum(a, b)) == [0.5, 1, 0, 0.5, 0.5])
    #expect(gradient(a, minimum(a, b)) == [0.5, 1, 0, 0.5, 0.5])
    let x = Tensor([3, 1, 3, 0] as [Float], [2, 2])
    #expect(gradient(x, x.max()) == [0.5, 0, 0.5, 0])
    #expect(gradient(x, x.max([0])) == [0.5, 1, 0.5, 0])
    #expect(gradient(x, x.min([1])) == [0, 1, 0, 1])
  }

  @Test func productsWithZerosHaveExactGradients() {
    let one = vector(2, 0, 3)
    #expect(gradient(one, one.product()) == [0, 6, 0])
    let two = vector(0, 5, 0)
    #expect(gradient(two, two.product()) == [0, 0, 0])
    let rows = Tensor([0, 2, 3, 4] as [Float], [2, 2])
    #expect(gradient(rows, rows.product([1])) == [2, 0, 4, 3])
  }

  @Test func gradientsOfWhatDoesNotDependAreZero() {
    let x = vector(1, 2), y = vector(3)
    #expect(values(gradients(of: y.sum(), withRespectTo: [x])[0]) == [0, 0])
    #expect(gradient(x, stopGradient(x) * x) == [1, 2])
    #expect(gradient(x, floor(x) + round(x) + sign(x)) == [0, 0])
    #expect(gradient(x, (x .> 1.5).cast(to: .float32)) == [0, 0])
  }

  @Test func gradientsByIntermediatesAndByTheResultItself() {
    let x = vector(1, 2)
    let middle = x * x
    let y = (middle * 3).sum()
    #expect(values(gradients(of: y, withRespectTo: [middle])[0]) == [3, 3])
    #expect(values(gradients(of: y, withRespectTo: [y])[0]) == [1])
    let both = gradients(of: y, withRespectTo: [x, middle]).map(values)
    #expect(both == [[6, 12], [3, 3]])
  }

  @Test func broadcastAxesAreSummedOnce() {
    let x = Tensor([1, 2, 3] as [Float], [3, 1]), y = vector(10, 20)
    #expect(gradient(x, x * y) == [30, 30, 30])
    #expect(gradient(y, x * y) == [6, 6])
    let scalar = Tensor(2)
    #expect(gradient(scalar, scalar * x * y) == [180])
  }

  @Test func valueAndGradientGivesBoth() {
    let x = vector(1, -2, 3)
    let (value, slopes) = valueAndGradient(withRespectTo: [x]) { square(x).sum() }
    #expect(values(value) == [14])
    #expect(values(slopes[0]) == [2, -4, 6])
  }

  @Test func vectorJacobianProductsOfSeveralOutputs() {
    let x = vector(1, 2)
    let share = vectorJacobianProduct(
      of: [x * 2, x * x], [vector(1, 1), vector(10, 10)], withRespectTo: [x])
    #expect(values(share[0]) == [22, 42])
  }

  @Test func sortingIsStableAndPutsNaNLast() {
    let x = vector(2, .nan, 1, 2, 1)
    #expect(values(x.sorted().indices) == [2, 4, 0, 3, 1])
    #expect(values(x.sorted(descending: true).indices) == [0, 3, 2, 4, 1])
    let (top, places) = vector(5, 1, 7, 3).topK(2)
    #expect(values(top) == [7, 5])
    #expect(values(places) == [2, 0])
    #expect(values(vector(1, 3, 3).argMax()) == [1])
    #expect(values(vector(2, 1, 1).argMin()) == [1])
  }

  @Test func integersDivideAndWrapAsDocumented() {
    let a = Tensor([7, -7, 7, -7, 5] as [Int32]), b = Tensor([2, 2, -2, -2, 0] as [Int32])
    #expect(values(a / b) == [3, -3, -3, 3, 0])
    #expect(values(remainder(a, b)) == [1, 1, -1, -1, 0])
    #expect(values(remainder(vector(7, -7, 5.5), vector(2, 2, -2))) == [1, 1, -0.5])
    var interpreter = ReferenceInterpreter(rounding: .toElementType)
    let large = Tensor([Int32.max]) + 1
    #expect(interpreter.value(large).values == [Double(Int32.min)])
    #expect(values(vector(2.9, -2.9, 300, .nan, -1).cast(to: .uint8)) == [2, 0, 255, 0, 0])
    #expect(values(Tensor([257, -1] as [Int32]).cast(to: .uint8)) == [1, 255])
  }

  @Test func causalAttentionIsATriangularMask() {
    var random = SampleRandom(seed: "causal")
    let q = random.normal([1, 2, 3, 4]).tensor(), k = random.normal([1, 2, 5, 4]).tensor()
    let v = random.normal([1, 2, 5, 4]).tensor()
    let mask = Tensor((0..<15).map { $0 % 5 <= $0 / 5 + 2 }, [3, 5])
    let causal = attention(q, k, v, isCausal: true), masked = attention(q, k, v, mask: mask)
    #expect(
      largestError(NDArray([24], .float32, values(causal)), NDArray([24], .float32, values(masked))) < 1e-12)
    #expect(values(causal) != values(attention(q, k, v)))
  }

  @Test func aQueryWithoutKeysGetsZeroAndNoGradient() {
    var random = SampleRandom(seed: "masked")
    let q = random.normal([1, 1, 2, 3]).tensor(), k = random.normal([1, 1, 2, 3]).tensor()
    let mask = Tensor([false, false, true, false], [2, 2])
    let y = attention(q, k, k, mask: mask)
    #expect(values(y)[..<3] == [0, 0, 0])
    #expect(values(y)[3...] == values(k)[..<3])
    for x in [q, k] { #expect(gradient(x, y * y).allSatisfy { $0.isFinite }) }
    #expect(gradient(q, y * y)[..<3] == [0, 0, 0])
  }

  @Test func smoothedCrossEntropyIsAMixtureOfTargets() {
    var random = SampleRandom(seed: "smoothing")
    let logits = random.normal([3, 4]).tensor(), labels = Tensor([2, 0, 3] as [Int32])
    let p = values(logSoftmax(logits)), s = 0.3
    let expected =
      (0..<3).reduce(0.0) { sum, row in
        let uniform = p[row * 4..<row * 4 + 4].reduce(0, +) / 4
        return sum - (1 - s) * p[row * 4 + [2, 0, 3][row]] - s * uniform
      } / 3
    #expect(abs(values(crossEntropy(logits, labels, labelSmoothing: s))[0] - expected) < 1e-12)
  }

  @Test func ignoredLabelsCostNothing() {
    var random = SampleRandom(seed: "ignored")
    let logits = random.normal([3, 4]).tensor()
    let some = crossEntropy(logits, Tensor([1, -100, 2] as [Int32]), ignoredLabel: -100)
    let rest = crossEntropy(logits.gathered(Tensor([0, 2] as [Int32])), Tensor([1, 2] as [Int32]))
    #expect(abs(values(some)[0] - values(rest)[0]) < 1e-12)
    #expect(gradient(logits, some)[4..<8] == [0, 0, 0, 0])
    let none = crossEntropy(logits, Tensor([-100, -100, -100] as [Int32]), ignoredLabel: -100)
    #expect(values(none) == [0])
    #expect(gradient(logits, none).allSatisfy { $0 == 0 })
  }

  @Test func batchStatisticsAreMeanAndBiasedVariance() {
    let x = Tensor([1, 10, 3, 20, 5, 60] as [Float], [3, 1, 1, 2])
    let (y, mean, variance) = batchNorm(x, weight: nil, bias: nil, epsilon: 0)
    #expect(values(mean) == [3, 30])
    #expect(
      largestError(NDArray([2], .float32, values(variance)), NDArray([2], .float32, [8.0 / 3, 1400.0 / 3]))
        < 1e-12)
    #expect(abs(values(y).reduce(0, +)) < 1e-12)
  }

  @Test func poolsAndResizesOfASmallPicture() {
    let x = Tensor((0..<16).map { Float($0) }, [1, 4, 4, 1])
    #expect(values(averagePool2d(x, window: 2)) == [2.5, 4.5, 10.5, 12.5])
    #expect(values(adaptiveAveragePool2d(x, rows: 2, columns: 2)) == [2.5, 4.5, 10.5, 12.5])
    #expect(values(maxPool2d(x, window: 2)) == [5, 7, 13, 15])
    #expect(values(adaptiveMaxPool2d(x, rows: 1, columns: 3)) == [13, 14, 15])
    #expect(values(maxPool2d(x, window: 3, stride: 3, padding: 1)) == [5, 7, 13, 15])
    #expect(values(averagePool2d(x, window: 3, stride: 3, padding: 1, countsPadding: false))[0] == 2.5)
    #expect(values(averagePool2d(x, window: 3, stride: 3, padding: 1))[0] == 10.0 / 9)
    #expect(values(resizeNearest2d(x, rows: 2, columns: 1)) == [0, 8])
    #expect(
      values(upsampleNearest2d(x.sliced(1, 0..<1).sliced(2, 0..<2), factor: 2)) == [0, 0, 1, 1, 0, 0, 1, 1])
  }
}
