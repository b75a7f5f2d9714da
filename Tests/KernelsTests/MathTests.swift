import CKernels
import Foundation
import Testing

/// Runs one unary operation over `x`.
func unary(_ op: kk_opcode, _ x: [Double], type: kk_dtype = KK_F32) -> [Double] {
  let (input, output) = (Storage(x, type), Storage(type, count: x.count))
  let program = Program(shape: [x.count])
  program.input(input, 0).step(op, 1, 0).output(output, 1)
  program.run()
  return output.values
}

/// The largest relative error over `count` points of `range`, spread evenly or geometrically.
private func worst(
  _ op: kk_opcode, _ range: ClosedRange<Double>, floor: Double = 0, count: Int = 200_001,
  _ reference: (Double) -> Double
) -> (error: Double, at: Double) {
  let x = (0..<count).map {
    Double(Float(range.lowerBound + (range.upperBound - range.lowerBound) * Double($0) / Double(count - 1)))
  }
  var worst = (error: 0.0, at: 0.0)
  for (x, y) in zip(x, unary(op, x)) {
    let expected = reference(x)
    let error = abs(y - expected) / max(abs(expected), floor, 1.2e-38)
    if !(error <= worst.error) { worst = (error, x) }
  }
  return worst
}

@Suite struct MathTests {
  @Test func relativeErrors() {
    let cases: [(String, kk_opcode, ClosedRange<Double>, Double, Double, (Double) -> Double)] = [
      ("exp", KK_OP_EXP, -87...88.7, 0, 2e-7, { exp($0) }),
      ("expm1", KK_OP_EXPM1, -17...88, 0, 2e-7, { expm1($0) }),
      ("expm1 near 0", KK_OP_EXPM1, -0.01...0.01, 0, 2e-7, { expm1($0) }),
      ("log", KK_OP_LOG, 1e-30...1e30, 0, 2e-7, { log($0) }),
      ("log near 1", KK_OP_LOG, 0.5...2, 0, 2e-7, { log($0) }),
      ("log1p", KK_OP_LOG1P, -0.999...10, 0, 2e-7, { log1p($0) }),
      ("log1p near 0", KK_OP_LOG1P, -1e-3...1e-3, 0, 2e-7, { log1p($0) }),
      ("tanh", KK_OP_TANH, -12...12, 0, 3e-7, { tanh($0) }),
      ("tanh near 0", KK_OP_TANH, -0.01...0.01, 0, 3e-7, { tanh($0) }),
      ("erf", KK_OP_ERF, -5...5, 0, 2e-7, { erf($0) }),
      ("erf near 0", KK_OP_ERF, -0.01...0.01, 0, 2e-7, { erf($0) }),
      ("sin", KK_OP_SIN, -1000...1000, 1, 1.5e-7, { sin($0) }),
      ("sin of one turn", KK_OP_SIN, -3...3, 0, 2e-7, { sin($0) }),
      ("cos", KK_OP_COS, -1000...1000, 1, 1.5e-7, { cos($0) }),
      ("sin far out", KK_OP_SIN, 1e6...1e7, 1, 1.5e-7, { sin($0) }),
      ("sigmoid", KK_OP_SIGMOID, -87...87, 0, 3e-7, { 1 / (1 + exp(-$0)) }),
      ("silu", KK_OP_SILU, -80...80, 0, 3e-7, { $0 / (1 + exp(-$0)) }),
      ("gelu erf", KK_OP_GELU_ERF, -10...10, 1, 3e-7, { $0 * (1 + erf($0 / 2.0.squareRoot())) / 2 }),
      ("gelu tanh", KK_OP_GELU_TANH, -10...10, 1, 5e-7, geluTanh),
      ("rsqrt", KK_OP_RSQRT, 1e-6...1e6, 0, 2e-7, { 1 / $0.squareRoot() }),
    ]
    for (name, op, range, floor, limit, reference) in cases {
      let (error, at) = worst(op, range, floor: floor, reference)
      #expect(error <= limit, "\(name) at \(at): \(error)")
    }
  }

  @Test func everyDecade() {
    let x = (0..<100_000).map { Double(Float(pow(10, -44 + 82 * Double($0) / 100_000))) }
    expectClose(unary(KK_OP_LOG, x), x.map { log($0) }, relative: 2e-7, "log")
    expectClose(unary(KK_OP_LOG1P, x), x.map { log1p($0) }, relative: 2e-7, absolute: 1e-45, "log1p")
    expectClose(
      unary(KK_OP_EXPM1, x.filter { $0 < 80 }), x.filter { $0 < 80 }.map { expm1($0) }, relative: 2e-7,
      absolute: 2e-45, "expm1")
    expectClose(unary(KK_OP_TANH, x), x.map { tanh($0) }, relative: 3e-7, absolute: 2e-45, "tanh")
    expectClose(unary(KK_OP_ERF, x), x.map { erf($0) }, relative: 2e-7, absolute: 2e-45, "erf")
  }

