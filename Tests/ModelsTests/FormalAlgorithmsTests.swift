import Foundation
import Kalsae
import Testing

/// The algorithms of "Formal Algorithms for Transformers" (Phuong and Hutter 2022, arXiv 2207.09238) under the paper's
/// numbers and names: the parts against plain loops in Double, the whole models by what the paper says of them.
@Suite struct FormalAlgorithmsTests {
  /// A matrix as the paper has it: a column for each token.
  private typealias Matrix = [[Double]]

  private func random(_ shape: Shape, _ seed: UInt64) -> Tensor { .normal(shape, key: RandomKey(seed: seed)) }

  /// The rows of (T, C).
  private func rows(_ x: Tensor) -> Matrix {
    let values = x.floats().map(Double.init), n = x.shape[-1]
    return (0..<values.count / n).map { Array(values[$0 * n..<($0 + 1) * n]) }
  }

  private func expectClose(
    _ found: Tensor, _ expected: Matrix, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let pairs = zip(rows(found).flatMap(\.self), expected.flatMap(\.self))
    #expect(found.count == expected.reduce(0) { $0 + $1.count }, sourceLocation: sourceLocation)
    #expect(pairs.allSatisfy { abs($0 - $1) < 1e-5 }, sourceLocation: sourceLocation)
  }

  private func normalized(_ x: [Double]) -> [Double] {
    let e = x.map { exp($0) }, sum = e.reduce(0, +)
    return e.map { $0 / sum }
  }

  private func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

  /// W x + b for rows x, W (out, in).
  private func affine(_ layer: Linear, _ x: Matrix) -> Matrix {
    let w = rows(layer.weight.value), b = layer.bias.map { $0.value.floats().map(Double.init) }
    return x.map { row in w.indices.map { dot(w[$0], row) + (b?[$0] ?? 0) } }
  }

  /// Algorithm 4 on projected rows; `mask[t][s]`: whether t may attend to s.
  private func attend(_ q: Matrix, _ k: Matrix, _ v: Matrix, mask: [[Bool]]) -> Matrix {
    q.indices.map { t in
      let scores = k.indices.map { s in
        mask[t][s] ? dot(q[t], k[s]) / Double(q[t].count).squareRoot() : -Double.infinity
      }
      let weights = normalized(scores)
      return v[0].indices.map { i in v.indices.reduce(0) { $0 + weights[$1] * v[$1][i] } }
    }
  }

  @Test func algorithm1TokenEmbedding() {
    let embedding = Embedding(7, 4), table = rows(embedding.weight.value)
    expectClose(embedding(Tensor([6, 0, 3] as [Int32])), [table[6], table[0], table[3]])
  }

  @Test func algorithm2PositionalEmbedding() {
    // Learned, as algorithm 2 has it; and the sines and cosines of section 6 of the paper.
    let learned = Embedding(5, 4), table = rows(learned.weight.value)
    expectClose(learned(.iota(3)), Array(table[0..<3]))
    let fixed = SinusoidalEmbedding(6, cosineFirst: false, frequencyShift: 0, isInterleaved: true)
    let expected = (0..<4).map { t in
      (0..<3).flatMap { i -> [Double] in
        let angle = Double(t) / pow(10000, 2 * Double(i) / 6)
        return [sin(angle), cos(angle)]
      }
    }
    expectClose(fixed(.iota(4)), expected)
  }

  @Test func algorithm3BasicSingleQueryAttention() {
    let q = random([1, 1, 1, 6], 1), k = random([1, 1, 5, 6], 2), v = random([1, 1, 5, 3], 3)
    let expected = attend(rows(q), rows(k), rows(v), mask: [[Bool](repeating: true, count: 5)])
    expectClose(attention(q, k, v), expected)
  }

