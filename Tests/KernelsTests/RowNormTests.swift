import CKernels
import Testing

@Suite struct RowNormTests {
  private struct Reference {
    var y: [Double] = [], dx: [Double] = [], dgamma: [Double], dbeta: [Double]
  }

  private func reference(
    _ rows: Int, _ n: Int, rms: Bool, _ x: Storage, _ dy: Storage, _ gamma: Storage?, _ beta: Storage?
  ) -> Reference {
    var r = Reference(dgamma: .init(repeating: 0, count: n), dbeta: .init(repeating: 0, count: n))
    for row in 0..<rows {
      let v = (0..<n).map { x.get(row * n + $0) }, d = (0..<n).map { dy.get(row * n + $0) }
      let mean = rms ? 0 : v.reduce(0, +) / Double(n)
      let rstd = 1 / (v.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(n) + 1e-5).squareRoot()
      let xh = v.map { ($0 - mean) * rstd }
      let g = (0..<n).map { d[$0] * (gamma?.get($0) ?? 1) }
      let m1 = rms ? 0 : g.reduce(0, +) / Double(n)
      let m2 = zip(g, xh).reduce(0) { $0 + $1.0 * $1.1 } / Double(n)
      for i in 0..<n {
        r.y.append(xh[i] * (gamma?.get(i) ?? 1) + (beta?.get(i) ?? 0))
        r.dx.append(rstd * (g[i] - m1 - xh[i] * m2))
        r.dgamma[i] += d[i] * xh[i]
        r.dbeta[i] += d[i]
      }
    }
    return r
  }

  @Test func forwardAndGradients() {
    var random = Seeded(51)
    for (rows, n) in [(1, 3), (7, 33), (300, 64), (5, 5000), (2100, 24), (0, 8)] {
      for type in [KK_F32, KK_BF16] {
        for rms in [false, true] {
          for affine in [false, true] {
            let x = Storage(random.values(rows * n).map { $0 + 2 }, type),
              dy = Storage(random.values(rows * n), type)
            let gamma = affine ? Storage(random.values(n), KK_BF16) : nil
            let beta = affine ? Storage(random.values(n), KK_BF16) : nil
            let residual = affine ? Storage(random.values(rows * n), type) : nil
            let expected = reference(rows, n, rms: rms, x, dy, gamma, beta)
            let y = Storage(type, count: rows * n), dx = Storage(type, count: rows * n)
            let statistics = (0..<2).map { _ in Storage(KK_F32, count: rows) }
            let rounded = (0..<2).map { _ in Storage(KK_BF16, count: rows * n) }
            let other = type == KK_F32 ? KK_BF16 : KK_F32, converted = Storage(other, count: rows * n)
            let sums = (0..<2).map { _ in Storage(KK_F32, count: n) }
            kernels {
              var norm = kk_row_norm(
                rows: Int64(rows), n: Int64(n), type: type, result_type: type, residual_type: type,
                affine_type: KK_BF16, gamma: gamma?.data, beta: beta?.data, epsilon: 1e-5, rms: rms)
              kk_row_norm_forward(
                &norm, x.data, nil, nil, y.data, rounded[0].data, rms ? nil : statistics[0].floats,
                statistics[1].floats
              )
              norm.result_type = other
              kk_row_norm_forward(
                &norm, x.data, nil, nil, converted.data, nil, rms ? nil : statistics[0].floats,
                statistics[1].floats)
              kk_row_norm_backward(
                &norm, x.data, rms ? nil : statistics[0].floats, statistics[1].floats, dy.data,
                residual?.data, dx.data, rounded[1].data, sums[0].floats, sums[1].floats)
            }
            expectResidual(rows, n, x, dy, gamma, beta, rms: rms)
            if type == KK_BF16 {
              expectResidual(rows, n, x, Storage(dy.values, KK_F32), gamma, beta, rms: rms)
            }
            let what = "\((rows, n)) \(type.rawValue) rms \(rms)"
            let near = type == KK_F32 ? 1e-5 : 1.0 / 256
            expectClose(y.values, expected.y, relative: near, absolute: 1e-5, what)
            expectClose(converted.values, expected.y, relative: 1.0 / 256, absolute: 1e-5, what)
            #expect(rounded[0].values == representable(y.values, KK_BF16))
            #expect(rounded[1].values == representable(dx.values, KK_BF16))
            let total = expected.dx.enumerated().map { $1 + (residual?.get($0) ?? 0) }
            expectClose(dx.values, total, relative: near, absolute: 2e-5, what)
            expectClose(sums[0].values, expected.dgamma, relative: 1e-4, absolute: 2e-4, what)
            expectClose(sums[1].values, expected.dbeta, relative: 1e-4, absolute: 2e-4, what)
          }
        }
      }
    }
  }

  /// A residual is added to x; the sum may be stored over either of them that has its type.
  private func expectResidual(
    _ rows: Int, _ n: Int, _ x: Storage, _ residual: Storage, _ gamma: Storage?, _ beta: Storage?, rms: Bool
  ) {
    let type = residual.type, count = rows * n
    let total = (0..<count).map { x.get($0) + residual.get($0) }
    let expected = reference(
      rows, n, rms: rms, Storage(total, KK_F32), residual, gamma, beta
    ).y
    for place in 0..<4 where place != 2 || x.type == type {
      let a = Storage(x.values, x.type), b = Storage(residual.values, type),
        other = Storage(type, count: count)
      let sum = [nil, other, a, b][place]
      let y = Storage(type, count: count)
      let statistics = (0..<2).map { _ in Storage(KK_F32, count: rows) }
      kernels {
        var norm = kk_row_norm(
          rows: Int64(rows), n: Int64(n), type: x.type, result_type: type, residual_type: type,
          affine_type: KK_BF16, gamma: gamma?.data, beta: beta?.data, epsilon: 1e-5, rms: rms)
        kk_row_norm_forward(
          &norm, a.data, b.data, sum?.data, y.data, nil, rms ? nil : statistics[0].floats,
          statistics[1].floats)
      }
      let what = "\((rows, n)) \(x.type.rawValue) and \(type.rawValue), rms \(rms), sum \(place)"
      expectClose(
        y.values, expected, relative: type == KK_F32 ? 1e-5 : 1.0 / 256, absolute: 2e-5, what)
      if let sum { #expect(sum.values == representable(total, type), "\(what)") }
    }
  }
}