  @Test func edges() {
    let inf = Double.infinity, tiny = 1.401298464324817e-45
    // 17 copies: the vector loop and the scalar tail.
    func check(_ op: kk_opcode, _ pairs: [(Double, Double)]) {
      for (x, y) in pairs {
        expectClose(
          unary(op, [Double](repeating: x, count: 17)), [Double](repeating: y, count: 17), relative: 2e-7,
          "\(op.rawValue)(\(x))")
      }
    }
    check(KK_OP_EXP, [(inf, inf), (-inf, 0), (.nan, .nan), (0, 1), (89, inf), (-104, 0), (-103.2, tiny)])
    check(KK_OP_EXP, [(-90, Double(Float(exp(-90.0)))), (-100, Double(Float(exp(-100.0))))])
    check(
      KK_OP_EXPM1,
      [(inf, inf), (-inf, -1), (.nan, .nan), (0, 0), (89, inf), (1e-40, 1e-40)].map {
        (Double(Float($0.0)), Double(Float($0.1)))
      })
    check(
      KK_OP_LOG,
      [
        (inf, inf), (0, -inf), (-0.0, -inf), (-1, .nan), (-inf, .nan), (.nan, .nan), (1, 0),
        (tiny, log(tiny)),
      ])
    check(KK_OP_LOG1P, [(inf, inf), (-1, -inf), (-2, .nan), (-inf, .nan), (.nan, .nan), (0, 0)])
    check(KK_OP_TANH, [(inf, 1), (-inf, -1), (.nan, .nan), (0, 0), (tiny, tiny)])
    check(KK_OP_ERF, [(inf, 1), (-inf, -1), (.nan, .nan), (0, 0), (tiny, tiny)])
    check(KK_OP_SIGMOID, [(inf, 1), (-inf, 0), (.nan, .nan), (0, 0.5)])
    check(KK_OP_SIN, [(inf, .nan), (.nan, .nan), (0, 0)])
    check(KK_OP_COS, [(-inf, .nan), (.nan, .nan), (0, 1)])
    check(
      KK_OP_ROUND,
      [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (1e10, 1e10), (inf, inf), (.nan, .nan)])
    check(KK_OP_SIGN, [(-3, -1), (0, 0), (2, 1), (.nan, .nan)])
    check(KK_OP_RELU, [(-3, 0), (.nan, .nan), (2, 2), (inf, inf), (-inf, 0)])
    check(KK_OP_ISFINITE, [(inf, 0), (-inf, 0), (.nan, 0), (3, 1)])
    check(KK_OP_NOT, [(0, 1), (5, 0), (.nan, 0)])
  }

  private func slope(_ f: (Double) -> Double, _ x: Double) -> Double { (f(x + 1e-5) - f(x - 1e-5)) / 2e-5 }

  @Test func activationSlopes() {
    var random = Seeded(3)
    let x = Storage(random.values(1001, in: -9...9)).values, dy = Storage(random.values(1001)).values
    let cases: [(kk_opcode, (Double) -> Double)] = [
      (KK_OP_SILU_GRAD, { $0 / (1 + exp(-$0)) }),
      (KK_OP_GELU_ERF_GRAD, { $0 * (1 + erf($0 / 2.0.squareRoot())) / 2 }),
      (KK_OP_GELU_TANH_GRAD, geluTanh),
    ]
    for (op, f) in cases {
      let output = Storage(KK_F32, count: x.count)
      let program = Program(shape: [x.count])
      program.input(Storage(x), 0).input(Storage(dy), 1).step(op, 2, 0, 1).output(output, 2)
      program.run()
      expectClose(
        output.values, zip(x, dy).map { slope(f, $0) * $1 }, relative: 1e-6, absolute: 1e-6, "\(op.rawValue)")
    }
  }

  /// Activations from bfloat16 to bfloat16 have loops of their own, which round what is within 7e-4 down to 1e-5. All
  /// numbers of the type.
  @Test func coarseActivations() {
    let x = Storage((0...UInt16.max).map { Double(Float(bitPattern: UInt32($0) << 16)) }, KK_BF16)
    let values = x.values, ones = Storage([Double](repeating: 1, count: values.count), KK_BF16)
    let cases: [(kk_opcode, kk_opcode, (Double) -> Double)] = [
      (KK_OP_SILU, KK_OP_SILU_GRAD, { $0 / (1 + exp(-$0)) }),
      (KK_OP_GELU_ERF, KK_OP_GELU_ERF_GRAD, { $0 * erfc(-$0 / 2.0.squareRoot()) / 2 }),
      (KK_OP_GELU_TANH, KK_OP_GELU_TANH_GRAD, geluTanh),
    ]
    for (op, gradient, f) in cases {
      let y = Storage(KK_BF16, count: values.count), dx = Storage(KK_BF16, count: values.count)
      Program(shape: [values.count]).input(x, 0).step(op, 1, 0).output(y, 1).run()
      Program(shape: [values.count]).input(x, 0).input(ones, 1).step(gradient, 2, 0, 1).output(dx, 2).run()
      var failures = 0
      for (index, x) in values.enumerated() {
        let a = y.get(index), slope = dx.get(index)
        if x.isNaN {
          failures += a.isNaN && slope.isNaN ? 0 : 1
        } else if abs(x) <= 1e4 {
          let expected = f(x)
          failures += abs(a - expected) <= abs(expected) * (1.0 / 256 + 7e-4) + 1e-5 ? 0 : 1
          let exact = self.slope(f, x)
          failures += abs(slope - exact) <= abs(exact) / 256 + 1e-3 ? 0 : 1
        } else {
          failures += x < 0 ? (a <= 0 ? 0 : 1) : (a == x ? 0 : 1)
        }
      }
      #expect(failures == 0, "\(op.rawValue)")
      let inPlace = Storage(values, KK_BF16)
      Program(shape: [values.count]).input(inPlace, 0).step(op, 1, 0).output(inPlace, 1).run()
      #expect(memcmp(inPlace.data, y.data, 2 * values.count) == 0)
    }
  }
}

private func geluTanh(_ x: Double) -> Double {
  0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
}
