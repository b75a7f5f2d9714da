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
    var testDescription: String {
      "\(batch) x \(queries) of \(keys), heads \(heads)/\(keyHeads), \(width), \(valueWidth), \(isCausal) \(mask)"
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
    static let gap = 3

    init(_ p: Problem, _ type: kk_dtype) {
      var random = Seeded(71)
      (self.p, self.type) = (p, type)
      func filled(_ positions: Int, _ heads: Int, _ width: Int, gap: Int = 0) -> Storage {
        Storage(random.values(p.batch * positions * (heads * width + gap), in: -2...2), type)
      }
      q = filled(p.queries, p.heads, p.width, gap: Self.gap)
      k = filled(p.keys, p.keyHeads, p.width, gap: Self.gap)
      v = filled(p.keys, p.keyHeads, p.valueWidth, gap: Self.gap)
      dy = filled(p.queries, p.heads, p.valueWidth)
      y = Storage(type, count: dy.count)
      logSum = Storage(KK_F32, count: p.batch * p.heads * p.queries)
      dq = Storage(type, count: p.batch * p.queries * p.heads * p.width)
      dk = Storage(type, count: p.batch * p.keys * p.keyHeads * p.width)
      dv = Storage(type, count: p.batch * p.keys * p.keyHeads * p.valueWidth)
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
      description.mask_type = mask?.type ?? KK_BOOL
      description.mask = mask.map { UnsafeRawPointer($0.data) }
      (description.batch, description.queries, description.keys) = (
        Int64(p.batch), Int64(p.queries), Int64(p.keys)
      )
      (description.heads, description.key_heads) = (Int64(p.heads), Int64(p.keyHeads))
      (description.width, description.value_width) = (Int64(p.width), Int64(p.valueWidth))
      (description.type, description.scale, description.causal) = (type, 0.3, p.isCausal)
      description.q_strides = Self.strides(p.queries, p.heads, p.width, gap: Self.gap)
      description.k_strides = Self.strides(p.keys, p.keyHeads, p.width, gap: Self.gap)
      description.v_strides = Self.strides(p.keys, p.keyHeads, p.valueWidth, gap: Self.gap)
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
        kk_attention_backward(
          &a, &results, q.data, k.data, v.data, dq.data, dk.data, dv.data, scratch)
        scratch.deallocate()
        kk_set_threads(before)
      }
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
            let qAt = (b * p.queries + t) * (p.heads * n + Self.gap) + h * n
            let yAt = ((b * p.queries + t) * p.heads + h) * m
            let dqAt = ((b * p.queries + t) * p.heads + h) * n
            func kAt(_ s: Int) -> Int { (b * p.keys + s) * (p.keyHeads * n + Self.gap) + g * n }
            func vAt(_ s: Int) -> Int { (b * p.keys + s) * (p.keyHeads * m + Self.gap) + g * m }
            let scores = (0..<p.keys).map { s -> Double in
              if p.isCausal && s > t + p.keys - p.queries { return -.infinity }
              let score = 0.3 * (0..<n).reduce(0) { $0 + q.get(qAt + $1) * k.get(kAt(s) + $1) }
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
            var dot = 0.0
            for e in 0..<m {
              y[yAt + e] = (0..<p.keys).reduce(0) { $0 + weights[$1] * v.get(vAt($1) + e) }
              dot += y[yAt + e] * dy.get(yAt + e)
            }
            for s in 0..<p.keys where weights[s] != 0 {
              let dp = (0..<m).reduce(0) { $0 + dy.get(yAt + $1) * v.get(vAt(s) + $1) }
              let ds = 0.3 * weights[s] * (dp - dot)
              let keyRow = (b * p.keys + s) * p.keyHeads + g
              for e in 0..<m { dv[keyRow * m + e] += weights[s] * dy.get(yAt + e) }
              for d in 0..<n {
                dq[dqAt + d] += ds * k.get(kAt(s) + d)
                dk[keyRow * n + d] += ds * q.get(qAt + d)
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
  ])
  func anyNumberOfThreadsGivesTheSameBits(_ problem: Problem) {
    let one = Operands(problem, KK_F32), several = Operands(problem, KK_F32)
    one.run(threads: 1)
    several.run(threads: 3)
    #expect(one.results == several.results)
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
    #expect(bytes(8192).backward < Int(kk_threads()) * 8192 * 4 * 100)
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
