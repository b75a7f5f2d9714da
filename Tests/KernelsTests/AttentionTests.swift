import CKernels
import Foundation
import Testing

/// Attention against plain loops in Double, in every shape that takes another path.
@Suite struct AttentionTests {
  struct Problem: CustomTestStringConvertible, Sendable {
    enum Mask: Sendable { case none, truth, keys, added, hiddenEnd }
    var batch = 1
    var queries: Int, keys: Int
    var heads = 2
    var keyHeads = 2
    var width: Int, valueWidth: Int
    var isCausal = false
    var mask = Mask.none
    var scale = 0.3
    var dropout = 0.0
    /// Elements between the positions of q, k, v and their gradients.
    var gap = 3
    var testDescription: String {
      "\(batch) x \(queries) of \(keys), heads \(heads)/\(keyHeads), \(width), \(valueWidth), \(isCausal) \(mask), "
        + "scale \(scale), dropout \(dropout)"
    }
  }

  static let problems: [Problem] = [
    Problem(queries: 5, keys: 5, width: 4, valueWidth: 4),
    Problem(batch: 2, queries: 7, keys: 9, heads: 1, keyHeads: 1, width: 3, valueWidth: 5),
    Problem(queries: 1, keys: 600, heads: 4, width: 16, valueWidth: 16),
    Problem(batch: 2, queries: 3, keys: 277, heads: 4, keyHeads: 1, width: 20, valueWidth: 33),
    Problem(queries: 70, keys: 130, width: 64, valueWidth: 64),
    Problem(queries: 40, keys: 530, heads: 2, keyHeads: 1, width: 48, valueWidth: 80),
    Problem(queries: 130, keys: 70, width: 17, valueWidth: 31),
    // As wide as a small picture's, and as short as a sentence's; rows and lanes in every remainder.
    Problem(queries: 97, keys: 70, heads: 1, keyHeads: 1, width: 256, valueWidth: 256, gap: 0),
    Problem(queries: 50, keys: 50, heads: 3, keyHeads: 3, width: 32, valueWidth: 32, gap: 32),
    Problem(queries: 29, keys: 97, heads: 3, keyHeads: 1, width: 6, valueWidth: 112, dropout: 0.25, gap: 4),
    Problem(queries: 4, keys: 300, heads: 4, keyHeads: 2, width: 30, valueWidth: 18, dropout: 0.5, gap: 2),
    Problem(queries: 33, keys: 15, heads: 2, keyHeads: 2, width: 16, valueWidth: 16, scale: -0.2, gap: 0),
    Problem(queries: 9, keys: 20, width: 8, valueWidth: 8, scale: 0, dropout: 0.1),
  ].flatMap { problem in
    [Problem.Mask.none, .truth, .keys, .added, .hiddenEnd].flatMap { mask in
      [false, true].map { isCausal in
        var problem = problem
        (problem.mask, problem.isCausal) = (mask, isCausal)
        return problem
      }
    }
  }

  /// Operands whose heads lie beside each other with a gap between positions, as in a joint projection.
  private final class Operands {
    let p: Problem, type: kk_dtype
    let q: Storage, k: Storage, v: Storage, dy: Storage
    let y: Storage, logSum: Storage, dq: Storage, dk: Storage, dv: Storage
    var mask: Storage?
    var description = kk_attention()
    init(_ p: Problem, _ type: kk_dtype) {
      var random = Seeded(71)
      (self.p, self.type) = (p, type)
      func filled(_ positions: Int, _ heads: Int, _ width: Int, gap: Int = 0) -> Storage {
        Storage(random.values(p.batch * positions * (heads * width + gap), in: -2...2), type)
      }
      q = filled(p.queries, p.heads, p.width, gap: p.gap)
      k = filled(p.keys, p.keyHeads, p.width, gap: p.gap)
      v = filled(p.keys, p.keyHeads, p.valueWidth, gap: p.gap)
      dy = filled(p.queries, p.heads, p.valueWidth)
      y = Storage(type, count: dy.count)
      logSum = Storage(KK_F32, count: p.batch * p.heads * p.queries)
      dq = Storage(type, count: q.count)
      dk = Storage(type, count: k.count)
      dv = Storage(type, count: v.count)
      // Gaps stay what they are.
      for gradient in [dq, dk, dv] { memset(gradient.data, 0, gradient.count * Int(kk_dtype_size(type))) }
      let all = p.batch * p.queries * p.keys
      var strides: (Int64, Int64, Int64, Int64) = (Int64(p.queries * p.keys), 0, Int64(p.keys), 1)
      switch p.mask {
      case .none: break
      case .truth:
        // The last query sees nothing.
        mask = Storage(
          (0..<all).map { $0 / p.keys % p.queries == p.queries - 1 ? 0 : random.next() % 3 == 0 ? 0 : 1 },
          KK_BOOL)
      case .keys:
        mask = Storage((0..<all).map { _ in random.next() % 2 == 0 ? 0 : 1 }, KK_BOOL)
        strides.2 = 0
      case .added:
        mask = Storage(
          random.values(all).enumerated().map { $0 % 5 == 2 ? -.infinity : $1 }, type)
      case .hiddenEnd:
        mask = Storage((0..<all).map { $0 % p.keys < p.keys / 3 ? 1 : 0 }, KK_BOOL)
        strides.2 = 0
      }
      description.mask_strides = strides
      description.drops = p.dropout > 0
      description.keep = kk_keep(
        random: kk_random(key: (7, 11), stream: (5, 0)), bound: kk_keep_bound(1 - p.dropout),
        value: Float(1 / (1 - p.dropout)))
      description.mask_type = mask?.type ?? KK_BOOL
      description.mask = mask.map { UnsafeRawPointer($0.data) }
      (description.batch, description.queries, description.keys) = (
        Int64(p.batch), Int64(p.queries), Int64(p.keys)
      )
      (description.heads, description.key_heads) = (Int64(p.heads), Int64(p.keyHeads))
      (description.width, description.value_width) = (Int64(p.width), Int64(p.valueWidth))
      (description.type, description.scale, description.causal) = (
        type, Float(p.scale), p.isCausal
      )
      description.q_strides = Self.strides(p.queries, p.heads, p.width, gap: p.gap)
      description.k_strides = Self.strides(p.keys, p.keyHeads, p.width, gap: p.gap)
      description.v_strides = Self.strides(p.keys, p.keyHeads, p.valueWidth, gap: p.gap)
    }

