import CKernels
import Testing

@Suite struct CopyTests {
  private func copy(
    _ shape: [Int], _ dst: Storage, _ dstStrides: [Int64], _ src: Storage, _ srcStrides: [Int64],
    from: Int = 0
  ) {
    kernels {
      kk_copy(
        Int32(shape.count), shape.map(Int64.init), dst.data, dst.type, dstStrides,
        src.data + from * kk_dtype_size(src.type), src.type, srcStrides)
    }
  }

  @Test(arguments: [[3, 5], [64, 64], [67, 130], [1, 9], [200, 3], [0, 4]])
  func transposes(shape: [Int]) {
    for type in allTypes {
      for result in allTypes {
        let count = shape[0] * shape[1]
        let src = Storage(representable((0..<count).map { Double($0 % 200) }, type), type)
        let dst = Storage(result, count: count)
        copy(shape, dst, rowMajor(shape), src, [1, Int64(shape[0])])
        let expected = indices(shape).map { src.get($0[0] + $0[1] * shape[0]) }
        #expect(dst.values == representable(expected, result), "\(type.rawValue) to \(result.rawValue)")
      }
    }
  }

  @Test func everyPermutationOfFourAxes() {
    let shape = [3, 17, 9, 8]
    let src = Storage((0..<shape.reduce(1, *)).map(Double.init)), strides = rowMajor(shape)
    func permutations(_ rest: [Int]) -> [[Int]] {
      rest.isEmpty
        ? [[]] : rest.flatMap { head in permutations(rest.filter { $0 != head }).map { [head] + $0 } }
    }
    for order in permutations([0, 1, 2, 3]) {
      let moved = order.map { shape[$0] }, from = order.map { strides[$0] }
      let dst = Storage(KK_F32, count: src.count)
      copy(moved, dst, rowMajor(moved), src, from)
      #expect(dst.values == indices(moved).map { src.get(offset($0, from)) }, "\(order)")
    }
  }

