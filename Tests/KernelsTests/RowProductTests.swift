import CKernels
import Testing

@Suite struct RowProductTests {
  /// Against sums in Double, with and without what is added, for widths that fill no vector.
  @Test(arguments: [(1, 1, 1), (1, 130, 40), (3, 65, 17), (4, 64, 768)])
  func products(_ extents: (m: Int, n: Int, k: Int)) {
    var random = Seeded(80)
    let (m, n, k) = extents, pitch = k + 3
    for (type, output) in [(KK_F32, KK_F32), (KK_BF16, KK_F32), (KK_BF16, KK_BF16)] {
      for (hasBias, accumulate) in [(false, false), (true, true)] {
        let x = Storage(random.values(m * k), type), b = Storage(random.values(n * pitch), type)
        let bias = Storage(random.values(n)), y = Storage(random.values(m * n), output)
        var expected: [(value: Double, size: Double)] = []
        for row in 0..<m {
          for i in 0..<n {
            let terms =
              (0..<k).map { x.get(row * k + $0) * b.get(i * pitch + $0) }
              + [hasBias ? bias.get(i) : 0, accumulate ? y.get(row * n + i) : 0]
            expected.append((terms.reduce(0, +), terms.reduce(0) { $0 + abs($1) }))
          }
        }
        var product = kk_row_product()
        (product.m, product.n, product.k, product.b_row) = (Int64(m), Int64(n), Int64(k), Int64(pitch))
        (product.type, product.output, product.accumulate) = (type, output, accumulate)
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
