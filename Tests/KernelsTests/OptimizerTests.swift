import CKernels
import Foundation
import Testing

/// Tensors of odd sizes, one empty, one longer than a piece of work.
private let sizes = [3, 0, 40_000, 1, 777]

private func list(_ random: inout Seeded, in range: ClosedRange<Double> = -1...1) -> [Storage] {
  sizes.map { Storage(random.values($0, in: range)) }
}

private func mutable(_ list: [Storage]) -> [UnsafeMutablePointer<Float>?] { list.map { $0.floats } }
private func constant(_ list: [Storage]) -> [UnsafePointer<Float>?] { list.map { UnsafePointer($0.floats) } }

@Suite struct OptimizerTests {
  private let counts = sizes.map(Int64.init)

  @Test func sumOfSquares() {
    var random = Seeded(71)
    let x = list(&random)
    let exact = x.reduce(0.0) { $0 + $1.values.reduce(0) { $0 + $1 * $1 } }
    var results: [Float] = []
    for threads: Int32 in [1, 2, 3] {
      var result: Float = 0
      kernels {
        let before = kk_threads()
        kk_set_threads(threads)
        kk_sum_of_squares(5, constant(x), self.counts, 0.25, &result)
        kk_set_threads(before)
      }
      results.append(result)
    }
    expectClose([Double(results[0])], [exact / 4], relative: 3e-7)
    #expect(results == [results[0], results[0], results[0]])
    x[2].set(39_999, .nan)
    var result: Float = 0
    kernels { kk_sum_of_squares(5, constant(x), self.counts, 1, &result) }
    #expect(result.isNaN)
  }

  @Test(arguments: [true, false])
  func adam(decoupled: Bool) {
    var random = Seeded(72)
    let p = list(&random), m = list(&random), v = list(&random, in: 0...1), g = list(&random)
    let start = (p.map { $0.values }, m.map { $0.values }, v.map { $0.values })
    // learning rate, beta1, beta2, epsilon, decay, corrections, gradient scale
    let s = Storage([1e-2, 0.9, 0.99, 1e-6, 0.1, 0.271, 0.0297, 0.5]), finite = Storage([0], KK_BOOL)
    var adam = kk_adam()
    adam.learning_rate = UnsafePointer(s.floats)
    adam.beta1 = UnsafePointer(s.floats + 1)
    adam.beta2 = UnsafePointer(s.floats + 2)
    adam.epsilon = UnsafePointer(s.floats + 3)
    adam.weight_decay = UnsafePointer(s.floats + 4)
    adam.correction1 = UnsafePointer(s.floats + 5)
    adam.correction2 = UnsafePointer(s.floats + 6)
    adam.gradient_scale = UnsafePointer(s.floats + 7)
    adam.finite = UnsafePointer(finite.at(0, UInt8.self))
    adam.decoupled = decoupled
    let step = {
      kernels { kk_adam_update(&adam, 5, mutable(p), constant(g), mutable(m), mutable(v), self.counts) }
    }
    step()
    for (k, q) in p.enumerated() { #expect(q.values == start.0[k], "written although not finite") }
    finite.set(0, 1)
    step()
    let (rate, b1, b2, epsilon, decay) = (s.get(0), s.get(1), s.get(2), s.get(3), s.get(4))
    for k in sizes.indices {
      var expected: ([Double], [Double], [Double]) = ([], [], [])
      for i in 0..<sizes[k] {
        let old = start.0[k][i]
        let d = 0.5 * g[k].get(i) + (decoupled ? 0 : decay * old)
        let (mi, vi) = (b1 * start.1[k][i] + (1 - b1) * d, b2 * start.2[k][i] + (1 - b2) * d * d)
        let kept = decoupled ? old * (1 - rate * decay) : old
        expected.0.append(kept - rate * (mi / s.get(5)) / ((vi / s.get(6)).squareRoot() + epsilon))
        expected.1.append(mi)
        expected.2.append(vi)
      }
      expectClose(p[k].values, expected.0, relative: 1e-6, absolute: 1e-7, "parameters")
      expectClose(m[k].values, expected.1, relative: 1e-6, absolute: 1e-7, "m")
      expectClose(v[k].values, expected.2, relative: 1e-6, absolute: 1e-8, "v")
    }
  }

  @Test func sgd() {
    for (momentum, nesterov) in [(false, false), (true, false), (true, true)] {
      var random = Seeded(73)
      let p = list(&random), b = list(&random), g = list(&random)
      let start = (p.map { $0.values }, b.map { $0.values })
      let s = Storage([0.1, 0.9, 0.01])
      kernels {
        var sgd = kk_sgd()
        sgd.learning_rate = UnsafePointer(s.floats)
        sgd.momentum = UnsafePointer(s.floats + 1)
        sgd.weight_decay = UnsafePointer(s.floats + 2)
        sgd.nesterov = nesterov
        if momentum {
          kk_sgd_update(&sgd, 5, mutable(p), constant(g), mutable(b), self.counts)
        } else {
          kk_sgd_update(&sgd, 5, mutable(p), constant(g), nil, self.counts)
        }
      }
      for k in sizes.indices {
        let expected = (0..<sizes[k]).map { i -> Double in
          let d = g[k].get(i) + s.get(2) * start.0[k][i]
          let buffer = momentum ? s.get(1) * start.1[k][i] + d : d
          return start.0[k][i] - s.get(0) * (nesterov ? d + s.get(1) * buffer : buffer)
        }
        expectClose(p[k].values, expected, relative: 1e-6, absolute: 1e-7, "\(momentum) \(nesterov)")
      }
    }
  }

  @Test func movingAverage() {
    var random = Seeded(74)
    let a = list(&random), x = list(&random), start = a.map { $0.values }
    let finite = Storage([0], KK_BOOL)
    let step = {
      kernels {
        var decay: Float = 0.75
        kk_ema_update(&decay, finite.at(0, UInt8.self), 5, mutable(a), constant(x), self.counts)
      }
    }
    step()
    #expect(a.map { $0.values } == start)
    finite.set(0, 1)
    step()
    for k in sizes.indices {
      expectClose(
        a[k].values, (0..<sizes[k]).map { 0.75 * start[k][$0] + 0.25 * x[k].get($0) }, relative: 1e-6,
        absolute: 1e-7)
    }
  }
}