    static func strides(_ positions: Int, _ heads: Int, _ width: Int, gap: Int = 0) -> (Int64, Int64, Int64) {
      (Int64(positions * (heads * width + gap)), Int64(heads * width + gap), Int64(width))
    }

    func run(threads: Int32) {
      kernels { [self] in
        let before = kk_threads()
        kk_set_threads(threads)
        var a = description
        let bytes = Int(max(kk_attention_forward_scratch(&a), kk_attention_backward_scratch(&a)))
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        memset(scratch, 0xff, bytes)
        kk_attention_forward(&a, q.data, k.data, v.data, y.data, logSum.floats, scratch)
        var results = kk_attention_results()
        (results.dy, results.y, results.log_sum) = (
          UnsafeRawPointer(dy.data), UnsafeRawPointer(y.data), UnsafePointer(logSum.floats)
        )
        results.dy_strides = Self.strides(p.queries, p.heads, p.valueWidth)
        results.y_strides = results.dy_strides
        var gradients = kk_attention_gradients(
          dq: dq.data, dk: dk.data, dv: dv.data, dq_row: a.q_strides.1, dk_row: a.k_strides.1,
          dv_row: a.v_strides.1)
        kk_attention_backward(&a, &results, q.data, k.data, v.data, &gradients, scratch)
        scratch.deallocate()
        kk_set_threads(before)
      }
    }

    /// What the probabilities of a query are multiplied with.
    private func kept(row: Int) -> [Double] {
      guard description.drops else { return [Double](repeating: 1, count: p.keys) }
      var values = [Float](repeating: 0, count: p.keys)
      let start = UInt64(row) * UInt64(kk_attention_map_row(Int64(p.keys)))
      kk_keep_f32(&description.keep, start, p.keys, &values)
      return values.map(Double.init)
    }

