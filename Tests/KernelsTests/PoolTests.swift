import CKernels
import Testing

private struct PoolCase {
  var n = 2, h = 7, w = 6, c = 5
  var window = (3, 3), stride = (2, 2), padding = (1, 1)
  var countsPadding = true

  var rows: Int { (h + 2 * padding.0 - window.0) / stride.0 + 1 }
  var columns: Int { (w + 2 * padding.1 - window.1) / stride.1 + 1 }

  func kernel(_ type: kk_dtype) -> kk_pool {
    kk_pool(
      samples: Int64(n), height: Int64(h), width: Int64(w), channels: Int64(c),
      window_height: Int64(window.0),
      window_width: Int64(window.1), stride_height: Int64(stride.0), stride_width: Int64(stride.1),
      padding_height: Int64(padding.0), padding_width: Int64(padding.1), out_height: Int64(rows),
      out_width: Int64(columns), type: type, counts_padding: countsPadding)
  }

  /// Calls `body` with each output element and the elements of x in its window.
  func windows(_ body: (_ output: Int, _ inputs: [Int]) -> Void) {
    for index in indices([n, rows, columns, c]) {
      var inputs: [Int] = []
      for u in 0..<window.0 {
        for v in 0..<window.1 {
          let (y, x) = (index[1] * stride.0 - padding.0 + u, index[2] * stride.1 - padding.1 + v)
          if y >= 0, y < h, x >= 0, x < w { inputs.append(((index[0] * h + y) * w + x) * c + index[3]) }
        }
      }
      body(offset(index, rowMajor([n, rows, columns, c])), inputs)
    }
  }
}

@Suite struct PoolTests {
  private let cases = [
    PoolCase(), PoolCase(window: (2, 2), stride: (2, 2), padding: (0, 0)), PoolCase(countsPadding: false),
    PoolCase(n: 1, h: 9, w: 4, c: 130, window: (3, 2), stride: (1, 3), padding: (1, 0)),
    PoolCase(n: 3, h: 1, w: 1, c: 1, window: (1, 1), stride: (1, 1), padding: (0, 0)), PoolCase(n: 0),
  ]

  @Test func averages() {
    var random = Seeded(91)
    for p in cases {
      for type in [KK_F32, KK_BF16] {
        let x = Storage(random.values(p.n * p.h * p.w * p.c), type)
        let dy = Storage(random.values(p.n * p.rows * p.columns * p.c), type)
        let y = Storage(type, count: dy.count), dx = Storage(type, count: x.count)
        kernels {
          var pool = p.kernel(type)
          kk_average_pool_forward(&pool, x.data, y.data)
          kk_average_pool_backward(&pool, dy.data, dx.data)
        }
        var means = [Double](repeating: 0, count: y.count), gradient = [Double](repeating: 0, count: x.count)
        p.windows { output, inputs in
          let divisor = Double(p.countsPadding ? p.window.0 * p.window.1 : inputs.count)
          for i in inputs {
            means[output] += x.get(i) / divisor
            gradient[i] += dy.get(output) / divisor
          }
        }
        expectClose(y.values, means, relative: type.epsilon, absolute: 1e-6, "\(p)")
        expectClose(dx.values, gradient, relative: type.epsilon, absolute: 1e-6, "\(p)")
      }
    }
  }

  @Test func maxima() {
    var random = Seeded(92)
    for p in cases {
      for type in [KK_F32, KK_BF16] {
        // Whole numbers: ties, which the first place wins.
        let x = Storage(random.values(p.n * p.h * p.w * p.c).map { $0.rounded() }, type)
        let dy = Storage(random.values(p.n * p.rows * p.columns * p.c), type)
        let y = Storage(type, count: dy.count), dx = Storage(type, count: x.count)
        kernels {
          var pool = p.kernel(type)
          kk_max_pool_forward(&pool, x.data, y.data)
          kk_max_pool_backward(&pool, x.data, dy.data, dx.data)
        }
        var best = [Double](repeating: 0, count: y.count), gradient = [Double](repeating: 0, count: x.count)
        p.windows { output, inputs in
          let top = inputs.map { x.get($0) }.max()!
          best[output] = top
          gradient[inputs.first { x.get($0) == top }!] += dy.get(output)
        }
        #expect(y.values == best)
        expectClose(dx.values, gradient, relative: type.epsilon, absolute: 1e-6, "\(p)")
      }
    }
  }

  @Test func probesMeasureSomething() {
    var gflops = 0.0, bandwidth = 0.0
    kernels {
      gflops = kk_probe_gflops(0.05)
      bandwidth = kk_probe_bandwidth(0.05)
    }
    #expect(gflops > 1 && gflops < 1e6)
    #expect(bandwidth > 0.5 && bandwidth < 1e5)
    #expect(!String(cString: kk_probe_level()).isEmpty)
  }
}
