import Foundation
import Kalsae
import Testing

@Suite struct AttentionTests {
  private let golden: SafetensorsFile

  init() throws {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    golden = try SafetensorsFile(
      path: tests.appendingPathComponent("Fixtures/attention/golden.safetensors").path)
  }

  private func difference(_ found: Tensor, _ name: String) throws -> Float {
    let expected = try golden.tensor(name)
    guard found.shape == expected.shape else { return .infinity }
    let y = expected.floats()
    return zip(found.floats(), y).map { abs($0 - $1) }.max()! / y.map(abs).max()!
  }

  /// Queries at the last 5 of 7 positions, two heads of keys for four of queries, a bias by distance; as LLaMA and T5 in
  /// transformers compute it.
  @Test func groupedQueriesWithRotaryEmbeddingAndRelativeBias() throws {
    let q = try golden.tensor("q"), k = try golden.tensor("k"), v = try golden.tensor("v")
    let bias = RelativePositionBias(heads: 4, buckets: 8, maxDistance: 20)
    bias.relative_attention_bias.weight.value = try golden.tensor("bias")
    let table = bias.relative_attention_bias.weight.value
    let rotary = RotaryEmbedding(6, base: 500)
    func turned(_ x: Tensor, heads: Int, from first: Int) -> Tensor {
      let split = x.reshaped(2, x.shape[1], heads, 6).swappingAxes(1, 2)
      return rotary(.iota(x.shape[1]) + Double(first))(split)
    }
    func joined(_ x: Tensor) -> Tensor { x.swappingAxes(1, 2).reshaped(2, x.shape[2], -1) }
    let rotated = turned(q, heads: 4, from: 2), mask = bias(queries: 5, keys: 7)
    let y = multiHeadAttention(
      joined(rotated), joined(turned(k, heads: 2, from: 0)), v, heads: 4, keyValueHeads: 2, mask: mask)
    let loss = (y * (try golden.tensor("cotangent"))).sum()
    let derivatives = gradients(of: loss, withRespectTo: [q, k, v, table])
    evaluate([rotated, mask, y] + derivatives)
    #expect(try difference(rotated, "rotated") < 1e-5)
    #expect(try difference(mask, "mask") == 0)
    #expect(try difference(y, "output") < 1e-5)
    for (name, gradient) in zip(["q", "k", "v", "bias"], derivatives) {
      #expect(try difference(gradient, "grad." + name) < 1e-5, "\(name)")
    }
  }

  /// Grouped queries, rotary embedding and a bias by distance, decoded a token at a time.
  @Test func decodingIsTheWholeSequence() {
    let x = Tensor.normal([2, 6, 24], key: RandomKey(seed: 6)),
      kv = Tensor.normal([2, 6, 24], key: RandomKey(seed: 7))
    let rotary = RotaryEmbedding(6),
      bias = RelativePositionBias(heads: 4, buckets: 4, maxDistance: 5, isBidirectional: false)
    let parts = kv.split(2, axis: -1)  // keys and values of two heads
    let whole = multiHeadAttention(
      x, parts[0], parts[1], heads: 4, keyValueHeads: 2, mask: bias(queries: 6, keys: 6), isCausal: true,
      rotary: rotary(.iota(6)))
    let cache = KeyValueCache(layers: 1, heads: 2, headFeatures: 6, batch: 2, capacity: 9)
    // A prompt of three tokens, then one after the other.
    for range in [0..<3, 3..<4, 4..<5, 5..<6] {
      func now(_ x: Tensor) -> Tensor { x.sliced(1, range) }
      let positions = cache.positions(range.count)
      let y = multiHeadAttention(
        now(x), now(parts[0]), now(parts[1]), heads: 4, keyValueHeads: 2,
        mask: bias(positions: positions, keys: cache.capacity), rotary: rotary(positions), cache: cache[0])
      cache.advance(by: range.count)
      evaluate(y, slots: cache.slots)
      #expect(zip(y.floats(), now(whole).floats()).allSatisfy { abs($0 - $1) < 1e-5 }, "\(range)")
    }
  }

