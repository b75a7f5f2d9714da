import CKernels
import Testing

@Suite struct ScanTests {
  private let shapes = [(1, 1, 1), (3, 7, 1), (2, 1300, 1), (4, 9, 5), (1, 3, 700), (2, 0, 3), (0, 4, 2)]

  @Test func argExtremes() {
    var random = Seeded(31)
    for (outer, n, inner) in shapes where n > 0 {
      for type in [KK_F32, KK_BF16, KK_I32, KK_U8] {
        for nan in type.isFloat ? [false, true] : [false] {
          // Few distinct values: ties must give the first index.
          var x = (0..<outer * n * inner).map { _ in Double(Int.random(in: 0...9, using: &random)) }
          if nan { for i in x.indices where i % 17 == 5 { x[i] = .nan } }
          let src = Storage(x, type)
          for minimum in [false, true] {
            for result in [KK_I32, KK_I64] {
              let dst = Storage(result, count: outer * inner)
              kernels {
                kk_arg_extreme(
                  minimum, Int64(outer), Int64(n), Int64(inner), src.data, type, dst.data, result)
              }
              var expected: [Double] = []
              for o in 0..<outer {
                for i in 0..<inner {
                  let column = (0..<n).map { x[(o * n + $0) * inner + i] }
                  let extreme: Double = minimum ? column.min()! : column.max()!
                  let best: Int? = column.firstIndex { $0.isNaN } ?? column.firstIndex(of: extreme)
                  expected.append(Double(best!))
                }
              }
              #expect(dst.values == expected, "\((outer, n, inner)) \(type.rawValue) \(minimum)")
            }
          }
        }
      }
    }
  }

  @Test func cumulativeSums() {
    var random = Seeded(32)
    for (outer, n, inner) in shapes {
      for type in [KK_F32, KK_BF16, KK_I32, KK_I64] {
        for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
          let x = representable(random.values(outer * n * inner, in: -20...20), type)
          let src = Storage(x, type), dst = Storage(type, count: x.count)
          kernels {
            kk_cumulative_sum(
              Int64(outer), Int64(n), Int64(inner), src.data, dst.data, type, exclusive, reverse)
            // In place.
            kk_cumulative_sum(
              Int64(outer), Int64(n), Int64(inner), src.data, src.data, type, exclusive, reverse)
          }
          var expected = x
          for o in 0..<outer {
            for i in 0..<inner {
              var sum = 0.0
              for k in reverse ? Array((0..<n).reversed()) : Array(0..<n) {
                let at = (o * n + k) * inner + i
                expected[at] = exclusive ? sum : sum + x[at]
                sum += x[at]
              }
            }
          }
          expectClose(dst.values, expected, relative: type.epsilon, "\(type.rawValue) \((outer, n, inner))")
          #expect(src.values == dst.values)
        }
      }
    }
  }

  @Test func sorts() {
    var random = Seeded(33)
    for (rows, n) in [(1, 1), (3, 2), (5, 32), (4, 33), (2, 1000), (1, 70_000), (0, 5), (5, 0)] {
      for type in [KK_F32, KK_BF16, KK_I32, KK_I64, KK_U8] {
        var x = representable(random.values(rows * n, in: -60...60), type)
        if type.isFloat {
          for i in x.indices where i % 11 == 3 { x[i] = [.nan, .infinity, -.infinity, 0, -0.0][i / 11 % 5] }
        }
        for descending in [false, true] {
          let values = Storage(type, count: x.count), order = Storage(KK_I32, count: x.count)
          let src = Storage(x, type)
          kernels {
            kk_sort(Int64(rows), Int64(n), src.data, type, descending, values.data, order.at(0, Int32.self))
          }
          for r in 0..<rows {
            let row = Array(x[r * n..<(r + 1) * n])
            let expected = row.indices.sorted { i, j in
              let (a, b) = (row[i], row[j])
              if a.isNaN || b.isNaN { return a.isNaN && b.isNaN ? i < j : b.isNaN }
              return a == b ? i < j : descending ? a > b : a < b
            }
            #expect(
              order.values[r * n..<(r + 1) * n].map(Int.init) == expected, "\((rows, n)) \(type.rawValue)")
            expectClose(Array(values.values[r * n..<(r + 1) * n]), expected.map { row[$0] })
          }
        }
      }
    }
  }
}
