import CKernels
import Foundation
import Testing

private func truth(_ v: Bool) -> Double { v ? 1 : 0 }
private func floored(_ a: Double, _ b: Double) -> Double {
  let r = fmod(a, b)
  return r != 0 && (r < 0) != (b < 0) ? r + b : r
}
private func larger(_ a: Double, _ b: Double) -> Double { a.isNaN || b.isNaN ? .nan : max(a, b) }
private func smaller(_ a: Double, _ b: Double) -> Double { a.isNaN || b.isNaN ? .nan : min(a, b) }

private let binary: [(String, kk_opcode, @Sendable (Double, Double) -> Double)] = [
  ("add", KK_OP_ADD, { $0 + $1 }), ("sub", KK_OP_SUB, { $0 - $1 }), ("mul", KK_OP_MUL, { $0 * $1 }),
  ("div", KK_OP_DIV, { $0 / $1 }), ("max", KK_OP_MAX, larger), ("min", KK_OP_MIN, smaller),
  ("rem", KK_OP_REM, { fmod($0, $1) }), ("mod", KK_OP_MOD, floored), ("eq", KK_OP_EQ, { truth($0 == $1) }),
  ("ne", KK_OP_NE, { truth($0 != $1) }), ("lt", KK_OP_LT, { truth($0 < $1) }),
  ("le", KK_OP_LE, { truth($0 <= $1) }), ("gt", KK_OP_GT, { truth($0 > $1) }),
  ("ge", KK_OP_GE, { truth($0 >= $1) }), ("and", KK_OP_AND, { truth($0 != 0 && $1 != 0) }),
  ("or", KK_OP_OR, { truth($0 != 0 || $1 != 0) }), ("xor", KK_OP_XOR, { truth(($0 != 0) != ($1 != 0)) }),
]

@Suite struct ElementwiseTests {
  private func special(_ count: Int, _ random: inout Seeded) -> [Double] {
    let odd: [Double] = [0, -0.0, 1, -1, .nan, .infinity, -.infinity, 2.5, 1e-40, 3e38]
    return Storage(
      (0..<count).map { _ in
        Bool.random(using: &random)
          ? odd.randomElement(using: &random)! : Double.random(in: -4...4, using: &random)
      }
    ).values
  }

  @Test func binaryOperations() {
    var random = Seeded(1)
    for count in [0, 1, 15, 1037] {
      let a = special(count, &random), b = special(count, &random)
      for (name, op, f) in binary {
        let y = Storage(KK_F32, count: count)
        let program = Program(shape: [count])
        program.input(Storage(a), 0).input(Storage(b), 1).step(op, 2, 0, 1).output(y, 2)
        program.run()
        expectClose(y.values, zip(a, b).map { Double(Float(f($0, $1))) }, relative: 1e-7, "\(name)")
      }
    }
    let base = random.values(999, in: 0.01...30), power = random.values(999, in: -8...8)
    let y = Storage(KK_F32, count: 999)
    let program = Program(shape: [999])
    program.input(Storage(base), 0).input(Storage(power), 1).step(KK_OP_POW, 2, 0, 1).output(y, 2)
    program.run()
    expectClose(
      y.values, zip(Storage(base).values, Storage(power).values).map { pow($0, $1) }, relative: 3e-7, "pow")
  }

  @Test func selectAndFusedMultiply() {
    var random = Seeded(2)
    // Without the number whose products overflow: rounding once or twice decides there.
    let pool = special(2000, &random).filter { !(abs($0) > 1e30 && $0.isFinite) }
    let a = Array(pool[..<333]), b = Array(pool[333..<666]), c = Array(pool[666..<999])
    let chosen = Storage(KK_F32, count: 333), fused = Storage(KK_F32, count: 333)
    let program = Program(shape: [333])
    program.input(Storage(a), 4).input(Storage(b), 5).input(Storage(c), 6)
    program.step(KK_OP_SELECT, 0, 4, 5, 6).step(KK_OP_FMA, 1, 4, 5, 6).output(chosen, 0).output(fused, 1)
    program.run()
    expectClose(chosen.values, (0..<333).map { a[$0] != 0 ? b[$0] : c[$0] }, "select")
    expectClose(
      fused.values, (0..<333).map { Double(Float(a[$0] * b[$0] + c[$0])) }, relative: 2e-7, absolute: 1e-6,
      "fma")
  }