  @Test func algorithm4Attention() {
    let q = random([1, 1, 4, 6], 4), k = random([1, 1, 4, 6], 5), v = random([1, 1, 4, 3], 6)
    let all = [[Bool]](repeating: [Bool](repeating: true, count: 4), count: 4)
    let past = (0..<4).map { t in (0..<4).map { $0 <= t } }
    expectClose(attention(q, k, v), attend(rows(q), rows(k), rows(v), mask: all))  // bidirectional
    expectClose(attention(q, k, v, isCausal: true), attend(rows(q), rows(k), rows(v), mask: past))
    let some = (0..<4).map { t in (0..<4).map { ($0 + t) % 3 != 0 || $0 == t } }
    let mask = Tensor(some.flatMap(\.self), [4, 4])
    expectClose(attention(q, k, v, mask: mask), attend(rows(q), rows(k), rows(v), mask: some))
  }

  @Test func algorithm5MHAttention() {
    let layer = Attention(8, heads: 2, contextFeatures: 6, bias: true)
    let x = random([1, 3, 8], 7), z = random([1, 5, 6], 8)
    let q = affine(layer.to_q, rows(x)), k = affine(layer.to_k, rows(z)), v = affine(layer.to_v, rows(z))
    let all = [[Bool]](repeating: [Bool](repeating: true, count: 5), count: 3)
    func head(_ m: Matrix, _ h: Int) -> Matrix { m.map { Array($0[4 * h..<4 * h + 4]) } }
    let heads = (0..<2).map { attend(head(q, $0), head(k, $0), head(v, $0), mask: all) }
    let joined = (0..<3).map { heads[0][$0] + heads[1][$0] }
    expectClose(layer(x, context: z), affine(layer.to_out[0] as! Linear, joined))
  }

  @Test func algorithm6LayerNorm() {
    let norm = LayerNorm(6, epsilon: 1e-9)
    (norm.weight.value, norm.bias!.value) = (random([6], 9), random([6], 10))
    let x = random([3, 6], 11), gamma = rows(norm.weight.value)[0], beta = rows(norm.bias!.value)[0]
    let expected = rows(x).map { e -> [Double] in
      let m = e.reduce(0, +) / 6, v = e.reduce(0) { $0 + ($1 - m) * ($1 - m) } / 6
      return e.indices.map { (e[$0] - m) / v.squareRoot() * gamma[$0] + beta[$0] }
    }
    expectClose(norm(x), expected)
  }

  @Test func algorithm7Unembedding() {
    let unembedding = Linear(4, 9, bias: false), e = random([2, 4], 12)
    expectClose(softmax(unembedding(e)), affine(unembedding, rows(e)).map(normalized))
  }

  // MARK: - Architectures

  private func probabilities(_ logits: Tensor) -> Matrix { rows(softmax(logits)) }

  /// Which rows of two matrices differ, all rows being distributions.
  private func changed(_ a: Matrix, _ b: Matrix) -> [Bool] {
    for row in a + b {
      #expect(row.allSatisfy { $0 > 0 } && abs(row.reduce(0, +) - 1) < 1e-5)
    }
    return zip(a, b).map { zip($0, $1).contains { abs($0 - $1) > 1e-7 } }
  }

  private func tokens(_ ids: Int32...) -> Tensor { Tensor(ids, [1, ids.count]) }

  private func translator() throws -> TransformerForTranslation {
    try TransformerForTranslation(folder: folder("translation"))
  }

  private func folder(_ name: String) -> String { ReferenceModel(name).path("") }

  @Test func algorithm8EDTransformer() throws {
    let model = try translator()
    func p(_ z: Tensor, _ x: Tensor) -> Matrix { probabilities(model(z, x)) }
    let z = tokens(5, 9, 22, 3), x = tokens(1, 8, 20, 13)
    // P[:, t] is the distribution of x[t + 1] given x[1:t] and all of z.
    #expect(changed(p(z, x), p(z, tokens(1, 8, 4, 13))) == [false, false, true, true])
    #expect(changed(p(z, x), p(tokens(5, 9, 22, 4), x)) == [true, true, true, true])
  }

  @Test func algorithm9ETransformer() throws {
    let model = try BertForMaskedLM(folder: folder("bert-masked-lm"))
    // P[:, t] depends on the tokens on both sides.
    let a = probabilities(model(tokens(4, 9, 30, 2))), b = probabilities(model(tokens(4, 9, 7, 2)))
    #expect(changed(a, b) == [true, true, true, true])
  }