  @Test func slicesBroadcastsAndStridedDestinations() {
    let src = Storage((0..<2000).map(Double.init), KK_I32)
    for (shape, from, dstStrides, srcStrides): ([Int], Int, [Int64], [Int64]) in [
      ([4, 5, 6], 7, [30, 6, 1], [120, 12, 2]), ([4, 5, 6], 0, [30, 6, 1], [0, 1, 0]),
      ([4, 5, 6], 3, [1, 4, 20], [60, 7, 1]), ([10, 3], 1500, [6, 2], [-13, -1]), ([1999], 1999, [1], [-1]),
      ([], 5, [], []),
    ] {
      let dst = Storage(KK_I64, count: 2000)
      copy(shape, dst, dstStrides, src, srcStrides, from: from)
      let all = indices(shape)
      #expect(
        all.map { dst.get(offset($0, dstStrides)) } == all.map { src.get(from + offset($0, srcStrides)) })
    }
  }

  @Test func castsBetweenIntegersWrapAndFloatsSaturate() {
    let wide = Storage(KK_I64, count: 3)
    for (i, v) in [Int64(1) << 40 | 258, -1, 7].enumerated() { wide.at(i, Int64.self).pointee = v }
    let narrow = Storage(KK_I32, count: 3), byte = Storage(KK_U8, count: 3), flag = Storage(KK_BOOL, count: 3)
    for dst in [narrow, byte, flag] { copy([3], dst, [1], wide, [1]) }
    #expect(narrow.values == [258, -1, 7])
    #expect(byte.values == [2, 255, 7])
    #expect(flag.values == [1, 1, 1])
    copy([3], byte, [1], Storage([-3, 1e9, .nan]), [1])
    #expect(byte.values == [0, 255, 0])
  }

  /// bfloat16 rounding to even, for every exponent and the halfway cases; NaN stays NaN.
  @Test func bfloat16Rounding() {
    var bits: [UInt32] = [0x7f80_0001, 0x7fff_ffff, 0xff80_0001, 0x7f7f_ffff, 1, 0x8000, 0x18000, 0x28000]
    let mantissas: [UInt32] = [0, 0x7fff, 0x8000, 0x8001, 0x18000, 0x1ffff]
    for e in UInt32(0)...254 {
      for m in mantissas { bits.append(e << 23 | m) }
    }
    let x = Storage(KK_F32, count: bits.count), y = Storage(KK_BF16, count: bits.count)
    for (i, b) in bits.enumerated() { x.floats[i] = Float(bitPattern: b) }
    copy([bits.count], y, [1], x, [1])
    for (i, b) in bits.enumerated() {
      let got = y.at(i, UInt16.self).pointee, value = Float(bitPattern: b)
      if value.isNaN { #expect(got & 0x7fff > 0x7f80) } else { #expect(got == bfloat16Bits(value)) }
    }
  }

  @Test(arguments: [
    ([3, 4], [1, 0], [2, 3], [0, 0]), ([3, 4], [0, 2], [1, 0], [2, 1]),
    ([5, 6], [-1, -2], [-1, 1], [0, 0]),
    ([5, 6], [-2, 1], [0, -4], [1, 2]), ([4, 1], [1, 1], [1, 1], [0, 3]),
    ([0, 2], [2, 1], [1, 0], [1, 0]),
    ([3, 3], [-5, 0], [6, 0], [0, 0]),
  ])
  func pads(shape: [Int], low: [Int], high: [Int], interior: [Int]) {
    func padded(_ d: Int) -> Int {
      let inside: Int = max(0, shape[d] - 1) * interior[d]
      return low[d] + high[d] + shape[d] + inside
    }
    let out: [Int] = [padded(0), padded(1)]
    var expected = [Double](repeating: 7, count: out[0] * out[1])
    let src = Storage((0..<shape[0] * shape[1]).map { Double($0 + 100) })
    for i in 0..<shape[0] {
      for j in 0..<shape[1] {
        let r: Int = low[0] + i * (interior[0] + 1)
        let c: Int = low[1] + j * (interior[1] + 1)
        let inside = r >= 0 && r < out[0] && c >= 0 && c < out[1]
        if inside { expected[r * out[1] + c] = src.get(i * shape[1] + j) }
      }
    }
    let dst = Storage(KK_F32, count: expected.count)
    kernels {
      var value: Float = 7
      kk_pad(
        2, shape.map(Int64.init), dst.data, src.data, KK_F32, low.map(Int64.init), high.map(Int64.init),
        interior.map(Int64.init), &value)
    }
    #expect(dst.values == expected)
  }

  @Test func concatenates() {
    for outer in [0, 1, 7, 3000] {
      let widths = [3, 0, 50, 1]
      let parts = widths.enumerated().map { k, w in
        Storage((0..<outer * w).map { Double(k * 1000 + $0 % 997) }, KK_I32)
      }
      let dst = Storage(KK_I32, count: outer * 54)
      let bytes = widths.map { Int64($0 * 4) }
      kernels {
        kk_concatenate(dst.data, Int64(outer), 4, parts.map { UnsafeRawPointer($0.data) }, bytes)
      }
      var expected: [Double] = []
      for row in 0..<outer {
        for (k, w) in widths.enumerated() { expected += (0..<w).map { parts[k].get(row * w + $0) } }
      }
      #expect(dst.values == expected)
    }
  }

  @Test func reverses() {
    let shape = [3, 4, 5], src = Storage((0..<60).map(Double.init), KK_BF16),
      dst = Storage(KK_BF16, count: 60)
    for flags in [[false, false, false], [true, false, false], [false, true, true], [true, true, true]] {
      kernels { kk_reverse(3, shape.map(Int64.init), flags, dst.data, src.data, KK_BF16) }
      let expected = indices(shape).map { index in
        src.get(
          offset(zip(index, flags).enumerated().map { $1.1 ? shape[$0] - 1 - $1.0 : $1.0 }, rowMajor(shape)))
      }
      #expect(dst.values == expected)
    }
  }
}
