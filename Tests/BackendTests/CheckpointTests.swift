import KalsaeReferenceBackend
import KalsaeTensors
import Testing

/// Recomputation changes what is kept, never a number.
@Suite struct CheckpointTests {
  private func values(_ tensors: [Tensor]) -> [[Double]] {
    var interpreter = ReferenceInterpreter()
    return interpreter.values(tensors).map(\.values)
  }

  private func operands() -> [Tensor] {
    var random = SampleRandom(seed: "checkpoint")
    return [random.normal([3, 4]).tensor(), random.normal([4, 4]).tensor(), random.normal([4]).tensor()]
  }

  private func block(_ x: Tensor, _ w: Tensor, _ b: Tensor) -> Tensor {
    silu(layerNorm(matmul(x, w) + b, weight: b, bias: nil)) * 2 + x
  }

  @Test func gradientsEqualPlainOnes() {
    let x = operands()
    let plain = square(block(block(x[0], x[1], x[2]), x[1], x[2])).sum()
    let inner = checkpointed { block(x[0], x[1], x[2]) }
    let kept = square(checkpointed { block(inner, x[1], x[2]) }).sum()
    #expect(values([kept]) == values([plain]))
    #expect(values(gradients(of: kept, withRespectTo: x)) == values(gradients(of: plain, withRespectTo: x)))
  }

  @Test func dropoutInsideUsesTheSameNumbersTwice() {
    let x = operands()
    func loss(recomputing: Bool) -> [Tensor] {
      Mode.training(RandomKey(seed: 3)) {
        let body = { dropout(sin(matmul(x[0], x[1])), probability: 0.5) * x[2] }
        let y = square(recomputing ? checkpointed(body) : body()).sum()
        return [y] + gradients(of: y, withRespectTo: x)
      }
    }
    #expect(values(loss(recomputing: true)) == values(loss(recomputing: false)))
  }

  @Test func resultsThatWereThereBeforeKeepTheirGradient() {
    let x = operands()[0]
    let results = checkpointed { [x, sin(x)] }
    let y = (results[0] * results[1]).sum(), plain = (x * sin(x)).sum()
    #expect(values(gradients(of: y, withRespectTo: [x])) == values(gradients(of: plain, withRespectTo: [x])))
  }

  @Test func theForwardPassIsComputedAgainBehindBarriers() {
    let x = operands()[0]
    let y = checkpointed { exp(sin(cos(x) * 3)) }.sum()
    let order = postOrder(gradients(of: y, withRespectTo: [x]))
    func count(_ kind: Unary.Kind) -> Int { order.filter { ($0.op as? Unary) == Unary(kind) }.count }
    // Nothing of the forward pass is left; the second cosine is the derivative of the sine.
    #expect(count(.exp) == 1)
    #expect(count(.cos) == 2)
    let barriers = order.filter { $0.op is Barrier }
    #expect(barriers.count == 1, "one for x, none for the literal 3")
    #expect(barriers.allSatisfy { $0.inputs.count == 2 })
    let cosine = order.first { ($0.op as? Unary) == Unary(.cos) }
    #expect(cosine?.inputs[0].node.op is Barrier)
  }

  @Test func capturedScalarsHaveGradients() {
    let x = operands()[0], temperature = Tensor(0.7)
    let y = checkpointed { softmax(x * temperature) * x }.sum(), plain = (softmax(x * temperature) * x).sum()
    let slope = values(gradients(of: y, withRespectTo: [temperature]))
    #expect(slope == values(gradients(of: plain, withRespectTo: [temperature])))
    #expect(slope[0][0] != 0)
  }
}
