import CKernels
import Testing

@Suite struct GatherTests {
  private let shapes = [
    (1, 5, 7, 3), (3, 4, 9, 1), (2, 300, 50, 70), (4, 1, 3, 2), (0, 3, 2, 2), (2, 3, 0, 4),
  ]

  private func picks(_ count: Int, below n: Int, _ random: inout Seeded) -> [Int] {
    (0..<count).map { _ in Int.random(in: 0..<n, using: &random) }
  }

  @Test func rows() {
    var random = Seeded(81)
    for (outer, n, count, inner) in shapes {
      for type in [KK_F32, KK_BF16, KK_I64, KK_BOOL] {
        for indexType in [KK_I32, KK_I64] {
          let x = Storage(representable(random.values(outer * n * inner, in: -9...9), type), type)
          let at = picks(count, below: n, &random), indices = Storage(at.map(Double.init), indexType)
          let y = Storage(type, count: outer * count * inner)
          var bad: Int64 = 0
          kernels {
            bad = kk_gather(
              Int64(outer), Int64(n), Int64(count), Int64(inner * kk_dtype_size(type)), x.data, indices.data,
              indexType,
              y.data)
          }
          #expect(bad == -1)
          var expected: [Double] = []
          for o in 0..<outer {
            for k in at { expected += (0..<inner).map { x.get((o * n + k) * inner + $0) } }
          }
          #expect(y.values == expected)
        }
      }
    }
  }

  @Test func along() {
    var random = Seeded(82)
    for (outer, n, count, inner) in shapes {
      for type in [KK_F32, KK_BF16, KK_I64, KK_U8] {
        let x = Storage(representable(random.values(outer * n * inner, in: -9...9), type), type)
        let at = picks(outer * count * inner, below: n, &random)
        let indices = Storage(at.map(Double.init), KK_I32), y = Storage(type, count: at.count)
        var bad: Int64 = 0
        kernels {
          bad = kk_gather_along(
            Int64(outer), Int64(n), Int64(count), Int64(inner), Int64(kk_dtype_size(type)), x.data,
            indices.data,
            KK_I32, y.data)
        }
        #expect(bad == -1)
        let expected = at.indices.map { e in
          x.get((e / (count * inner) * n + at[e]) * inner + e % inner)
        }
        #expect(y.values == expected)
      }
    }
  }

  @Test func scatteredSums() {
    var random = Seeded(83)
    for (outer, n, count, inner) in shapes {
      for type in [KK_F32, KK_BF16, KK_I32, KK_I64] {
        for isAlong in [false, true] {
          let updates = Storage(representable(random.values(outer * count * inner), type), type)
          let at = picks(isAlong ? outer * count * inner : count, below: n, &random)
          let indices = Storage(at.map(Double.init), KK_I64)
          let y = Storage(type, count: outer * n * inner), sum = Storage(type, count: outer * n * inner)
          let base = Storage(representable(random.values(outer * n * inner), type), type)
          var bad: Int64 = 0
          kernels {
            let (o, n, c, i) = (Int64(outer), Int64(n), Int64(count), Int64(inner))
            if isAlong {
              bad = kk_scatter_add_along(o, n, c, i, updates.data, type, indices.data, KK_I64, y.data)
            } else {
              bad = kk_scatter_add(o, n, c, i, updates.data, type, indices.data, KK_I64, nil, y.data)
              _ = kk_scatter_add(o, n, c, i, updates.data, type, indices.data, KK_I64, base.data, sum.data)
            }
          }
          #expect(bad == -1)
          var expected = [Double](repeating: 0, count: outer * n * inner)
          for e in 0..<updates.count {
            let place = isAlong ? at[e] : at[e / inner % count]
            expected[(e / (count * inner) * n + place) * inner + e % inner] += updates.get(e)
          }
          expectClose(
            y.values, expected, relative: type.isFloat ? type.epsilon : 0, absolute: type.isFloat ? 1e-5 : 0,
            "\((outer, n, count, inner)) \(type.rawValue) along \(isAlong)")
          guard !isAlong else { continue }
          let total = zip(expected, base.values).map { $0 + $1 }
          expectClose(
            sum.values, total, relative: type.isFloat ? type.epsilon : 0, absolute: type.isFloat ? 1e-5 : 0,
            "onto another, \((outer, n, count, inner)) \(type.rawValue)")
          kernels {
            _ = kk_scatter_add(
              Int64(outer), Int64(n), Int64(count), Int64(inner), updates.data, type, indices.data, KK_I64,
              base.data, base.data)
          }
          #expect(base.values == sum.values, "in place")
        }
      }
    }
  }

  @Test func badIndicesAreReportedAndNothingIsWritten() {
    for value in [-1.0, 4] {
      let x = Storage((0..<8).map(Double.init)), indices = Storage([0, 3, value, value], KK_I32)
      let y = Storage([Double](repeating: 5, count: 8))
      var found: [Int64] = []
      kernels {
        found = [
          kk_gather(1, 4, 4, 8, x.data, indices.data, KK_I32, y.data),
          kk_gather_along(1, 4, 2, 2, 4, x.data, indices.data, KK_I32, y.data),
          kk_scatter_add(1, 4, 4, 2, x.data, KK_F32, indices.data, KK_I32, nil, y.data),
          kk_scatter_add_along(1, 4, 2, 2, x.data, KK_F32, indices.data, KK_I32, y.data),
        ]
      }
      #expect(found == [2, 2, 2, 2])
      #expect(y.values == [Double](repeating: 5, count: 8))
    }
    let many = Storage((0..<200_000).map { $0 == 150_001 || $0 == 199_999 ? 9 : 0 }, KK_I64)
    let y = Storage(KK_U8, count: 200_000), x = Storage([1], KK_U8)
    var first: Int64 = 0
    kernels { first = kk_gather(1, 1, 200_000, 1, x.data, many.data, KK_I64, y.data) }
    #expect(first == 150_001)
  }
}