  /// x (2, 3, 5, 7) with every kind of view: dense, scalar, row, column, transposed, reversed, sliced.
  @Test(arguments: [
    [2, 3, 5, 7], [1, 1, 1, 1], [4, 1, 33, 2], [3, 1, 2, 1500], [2, 40, 1, 30], [0, 3, 2, 2],
  ])
  func views(shape: [Int]) {
    var random = Seeded(5)
    let dense = rowMajor(shape), all = indices(shape)
    let permuted: [Int64] = {
      let s = rowMajor([shape[3], shape[1], shape[2], shape[0]])
      return [s[3], s[1], s[2], s[0]]
    }()
    let wide = dense.map { 2 * $0 }
    let reversed = dense.map { -$0 }
    let pitched = rowMajor([shape[0], shape[1], shape[2], shape[3] + 3])
    let last = max(0, all.count - 1)
    let views: [(String, [Int64], Int, Int)] = [
      ("dense", dense, 0, all.count), ("scalar", [0, 0, 0, 0], 0, 1), ("row", [0, 0, 0, 1], 0, shape[3]),
      ("column", [Int64(shape[1] * shape[2]), Int64(shape[2]), 1, 0], 0, shape[0] * shape[1] * shape[2]),
      ("middle", [0, 1, 0, 0], 0, shape[1]), ("permuted", permuted, 0, all.count),
      ("sliced", wide, 0, 2 * all.count), ("reversed", reversed, last, all.count),
      ("two rows", [Int64(shape[3]), 0, 0, 1], 0, shape[0] * shape[3]),
      ("some columns", pitched, 2, shape.dropLast().reduce(shape[3] + 3, *) + 2),
    ]
    for type in allTypes {
      for (name, strides, first, count) in views {
        let x = Storage(representable(random.values(count, in: -9...9), type), type)
        let b = Storage(random.values(all.count))
        let y = Storage(KK_F32, count: all.count), z = Storage(KK_BF16, count: all.count)
        let program = Program(shape: shape)
        program.input(x, 0, strides: strides, offset: first).input(b, 1)
        program.iota(2, strides: [100, 10, 0, 1]).step(KK_OP_ADD, 3, 0, 1).step(KK_OP_ADD, 4, 3, 2)
        program.output(y, 4).output(z, 0, strides: permuted)
        program.run()
        let xs = all.map { x.get(first + offset($0, strides)) }
        let sums = all.enumerated().map { i, at in
          Double(Float(Float(xs[i]) + Float(b.get(i))) + Float(100 * at[0] + 10 * at[1] + at[3]))
        }
        expectClose(y.values, sums, "\(type.rawValue) \(name)")
        expectClose(
          all.map { z.get(offset($0, permuted)) }, representable(xs, KK_BF16),
          "\(type.rawValue) \(name) stored")
      }
    }
  }

