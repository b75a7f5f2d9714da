import KalsaeCPUBackend
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors
import Testing

/// What plans of attention hold: no map of scores, and no copies of operands.
@Suite struct AttentionPlanTests {
  let backend = CPUBackend()

  /// Attention of `heads` parts of one joint projection x (2, T, 3 C), and its gradient.
  private func tensors(_ x: Tensor, heads: Int, isCausal: Bool = true, dropout: Double = 0) -> [Tensor] {
    let n = x.shape[0], t = x.shape[1], c = x.shape[2] / 3
    let (loss, gradients) = valueAndGradient(withRespectTo: [x]) {
      let parts = x.split(3, axis: 2).map { $0.reshaped(n, t, heads, c / heads).swappingAxes(1, 2) }
      let y = Mode.training(RandomKey(seed: 7)) {
        attention(parts[0], parts[1], parts[2], isCausal: isCausal, dropout: dropout)
      }
      return square(y.swappingAxes(1, 2).reshaped(n, t, c)).mean()
    }
    return [loss] + gradients
  }

  @Test(arguments: [0, 0.1]) func memoryIsLinearInTheSequence(dropout: Double) {
    Backends.with(backend) {
      func bytes(_ t: Int) -> Int {
        let x = evaluated(numbers([2, t, 96], 1))
        return Evaluator.shared.plan(for: tensors(x, heads: 4, dropout: dropout), backend: backend).arenaBytes
      }
      let (short, long) = (bytes(512), bytes(4096))
      #expect(long < 9 * short)
      // One map of scores would be 2 x 4 x 4096 x 4096 numbers.
      #expect(long < 2 * 4 * 4096 * 4096)
    }
  }

  @Test(arguments: [0, 0.1]) func operandsAreReadWhereTheyLie(dropout: Double) {
    Backends.with(backend) {
      let x = evaluated(numbers([2, 70, 96], 1))
      let plan = Evaluator.shared.plan(for: tensors(x, heads: 4, dropout: dropout), backend: backend)
      let names = plan.steps.map { type(of: $0.op).name }
      #expect(names.filter { $0 == "ScaledDotProductAttention" }.count == 1, "\(plan)")
      #expect(names.filter { $0 == "JoinedAttentionGradient" }.count == 1, "\(plan)")
      #expect(!names.contains("Concatenate"), "\(plan)")
      #expect(!names.contains("Copy") && !names.contains("MatMul"), "\(plan)")
      #expect(!names.contains("Random"), "\(plan)")
    }
  }