    /// y, log-sum, dq, dk and dv.
    func expected() -> [[Double]] {
      var y = [Double](repeating: 0, count: y.count), logSum = [Double](repeating: 0, count: logSum.count)
      var dq = [Double](repeating: 0, count: dq.count), dk = [Double](repeating: 0, count: dk.count)
      var dv = [Double](repeating: 0, count: dv.count)
      let (n, m) = (p.width, p.valueWidth)
      for b in 0..<p.batch {
        for h in 0..<p.heads {
          let g = h / (p.heads / p.keyHeads)
          for t in 0..<p.queries {
            let qAt = (b * p.queries + t) * (p.heads * n + p.gap) + h * n
            let yAt = ((b * p.queries + t) * p.heads + h) * m
            func kAt(_ s: Int) -> Int { (b * p.keys + s) * (p.keyHeads * n + p.gap) + g * n }
            func vAt(_ s: Int) -> Int { (b * p.keys + s) * (p.keyHeads * m + p.gap) + g * m }
            let scores = (0..<p.keys).map { s -> Double in
              if p.isCausal && s > t + p.keys - p.queries { return -.infinity }
              let score = p.scale * (0..<n).reduce(0) { $0 + q.get(qAt + $1) * k.get(kAt(s) + $1) }
              guard let mask else { return score }
              let entry = mask.get(
                b * p.queries * p.keys + t * Int(description.mask_strides.2) + s)
              return mask.type == KK_BOOL ? (entry != 0 ? score : -.infinity) : score + entry
            }
            let top = scores.max()!
            guard top != -.infinity else { continue }
            let sum = scores.reduce(0) { $0 + exp($1 - top) }
            logSum[(b * p.heads + h) * p.queries + t] = top + log(sum)
            let weights = scores.map { exp($0 - top) / sum }
            let kept = kept(row: (b * p.heads + h) * p.queries + t)
            var dot = 0.0
            for e in 0..<m {
              y[yAt + e] = (0..<p.keys).reduce(0) { $0 + weights[$1] * kept[$1] * v.get(vAt($1) + e) }
              dot += y[yAt + e] * dy.get(yAt + e)
            }
            for s in 0..<p.keys where weights[s] != 0 {
              let dp = (0..<m).reduce(0) { $0 + dy.get(yAt + $1) * v.get(vAt(s) + $1) }
              let ds = p.scale * weights[s] * (kept[s] * dp - dot)
              for e in 0..<m { dv[vAt(s) + e] += weights[s] * kept[s] * dy.get(yAt + e) }
              for d in 0..<n {
                dq[qAt + d] += ds * k.get(kAt(s) + d)
                dk[kAt(s) + d] += ds * q.get(qAt + d)
              }
            }
          }
        }
      }
      return [y, logSum, dq, dk, dv]
    }

    var results: [[Double]] { [y, logSum, dq, dk, dv].map(\.values) }
  }

  @Test(arguments: problems) func plainLoops(_ problem: Problem) {
    for type in [KK_F32, KK_BF16] {
      let operands = Operands(problem, type)
      operands.run(threads: kk_threads())
      let names = ["y", "log-sum", "dq", "dk", "dv"]
      for (name, (got, expected)) in zip(names, zip(operands.results, operands.expected())) {
        // Gradients of scores are differences: their error is relative to what is subtracted.
        let size = expected.reduce(1) { max($0, abs($1)) }
        expectClose(
          got, expected, absolute: size * (type == KK_F32 ? 1e-5 : 1.5e-2), "\(name), \(type.rawValue)")
      }
    }
  }

  /// Work is divided by the shape: the number of threads changes no bit.
  @Test(arguments: [
    Problem(batch: 2, queries: 100, keys: 130, width: 24, valueWidth: 40, isCausal: true),
    Problem(queries: 90, keys: 700, heads: 1, keyHeads: 1, width: 16, valueWidth: 16),
    Problem(queries: 2, keys: 900, heads: 3, keyHeads: 1, width: 16, valueWidth: 16),
    Problem(batch: 3, queries: 50, keys: 50, width: 32, valueWidth: 32, dropout: 0.1),
  ])
  func anyNumberOfThreadsGivesTheSameBits(_ problem: Problem) {
    for type in [KK_F32, KK_BF16] {
      let one = Operands(problem, type), several = Operands(problem, type)
      one.run(threads: 1)
      several.run(threads: 3)
      #expect(one.results == several.results)
    }
  }

  @Test func scratchMemoryIsLinear() {
    func bytes(_ n: Int) -> (forward: Int, backward: Int) {
      let operands = Operands(
        Problem(queries: 8, keys: 8, heads: 16, keyHeads: 16, width: 32, valueWidth: 32), KK_F32)
      var a = operands.description
      (a.queries, a.keys) = (Int64(n), Int64(n))
      return (Int(kk_attention_forward_scratch(&a)), Int(kk_attention_backward_scratch(&a)))
    }
    #expect(bytes(8192).forward == bytes(1024).forward)
    #expect(bytes(8192).backward < 9 * bytes(1024).backward)
    // dq, dk and dv of one head, and blocks.
    #expect(bytes(8192).backward < Int(kk_threads()) * (8192 * 4 * 96 + 1 << 19))
  }

  @Test func extremeScores() {
    // Scores of 1e4 and more: only the largest counts, and nothing overflows.
    let operands = Operands(
      Problem(queries: 9, keys: 9, heads: 1, keyHeads: 1, width: 1, valueWidth: 1), KK_F32)
    for t in 0..<9 {
      operands.q.set(t * 4, t < 5 ? 1e4 : -1e4)
      operands.k.set(t * 4, Double(t))
      operands.v.set(t * 4, Double(t))
    }
    operands.run(threads: 1)
    #expect(operands.y.values == [8, 8, 8, 8, 8, 0, 0, 0, 0])
    for x in [operands.dq, operands.dk, operands.dv] { #expect(x.values.allSatisfy { $0.isFinite }) }
  }
}