  @Test func storesRoundSaturateAndTruncate() {
    let x: [Double] = [1.5, -1.5, 1e20, -1e20, .nan, .infinity, 300, -7, 0.3, 3e9, 65504, 70000]
    let float16: [Double] = x.map { Double(Float16(Float($0))) }
    let expected: [kk_dtype: [Double]] = [
      KK_I32: [
        1, -1, 2_147_483_647, -2_147_483_648, 0, 2_147_483_647, 300, -7, 0, 2_147_483_647, 65504, 70000,
      ],
      KK_U8: [1, 0, 255, 0, 0, 255, 255, 0, 0, 255, 255, 255],
      KK_I64: [
        1, -1, 9.223372036854775807e18, -9.223372036854775808e18, 0, 9.223372036854775807e18, 300, -7, 0, 3e9,
        65504, 70000,
      ],
      KK_BOOL: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], KK_F16: float16,
      KK_BF16: x.map { Double(Float(bitPattern: UInt32(bfloat16Bits(Float($0))) << 16)) },
    ]
    for (type, values) in expected {
      let y = Storage(type, count: x.count)
      let program = Program(shape: [x.count])
      program.input(Storage(x), 0).output(y, 0)
      program.run()
      expectClose(y.values, values, "\(type.rawValue)")
    }
  }

  @Test func outputMayBeAnInput() {
    var random = Seeded(7)
    for type in [KK_F32, KK_BF16] {
      let count = 5003
      let a = representable(random.values(count), type), b = representable(random.values(count), type)
      // y = (a + b) a in a's place: the last read of a comes after the first write of a register.
      let x = Storage(a, type), sum = Storage(b, type)
      let program = Program(shape: [count])
      program.input(x, 0).input(sum, 1).step(KK_OP_ADD, 2, 0, 1).step(KK_OP_MUL, 3, 2, 0).output(x, 3).output(
        sum, 2)
      program.run()
      let expected = zip(a, b).map { (a, b) in Double(Float(a + b)) }
      expectClose(sum.values, representable(expected, type), "sum")
      expectClose(
        x.values, representable(zip(expected, a).map { Double(Float($0) * Float($1)) }, type), "product")
    }
  }

  @Test func registersMayBeReused() {
    let x = Storage((0..<3000).map(Double.init)), y = Storage(KK_F32, count: 3000)
    let program = Program(shape: [3000])
    program.input(x, 0).step(KK_OP_ADD, 0, 0, 0).step(KK_OP_MUL, 0, 0, 0).step(KK_OP_COPY, 1, 0).step(
      KK_OP_NEG, 1, 1)
    program.output(y, 1)
    program.run()
    let expected: [Double] = (0..<3000).map { (i: Int) -> Double in -Double(Float(4 * i * i)) }
    #expect(y.values == expected)
    #expect(x.values == (0..<3000).map(Double.init))
  }

  @Test func manyRegisters() {
    let count = 4099
    let inputs = (0..<12).map { k in
      Storage((0..<count).map { Double(($0 * (k + 3)) % 17) }, k % 2 == 0 ? KK_F32 : KK_I32)
    }
    let y = Storage(KK_F32, count: count)
    let program = Program(shape: [count])
    for (k, s) in inputs.enumerated() { program.input(s, k) }
    program.step(KK_OP_ADD, 12, 0, 1)
    for k in 2..<12 { program.step(KK_OP_ADD, 11 + k, 10 + k, k) }
    program.output(y, 22)
    program.run()
    #expect(y.values == (0..<count).map { i in inputs.reduce(0) { $0 + $1.get(i) } })
  }

  @Test func integers() {
    var random = Seeded(11)
    let count = 1501
    let a = (0..<count).map { _ in Int64.random(in: -50...50, using: &random) }
    let b = (0..<count).map { _ in Int64.random(in: -7...7, using: &random) }
    func mod(_ a: Int64, _ b: Int64) -> Int64 {
      guard b != 0 else { return 0 }
      return a - b * Int64((Double(a) / Double(b)).rounded(.down))
    }
    let cases: [(kk_opcode, (Int64, Int64) -> Int64)] = [
      (KK_OP_ADD, { $0 + $1 }), (KK_OP_SUB, { $0 - $1 }), (KK_OP_MUL, { $0 * $1 }),
      (KK_OP_DIV, { $1 == 0 ? 0 : $0 / $1 }), (KK_OP_REM, { $1 == 0 ? 0 : $0 % $1 }), (KK_OP_MOD, mod),
      (KK_OP_MAX, { max($0, $1) }), (KK_OP_MIN, { min($0, $1) }), (KK_OP_EQ, { $0 == $1 ? 1 : 0 }),
      (KK_OP_LT, { $0 < $1 ? 1 : 0 }), (KK_OP_AND, { $0 != 0 && $1 != 0 ? 1 : 0 }),
      (
        KK_OP_POW,
        { a, b in b < 0 ? (abs(a) == 1 ? (b % 2 == 0 ? 1 : a) : 0) : (0..<b).reduce(1) { p, _ in p * a } }
      ),
    ]
    for type in [KK_I64, KK_I32] {
      for (op, f) in cases {
        let y = Storage(KK_I64, count: count)
        let program = Program(shape: [count])
        program.input(Storage(a.map(Double.init), type), 0).input(Storage(b.map(Double.init), type), 1)
        program.step(op, 2, 0, 1).output(y, 2)
        program.run(integer: true)
        #expect(y.values == zip(a, b).map { Double(f($0, $1)) }, "\(op.rawValue)")
      }
    }
    let y = Storage(KK_I64, count: 3)
    let extremes = Storage(KK_I64, count: 3)
    for (i, v) in [Int64.min, .max, 1 << 53 + 1].enumerated() { extremes.at(i, Int64.self).pointee = v }
    let program = Program(shape: [3])
    program.input(extremes, 0).iota(1, strides: [1]).step(KK_OP_ADD, 2, 0, 1).step(KK_OP_NEG, 2, 2).output(
      y, 2)
    program.run(integer: true)
    let wrapped: [Int64] = [.min, .min, -(1 << 53 + 1) - 2]
    #expect((0..<3).map { y.at($0, Int64.self).pointee } == wrapped)
  }

  /// Elements are numbered by the strides of the mask, whatever the order in which memory is walked.
  @Test(arguments: [[4, 33], [3, 5, 7], [2, 3000], [1], [70_001]])
  func randomMasks(shape: [Int]) {
    var random = Seeded(11)
    let count = shape.reduce(1, *), x = random.values(count, in: -4...4), g = random.values(count, in: -4...4)
    var keep = kk_keep(random: kk_random(key: (5, 6), stream: (7, 8)), bound: kk_keep_bound(0.75), value: 1.5)
    var mask = [Float](repeating: 0, count: count)
    kk_keep_f32(&keep, 0, count, &mask)
    for reversed in [false, true] {
      let strides: [Int64] =
        reversed
        ? rowMajor(shape.reversed()).reversed() : rowMajor(shape)
      let y = Storage(KK_F32, count: count), gated = Storage(KK_F32, count: count)
      let program = Program(shape: shape)
      program.input(Storage(x, KK_BF16), 0, strides: strides).input(Storage(g), 1, strides: strides)
      program.input(Storage([2.0]), 2, strides: shape.map { _ in 0 })
      program.mask(&keep, 3, strides: rowMajor(shape))
      program.step(KK_OP_KEEP, 4, 0, 3).step(KK_OP_GATE, 5, 1, 4, 2)
      program.output(y, 4, strides: strides).output(gated, 5, strides: strides)
      program.run()
      let stored = Storage(x, KK_BF16).values, doubled = Storage(g).values.map { $0 * 2 }
      let kept = y.values, passed = gated.values
      for (number, index) in indices(shape).enumerated() {
        let place = zip(index, strides).reduce(0) { $0 + $1.0 * Int($1.1) }
        let expected = mask[number] == 0 ? 0 : stored[place] * 1.5
        #expect(kept[place] == Double(Float(expected)))
        #expect(passed[place] == (expected > 0 ? doubled[place] : 0))
      }
    }
  }

  /// Programs of one dropout, perhaps with a sum, and of one sum or gate of bfloat16 have loops of their own.
  @Test(arguments: [1, 15, 64, 300, 70_001]) func dropoutWithoutRegisters(count: Int) {
    var random = Seeded(13)
    var x = random.values(count, in: -4...4)
    x[0] = .infinity
    x[count / 2] = .nan
    let other = Storage(random.values(count, in: -4...4))
    var keep = kk_keep(
      random: kk_random(key: (5, 6), stream: (7, 8)), bound: kk_keep_bound(0.75), value: 1 / 0.9)
    var mask = [Float](repeating: 0, count: count)
    kk_keep_f32(&keep, 0, count, &mask)
    for type in [KK_F32, KK_BF16] {
      for adds in [false, true] {
        let operand = Storage(x, type), y = adds ? Storage(KK_F32, count: count) : operand
        let before = operand.values
        let program = Program(shape: [count]).input(operand, 0).mask(&keep, 1, strides: [1])
        program.step(KK_OP_KEEP, 3, 0, 1)
        if adds { program.input(other, 2).step(KK_OP_ADD, 3, count % 2 == 0 ? 2 : 3, count % 2 == 0 ? 3 : 2) }
        program.output(y, 3).run()
        for (i, got) in y.values.enumerated() {
          let kept = mask[i] == 0 ? 0 : Float(before[i]) * mask[i]
          let expected = Storage([Double(adds ? kept + Float(other.get(i)) : kept)], y.type).get(0)
          #expect(got == expected || got.isNaN && expected.isNaN, "\(type.rawValue), \(adds), element \(i)")
        }
      }
    }
    let a = Storage(x, KK_BF16), b = Storage(other.values, KK_BF16), before = a.values
    let program = Program(shape: [count]).input(a, 0).input(b, 1).input(Storage([1.1]), 2, strides: [0])
    program.step(KK_OP_GATE, 3, 0, 1, 2).output(a, 3).run()
    for (i, got) in a.values.enumerated() {
      let expected = b.get(i) > 0 ? Storage([Double(Float(before[i]) * 1.1)], KK_BF16).get(0) : 0
      #expect(got == expected || got.isNaN && expected.isNaN, "gate, element \(i)")
    }
    let c = Storage(x, KK_BF16), sums = Storage(KK_BF16, count: count)
    let sum = Program(shape: [count]).input(c, 0).input(b, 1)
    sum.step(KK_OP_ADD, 2, 0, 1).output(sums, 2).run()
    for (i, got) in sums.values.enumerated() {
      let expected = Storage([Double(Float(c.get(i)) + Float(b.get(i)))], KK_BF16).get(0)
      #expect(got == expected || got.isNaN && expected.isNaN, "sum, element \(i)")
    }
  }

  @Test func unsetRegisterIsRefused() async {
    await #expect(processExitsWith: .failure) {
      let program = Program(shape: [4])
      let y = Storage(KK_F32, count: 4)
      program.input(y, 0).step(KK_OP_ADD, 1, 0, 2).output(y, 1)
      program.run()
    }
  }
}

extension kk_dtype: @retroactive Hashable {}
