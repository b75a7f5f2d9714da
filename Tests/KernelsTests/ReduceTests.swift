import CKernels
import Testing

@Suite struct ReduceTests {
  private func reduce(
    _ op: kk_reduction, _ shape: [Int], _ axes: Set<Int>, _ src: Storage, _ strides: [Int64]? = nil,
    to type: kk_dtype, scale: Double = 1
  ) -> [Double] {
    let kept = shape.indices.filter { !axes.contains($0) }.map { shape[$0] }
    let dst = Storage(type, count: kept.reduce(1, *))
    kernels {
      kk_reduce(
        op, Int32(shape.count), shape.map(Int64.init), shape.indices.map { axes.contains($0) }, dst.data,
        type,
        src.data, src.type, strides ?? rowMajor(shape), scale)
    }
    return dst.values
  }

  private func reference(
    _ op: kk_reduction, _ shape: [Int], _ axes: Set<Int>, _ value: ([Int]) -> Double
  ) -> [Double] {
    let kept = shape.indices.filter { !axes.contains($0) }
    let strides = rowMajor(kept.map { shape[$0] })
    let identity: Double =
      switch op {
      case KK_SUM: 0
      case KK_PRODUCT: 1
      case KK_MAXIMUM: -.infinity
      default: .infinity
      }
    var result = [Double](repeating: identity, count: kept.reduce(1) { $0 * shape[$1] })
    for index in indices(shape) {
      let (at, x) = (offset(kept.map { index[$0] }, strides), value(index))
      switch op {
      case KK_SUM: result[at] += x
      case KK_PRODUCT: result[at] *= x
      case KK_MAXIMUM: result[at] = result[at].isNaN || x.isNaN ? .nan : max(result[at], x)
      default: result[at] = result[at].isNaN || x.isNaN ? .nan : min(result[at], x)
      }
    }
    return result
  }

  @Test(arguments: [
    [2, 3, 5, 7], [1, 1, 4, 1], [3, 70, 2, 40], [2, 2, 300, 3], [1, 5, 2, 1200], [2, 0, 3, 2],
    [40, 40, 1, 6],
  ])
  func everySubsetOfAxes(shape: [Int]) {
    var random = Seeded(21)
    for bits in 0..<16 {
      let axes = Set((0..<4).filter { bits >> $0 & 1 == 1 })
      for type in [KK_F32, KK_BF16, KK_I32, KK_U8] {
        let values = random.values(shape.reduce(1, *), in: -2...2).map { $0 == 0 ? 1 : $0 }
        let src = Storage(representable(values, type), type)
        for op in [KK_SUM, KK_MAXIMUM, KK_MINIMUM] where shape.reduce(1, *) > 0 || type.isFloat {
          let got = reduce(op, shape, axes, src, to: KK_F32, scale: 0.5)
          let expected = reference(op, shape, axes) { src.get(offset($0, rowMajor(shape))) }.map { $0 / 2 }
          expectClose(
            got, expected, relative: 1e-6, absolute: 1e-4, "\(type.rawValue) \(op.rawValue) \(axes)")
        }
      }
    }
  }

  @Test func products() {
    var random = Seeded(22)
    let shape = [6, 9, 11], src = Storage(random.values(594, in: 0.8...1.25))
    for axes: Set<Int> in [[0], [1], [2], [0, 2], [0, 1, 2]] {
      expectClose(
        reduce(KK_PRODUCT, shape, axes, src, to: KK_F32),
        reference(KK_PRODUCT, shape, axes) { src.get(offset($0, rowMajor(shape))) }, relative: 1e-4, "\(axes)"
      )
    }
    let integers = Storage([3, -2, 5, 7], KK_I64)
    #expect(reduce(KK_PRODUCT, [4], [0], integers, to: KK_I64) == [-210])
  }

  @Test func stridedSources() {
    var random = Seeded(23)
    let shape = [5, 8, 6], src = Storage(random.values(1000))
    for strides: [Int64] in [[1, 5, 40], [0, 6, 1], [100, 10, 1], [6, 30, 1], [48, 0, 0]] {
      for axes: Set<Int> in [[0], [1], [2], [0, 1], [1, 2], [0, 2]] {
        expectClose(
          reduce(KK_SUM, shape, axes, src, strides, to: KK_F32),
          reference(KK_SUM, shape, axes) { src.get(offset($0, strides)) }, relative: 1e-6, absolute: 1e-5,
          "\(strides)")
      }
    }
  }

  @Test func largeSumsStayAccurate() {
    let count = 3_000_001
    for type in [KK_F32, KK_BF16] {
      let src = Storage(representable((0..<count).map { 1 + Double($0 % 7) / 8 }, type), type)
      let exact = src.values.reduce(0, +)
      expectClose(
        reduce(KK_SUM, [count], [0], src, to: KK_F32), [exact], relative: 3e-7, "\(type.rawValue) all")
      let columns = reduce(KK_SUM, [count / 3, 3], [0], src, to: KK_F32, scale: 3 / Double(count))
      let byColumn = (0..<3).map { c in stride(from: c, to: count - 1, by: 3).reduce(0.0) { $0 + src.get($1) }
      }
      expectClose(
        columns, byColumn.map { $0 * 3 / Double(count) }, relative: 3e-7, "\(type.rawValue) columns")
    }
  }

  @Test func sumsDoNotDependOnThreads() {
    var random = Seeded(24)
    let src = Storage(random.values(700_000))
    for (shape, axes): ([Int], Set<Int>) in [([700_000], [0]), ([7000, 100], [0]), ([100, 7000], [1])] {
      var results: [[Double]] = []
      for threads: Int32 in [1, 2, 3] {
        var before: Int32 = 0
        kernels {
          before = kk_threads()
          kk_set_threads(threads)
        }
        results.append(reduce(KK_SUM, shape, axes, src, to: KK_F32))
        kernels { kk_set_threads(before) }
      }
      #expect(results[0] == results[1] && results[0] == results[2])
    }
  }

  @Test func integersAndBooleansCountExactly() {
    let ones = Storage([Double](repeating: 200, count: 100_000), KK_U8)
    #expect(reduce(KK_SUM, [100_000], [0], ones, to: KK_I64) == [20_000_000])
    let flags = Storage((0..<999).map { Double($0 % 3 == 0 ? 1 : 0) }, KK_BOOL)
    #expect(reduce(KK_SUM, [999], [0], flags, to: KK_I32) == [333])
    let columns: [Double] = (0..<333).map { $0 % 3 == 0 ? 1 : 0 }
    #expect(reduce(KK_MAXIMUM, [3, 333], [0], flags, to: KK_BOOL) == columns)
    #expect(reduce(KK_SUM, [999], [0], flags, to: KK_F32, scale: 1 / 999.0) == [Double(Float(1.0 / 3))])
  }

  @Test func extremesPropagateNaN() {
    for count in [1, 5, 64, 1000] {
      for at in [0, count / 2, count - 1] {
        var x = (0..<count).map { Double($0 % 13) - 6 }
        x[at] = .nan
        for op in [KK_MAXIMUM, KK_MINIMUM] {
          #expect(reduce(op, [count], [0], Storage(x), to: KK_F32)[0].isNaN, "\(count) \(at)")
          #expect(reduce(op, [count, 1], [0], Storage(x), to: KK_F32)[0].isNaN)
        }
      }
    }
  }
}