  @Test(arguments: [true, false])
  func relativeBucketsAreT5s(_ isBidirectional: Bool) throws {
    let bias = RelativePositionBias(heads: 1, isBidirectional: isBidirectional)
    let expected = try golden.tensor("buckets." + (isBidirectional ? "bidirectional" : "causal"))
    #expect((-300...300).map { Int64(bias.bucket($0)) } == expected.array(of: Int64.self))
  }

  /// Interleaved pairs are the halves' in another order.
  @Test func interleavedPairsTurnAlike() throws {
    let x = Tensor.normal([1, 2, 3, 8], key: RandomKey(seed: 1)), positions = Tensor([4, 0, 9] as [Int32])
    let order = Tensor([0, 4, 1, 5, 2, 6, 3, 7] as [Int32])  // half-split feature at each interleaved place
    let halves = RotaryEmbedding(8)(positions)(x)
    let pairs = RotaryEmbedding(8, isInterleaved: true)(positions)(x.gathered(order, axis: -1))
    #expect(zip(pairs.floats(), halves.gathered(order, axis: -1).floats()).allSatisfy { abs($0 - $1) < 1e-6 })
    // Position 0 stays, and only the first features turn.
    #expect(halves.at(1, axis: 2).floats() == x.at(1, axis: 2).floats())
    let some = RotaryEmbedding(4)(positions)(x)
    #expect(some.sliced(-1, 4..<8).floats() == x.sliced(-1, 4..<8).floats())
    #expect(some.at(0, axis: 2).floats() != x.at(0, axis: 2).floats())
  }

  /// Scores depend on distances alone.
  @Test func rotaryScoresAreRelative() {
    let q = Tensor.normal([1, 1, 1, 16], key: RandomKey(seed: 2))
    let k = Tensor.normal([1, 1, 1, 16], key: RandomKey(seed: 3))
    let rotary = RotaryEmbedding(16)
    func score(_ m: Int32, _ n: Int32) -> Double {
      (rotary(Tensor([m]))(q) * rotary(Tensor([n]))(k)).sum().item()
    }
    #expect(abs(score(3, 10) - score(33, 40)) < 1e-4)
    #expect(abs(score(3, 10) - score(3, 11)) > 1e-3)
  }

  @Test func dropoutActsOnTheMapInTrainingOnly() {
    let x = Tensor.normal([1, 6, 8], key: RandomKey(seed: 4))
    func attend() -> [Float] { multiHeadAttention(x, x, x, heads: 2, dropout: 0.5).floats() }
    let plain = multiHeadAttention(x, x, x, heads: 2).floats()
    #expect(attend() == plain)
    let trained = Mode.training(RandomKey(seed: 5)) { attend() }
    #expect(zip(trained, plain).contains { abs($0 - $1) > 1e-3 })
    #expect(Mode.training(RandomKey(seed: 5)) { attend() } == trained)
  }

  /// Rows of padding do not train; all others do.
  @Test func paddingIsNotTrained() {
    let table = Embedding(4, 2, paddingIndex: 0)
    let weight = table.weight.value
    #expect(
      weight.floats().prefix(2).allSatisfy { $0 == 0 } && weight.floats().suffix(6).allSatisfy { $0 != 0 })
    let loss = table(Tensor([0, 2, 2, 3] as [Int32])).sum()
    #expect(gradients(of: loss, withRespectTo: [weight])[0].floats() == [0, 0, 0, 0, 2, 2, 1, 1])
  }

  @Test func headsThatDoNotDivideTrap() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let x = Tensor.zeros([1, 2, 12])
      _ = multiHeadAttention(x, x, x, heads: 4, keyValueHeads: 3)
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("do not divide into 4 heads of queries and 3 of keys"))
  }
}
