import CKernels
import Testing

@Suite struct RowProductTests {
  /// Against sums in Double, with and without what is added, for widths that fill no vector.
  @Test(arguments: [(1, 1, 1), (1, 130, 40), (2, 50, 31), (3, 65, 17), (4, 64, 768), (1, 4500, 9)])
  func products(_ extents: (m: Int, n: Int, k: Int)) {
    var random = Seeded(80)
    let (m, n, k) = extents
    for (type, output, byRows) in [
      (KK_F32, KK_F32, false), (KK_BF16, KK_F32, false), (KK_BF16, KK_BF16, false), (KK_F32, KK_F32, true),
      (KK_F32, KK_BF16, true),
    ] {
      let pitch = (byRows ? n : k) + 3
      for (hasBias, accumulate, rectifies) in [
        (false, false, false), (true, true, false), (true, true, true),
      ] {
        let x = Storage(random.values(m * k), type)
        let b = Storage(random.values((byRows ? k : n) * pitch), type)
        let bias = Storage(random.values(n)), y = Storage(random.values(m * n), output)
        var expected: [(value: Double, size: Double)] = []
        for row in 0..<m {
          for i in 0..<n {
            let terms =
              (0..<k).map { x.get(row * k + $0) * b.get(byRows ? $0 * pitch + i : i * pitch + $0) }
              + [hasBias ? bias.get(i) : 0, accumulate ? y.get(row * n + i) : 0]
            let sum = terms.reduce(0, +)
            expected.append((rectifies ? max(sum, 0) : sum, terms.reduce(0) { $0 + abs($1) }))
          }
        }
        var product = kk_row_product()
        (product.m, product.n, product.k, product.b_row) = (Int64(m), Int64(n), Int64(k), Int64(pitch))
        (product.type, product.output, product.accumulate) = (type, output, accumulate)
        (product.by_rows, product.activation) = (byRows, rectifies ? KK_RELU : KK_IDENTITY)
        let scratch = Storage(KK_U8, count: Int(kk_row_product_scratch(&product)) + 1)
        kernels { [product] in
          var product = product
          kk_row_product_run(
            &product, x.data, b.data, hasBias ? bias.floats : nil, y.data, scratch.data)
        }
        for (i, (value, size)) in expected.enumerated() {
          #expect(abs(y.get(i) - value) <= 1e-6 * size + output.epsilon * abs(value))
        }
      }
    }
  }
}
