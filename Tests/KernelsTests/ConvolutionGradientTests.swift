import CKernels
import Testing

@Suite struct ConvolutionGradientTests {
  struct Shape: Sendable {
    var n = 2, h = 6, w = 5, c = 16, k = 16
    var kernel = (3, 3), stride = (1, 1), dilation = (1, 1), before = (1, 1), after = (1, 1)
  }

  /// Odd numbers of images, channels that fill no panel or vector, taps that see nothing, and more than one chunk.
  static let shapes = [
    Shape(), Shape(n: 1), Shape(n: 5, c: 21, k: 35), Shape(n: 3, h: 4, w: 4, c: 8, k: 70),
    Shape(n: 2, h: 9, w: 7, c: 10, k: 130, stride: (2, 2), after: (0, 0)),
    Shape(n: 4, h: 8, w: 9, c: 5, k: 48, stride: (2, 1), dilation: (1, 2), before: (0, 3), after: (2, 0)),
    Shape(n: 2, h: 3, w: 2, kernel: (7, 5), before: (3, 2), after: (3, 2)),
    Shape(n: 2, h: 1, w: 1, kernel: (3, 3)),
    Shape(n: 3, h: 5, w: 5, c: 1, k: 1, kernel: (1, 1), before: (0, 0), after: (0, 0)),
    Shape(n: 3, h: 40, w: 40, c: 6, k: 17), Shape(n: 26, h: 10, w: 11, c: 7, k: 3),
    Shape(n: 2, h: 2, w: 1100, c: 4, k: 16),
  ]

  /// Against sums in Double.
  @Test(arguments: shapes.indices) func sums(_ index: Int) {
    guard kk_has_pair_products() else { return }
    let s = Self.shapes[index]
    var random = Seeded(81)
    let (outH, outW) = (
      (s.h + s.before.0 + s.after.0 - (s.kernel.0 - 1) * s.dilation.0 - 1) / s.stride.0 + 1,
      (s.w + s.before.1 + s.after.1 - (s.kernel.1 - 1) * s.dilation.1 - 1) / s.stride.1 + 1
    )
    let x = Storage(random.values(s.n * s.h * s.w * s.c), KK_BF16)
    let dy = Storage(random.values(s.n * outH * outW * s.k), KK_BF16)
    let dw = Storage(random.values(s.k * s.c * s.kernel.0 * s.kernel.1))
    var g = kk_convolution()
    (g.n, g.h, g.w, g.c) = (Int64(s.n), Int64(s.h), Int64(s.w), Int64(s.c))
    (g.out_h, g.out_w, g.k, g.kh, g.kw) = (
      Int64(outH), Int64(outW), Int64(s.k), Int64(s.kernel.0), Int64(s.kernel.1)
    )
    (g.stride_h, g.stride_w) = (Int64(s.stride.0), Int64(s.stride.1))
    (g.dilation_h, g.dilation_w) = (Int64(s.dilation.0), Int64(s.dilation.1))
    (g.pad_top, g.pad_left) = (Int64(s.before.0), Int64(s.before.1))
    kernels { [g] in
      let scratch = Storage(KK_U8, count: Int(kk_convolution_scratch([g])))
      kk_convolution_weight_gradient([g], x.data, dy.data, dw.floats, scratch.data)
    }
    let xs = (0..<s.n * s.h * s.w * s.c).map(x.get), dys = (0..<s.n * outH * outW * s.k).map(dy.get)
    for tap in 0..<s.kernel.0 * s.kernel.1 {
      let (r, t) = (tap / s.kernel.1, tap % s.kernel.1)
      var sums = [Double](repeating: 0, count: s.k * s.c), sizes = sums
      for n in 0..<s.n {
        for row in 0..<outH {
          let y = row * s.stride.0 + r * s.dilation.0 - s.before.0
          guard (0..<s.h).contains(y) else { continue }
          for column in 0..<outW {
            let z = column * s.stride.1 + t * s.dilation.1 - s.before.1
            guard (0..<s.w).contains(z) else { continue }
            let from = ((n * s.h + y) * s.w + z) * s.c, by = ((n * outH + row) * outW + column) * s.k
            for k in 0..<s.k {
              for c in 0..<s.c {
                let product = dys[by + k] * xs[from + c]
                sums[k * s.c + c] += product
                sizes[k * s.c + c] += abs(product)
              }
            }
          }
        }
      }
      let taps = s.kernel.0 * s.kernel.1
      let worst = (0..<s.k * s.c).map { abs(dw.get($0 * taps + tap) - sums[$0]) - 1e-6 * sizes[$0] }.max()!
      #expect(worst <= 0, "tap \(tap)")
    }
  }
}