  @Test func gradientsEqualThoseOfTheDecomposition() {
    Backends.with(backend) {
      let x = evaluated(numbers([2, 70, 24], 1))
      let fused = tensors(x, heads: 2)
      evaluate(fused)
      let (_, plain) = valueAndGradient(withRespectTo: [x]) {
        let parts = x.split(3, axis: 2).map { $0.reshaped(2, 70, 2, 4).swappingAxes(1, 2) }
        let map = ScaledDotProductAttention.probabilities(
          parts[0], parts[1], mask: nil, scale: 0.5, isCausal: true)
        return square(matmul(map, parts[2])).mean()
      }
      let size = plain[0].floats().reduce(0) { max($0, abs($1)) }
      for (a, b) in zip(fused[1].floats(), plain[0].floats()) { #expect(abs(a - b) <= 1e-5 * size) }
    }
  }

  /// What is dropped is what the dropout of a map of whole groups of 64 keys drops.
  @Test func dropoutEqualsThatOfTheDecomposition() {
    Backends.with(backend) {
      let x = evaluated(numbers([2, 70, 24], 1))
      let fused = tensors(x, heads: 2, isCausal: false, dropout: 0.3)
      evaluate(fused)
      let (_, plain) = valueAndGradient(withRespectTo: [x]) {
        let parts = x.split(3, axis: 2).map { $0.reshaped(2, 70, 2, 4).swappingAxes(1, 2) }
        let map = ScaledDotProductAttention.probabilities(
          parts[0], parts[1], mask: nil, scale: 0.5, isCausal: false)
        let kept = Tensor.bernoulli([2, 2, 70, 128], probability: 0.7, key: RandomKey(seed: 7)).sliced(
          3, 0..<70)
        return square(matmul(select(kept, map / 0.7, 0), parts[2])).mean()
      }
      let size = plain[0].floats().reduce(0) { max($0, abs($1)) }
      for (a, b) in zip(fused[1].floats(), plain[0].floats()) { #expect(abs(a - b) <= 1e-5 * size) }
      let other = tensors(x, heads: 2, isCausal: false)
      evaluate(other)
      #expect(zip(fused[1].floats(), other[1].floats()).contains { abs($0 - $1) > 0.01 * size })
    }
  }

  /// Keys and values of one projection, queries of another; and heads that share keys.
  @Test(arguments: [(4, 4), (4, 2)]) func gradientsOfJointProjectionsAreWrittenJoined(
    heads: Int, keyHeads: Int
  ) {
    Backends.with(backend) {
      let width = 6, joint = 2 * keyHeads * width
      let q = evaluated(numbers([2, 9, heads * width], 1)), kv = evaluated(numbers([2, 13, joint], 2))
      let qkv = evaluated(numbers([2, 9, heads * width + joint], 3))
      func split(_ x: Tensor, _ heads: [Int]) -> [Tensor] {
        var start = 0
        return heads.map { heads in
          defer { start += heads * width }
          return x.sliced(2, start..<start + heads * width).reshaped(2, x.shape[1], heads, width)
            .swappingAxes(1, 2)
        }
      }
      func gradients(_ inputs: [Tensor], _ parts: () -> [Tensor]) -> [Tensor] {
        valueAndGradient(withRespectTo: inputs) {
          let parts = parts()
          return square(attention(parts[0], parts[1], parts[2])).sum()
        }.gradients
      }
      func check(_ inputs: [Tensor], _ parts: () -> [Tensor]) {
        let joined = gradients(inputs, parts), apart = gradients(inputs, parts)
        let plan = Evaluator.shared.plan(for: joined, backend: backend)
        let names = plan.steps.map { type(of: $0.op).name }
        #expect(names.contains("JoinedAttentionGradient") && !names.contains("Concatenate"), "\(plan)")
        evaluate(joined)
        Evaluator.shared.evaluate(apart, backend: backend, without: .movements)
        for (a, b) in zip(joined, apart) { #expect(a.floats() == b.floats()) }
      }
      check([q, kv]) { split(q, [heads]) + split(kv, [keyHeads, keyHeads]) }
      check([qkv]) { split(qkv, [heads, keyHeads, keyHeads]) }
    }
  }

  @Test func aLearnedBiasGetsItsGradient() {
    Backends.with(backend) {
      let q = evaluated(numbers([2, 3, 9, 4], 1)), bias = evaluated(numbers([1, 3, 9, 9], 2))
      func gradient(_ y: (Tensor) -> Tensor) -> [Float] {
        valueAndGradient(withRespectTo: [bias]) { square(y(bias)).sum() }.gradients[0].floats()
      }
      let fused = gradient { attention(q, q, q, mask: $0) }
      let plain = gradient { bias in
        let map = ScaledDotProductAttention.probabilities(q, q, mask: bias, scale: 0.5, isCausal: false)
        return matmul(map, q)
      }
      for (a, b) in zip(fused, plain) { #expect(abs(a - b) <= 1e-5) }
      #expect(plain.contains { abs($0) > 0.01 })
    }
  }

  @Test func stridesOfReshapedViews() {
    // (4, 6) of rows of 10.
    let slice = Layout([4, 6], offset: 2, strides: [10, 1])
    #expect(slice.reshaped([4, 2, 3])?.strides == [10, 3, 1])
    #expect(
      slice.reshaped([2, 2, 1, 6])?.strides.enumerated().filter { $0.offset != 2 }.map(\.element) == [
        20, 10, 1,
      ])
    #expect(slice.reshaped([4, 2, 3])?.offset == 2)
    #expect(slice.reshaped([24]) == nil)
    #expect(slice.reshaped([8, 3]) == nil)
    let transposed = Layout([3, 2, 5], strides: [5, 15, 1])
    #expect(transposed.reshaped([3, 10]) == nil)
    #expect(transposed.reshaped([3, 2, 1, 5]) != nil)
    let repeated = Layout([2, 3, 4], strides: [0, 4, 1])
    #expect(repeated.reshaped([2, 12])?.strides == [0, 1])
    #expect(repeated.reshaped([6, 4]) == nil)
  }
}

private func evaluated(_ x: Tensor) -> Tensor {
  evaluate(x)
  return x
}