  @Test func algorithm10DTransformer() throws {
    let model = try GPT2LMHeadModel(folder: folder("gpt2"))
    // P[:, t] is the distribution of x[t + 1] given x[1:t].
    let a = probabilities(model(tokens(4, 9, 20, 2))), b = probabilities(model(tokens(4, 9, 7, 2)))
    #expect(changed(a, b) == [false, false, true, true])
  }

  // MARK: - Training

  /// theta <- theta - eta grad loss lowers the loss, which is the mean of -log P of the predicted tokens.
  private func expectDescent(
    _ module: some Module, from expected: Double, sourceLocation: SourceLocation = #_sourceLocation,
    _ loss: () -> Tensor
  ) {
    let contents = module.contents
    let before = loss().item()
    #expect(abs(before - expected) < 1e-5, sourceLocation: sourceLocation)
    for _ in 0..<3 {
      let (_, gradients) = valueAndGradient(contents, loss)
      for (entry, gradient) in zip(contents.parameters, gradients.tensors) {
        entry.parameter.value = entry.parameter.value - gradient * 0.02
      }
      evaluate([], slots: contents.slots)
    }
    #expect(loss().item() < before - 1e-3, sourceLocation: sourceLocation)
  }

  @Test func algorithm11EDTraining() throws {
    let model = try translator()
    let z = tokens(5, 9, 22, 3), x = tokens(1, 8, 20, 2)
    let p = probabilities(model(z, x))
    expectDescent(model, from: -(log(p[0][8]) + log(p[1][20]) + log(p[2][2])) / 3) {
      nextTokenLoss(model(z, x), x)
    }
  }

  @Test func algorithm12ETraining() throws {
    let model = try BertForMaskedLM(folder: folder("bert-masked-lm"))
    let masked = tokens(4, 1, 30, 1), labels = tokens(-100, 9, -100, 2)
    let p = probabilities(model(masked))
    expectDescent(model, from: -(log(p[1][9]) + log(p[3][2])) / 2) { maskedTokenLoss(model(masked), labels) }
  }

  @Test func algorithm13DTraining() throws {
    let model = try GPT2LMHeadModel(folder: folder("gpt2"))
    let x = tokens(4, 9, 20, 2)
    let p = probabilities(model(x))
    expectDescent(model, from: -(log(p[0][9]) + log(p[1][20]) + log(p[2][2])) / 3) {
      nextTokenLoss(model(x), x)
    }
    // Tokens that do not count are not predicted.
    let rest = nextTokenLoss(model(x), x, ignored: 20).item(), q = probabilities(model(x))
    #expect(abs(rest + (log(q[0][9]) + log(q[2][2])) / 2) < 1e-5)
  }

  // MARK: - Inference

  /// The most likely token of the last row: temperature 0.
  private func next(_ logits: Tensor) -> Int32 {
    logits.at(-1, axis: 1).argMax().array(of: Int32.self)[0]
  }

  @Test func algorithm14DInference() throws {
    let model = try GPT2LMHeadModel(folder: folder("gpt2"))
    let cache = model.makeCache(capacity: 12)
    var x: [Int32] = [7, 3], input = x
    for _ in 0..<8 {
      let logits = model(Tensor(input, [1, input.count]), cache: cache)
      evaluate(logits, slots: cache.slots)
      input = [next(logits)]
      // The paper's loop reads the whole text for each token.
      #expect(input[0] == next(model(Tensor(x, [1, x.count]))))
      x += input
    }
    #expect(cache.length == 9)
  }

  @Test func algorithm15EDInference() throws {
    let model = try translator(), z = tokens(5, 9, 22, 3)
    let source = model.encode(z), cache = model.transformer.makeCache(capacity: 10)
    evaluate(source.tensors)
    var x: [Int32] = [1]
    for _ in 0..<8 {
      let logits = model.decode(Tensor([x.last!], [1, 1]), source, cache: cache)
      evaluate(logits, slots: cache.slots)
      #expect(next(logits) == next(model(z, Tensor(x, [1, x.count]))))
      x.append(next(logits))
    }
    #expect(cache.length == 8)
  }
}
