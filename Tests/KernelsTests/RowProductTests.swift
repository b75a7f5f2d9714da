import CKernels
import Testing

@Suite struct RowProductTests {
  /// Against sums in Double, with and without what is added, for widths that fill no vector, and for matrices
  /// that are divided by rows, by columns and by both.
  @Test(arguments: [
    (1, 1, 1), (1, 130, 40), (2, 50, 31), (3, 65, 17), (4, 64, 768), (1, 4500, 9), (4, 2100, 130),
  ])
  func products(_ extents: (m: Int, n: Int, k: Int)) {
    var random = Seeded(80)
    let (m, n, k) = extents
    for (type, output, form) in [
      (KK_F32, KK_F32, KK_B_TRANSPOSED), (KK_BF16, KK_F32, KK_B_TRANSPOSED),
      (KK_BF16, KK_BF16, KK_B_TRANSPOSED), (KK_F32, KK_F32, KK_B_BY_ROWS), (KK_F32, KK_BF16, KK_B_BY_ROWS),
      (KK_BF16, KK_F32, KK_B_PANELS), (KK_BF16, KK_BF16, KK_B_PANELS),
    ] {
      if form == KK_B_PANELS && !kk_has_pair_products() { continue }
      let (pitch, count) = extent(form, n, k)
      for (hasBias, accumulate, rectifies) in [
        (false, false, false), (true, true, false), (true, true, true),
      ] {
        let x = Storage(random.values(m * k), type)
        let b = Storage(random.values(count), type)
        let bias = Storage(random.values(n)), y = Storage(random.values(m * n), output)
        var expected: [(value: Double, size: Double)] = []
        for row in 0..<m {
          for i in 0..<n {
            let terms =
              (0..<k).map { x.get(row * k + $0) * b.get(place(form, $0, i, pitch)) }
              + [hasBias ? bias.get(i) : 0, accumulate ? y.get(row * n + i) : 0]
            let sum = terms.reduce(0, +)
            expected.append((rectifies ? max(sum, 0) : sum, terms.reduce(0) { $0 + abs($1) }))
          }
        }
        var product = kk_row_product()
        (product.m, product.n, product.k, product.b_row) = (Int64(m), Int64(n), Int64(k), Int64(pitch))
        (product.type, product.output, product.accumulate) = (type, output, accumulate)
        (product.form, product.activation) = (form, rectifies ? KK_RELU : KK_IDENTITY)
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

  /// The distance of rows or panels of b, and its elements with what lies between and behind them.
  private func extent(_ form: kk_row_product_form, _ n: Int, _ k: Int) -> (pitch: Int, count: Int) {
    let panel = Int(KK_PRODUCT_PANEL)
    switch form {
    case KK_B_TRANSPOSED: return (k + 3, n * (k + 3))
    case KK_B_BY_ROWS: return (n + 3, k * (n + 3))
    default:
      let pitch = (k + 31) / 32 * 32 * panel
      return (pitch, (n + panel - 1) / panel * pitch)
    }
  }

  /// Where element (l, i) of b lies.
  private func place(_ form: kk_row_product_form, _ l: Int, _ i: Int, _ pitch: Int) -> Int {
    let panel = Int(KK_PRODUCT_PANEL)
    switch form {
    case KK_B_TRANSPOSED: return i * pitch + l
    case KK_B_BY_ROWS: return l * pitch + i
    default: return i / panel * pitch + (l / 2 * panel + i % panel) * 2 + l % 2
    }
  }
}
