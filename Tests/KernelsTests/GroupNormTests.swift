import CKernels
import Foundation
import Testing

/// The description of a case and its reference in Double.
private struct GroupNormCase {
  var samples = 2, pixels = 5, channels = 6, groups = 3
  var silu = false, affine = true, modulated = false, biased = false
  var type = KK_F32
  var offset = 0.0

  var count: Int { samples * pixels * channels }
}

private func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

private final class GroupNorm {
  let c: GroupNormCase
  let x: Storage, dy: Storage, residual: Storage
  let gamma: Storage, beta: Storage, modulation: Storage, bias: Storage
  var norm = kk_group_norm()
  private(set) var mean: Storage, rstd: Storage

  init(_ c: GroupNormCase) {
    self.c = c
    var random = Seeded(41)
    x = Storage(random.values(c.count).map { $0 + c.offset }, c.type)
    dy = Storage(random.values(c.count), c.type)
    residual = Storage(random.values(c.count), c.type)
    gamma = Storage(random.values(c.channels), c.modulated ? KK_BF16 : KK_F32)
    beta = Storage(random.values(c.channels), gamma.type)
    // Rows of scale and shift side by side, as the chunked output of a linear layer.
    modulation = Storage(random.values(c.samples * 2 * c.channels), c.type)
    bias = Storage(random.values(c.samples * c.channels), c.type)
    mean = Storage(KK_F32, count: c.samples * c.groups)
    rstd = Storage(KK_F32, count: c.samples * c.groups)
    norm.samples = Int64(c.samples)
    norm.pixels = Int64(c.pixels)
    norm.channels = Int64(c.channels)
    norm.groups = Int64(c.groups)
    norm.type = c.type
    norm.affine_type = gamma.type
    norm.modulation_type = c.type
    if c.affine { (norm.gamma, norm.beta) = (UnsafeRawPointer(gamma.data), UnsafeRawPointer(beta.data)) }
    if c.modulated {
      norm.scale = UnsafeRawPointer(modulation.data)
      norm.shift = UnsafeRawPointer(modulation.data + c.channels * kk_dtype_size(c.type))
      (norm.scale_stride, norm.shift_stride) = (Int64(2 * c.channels), Int64(2 * c.channels))
    }
    if c.biased {
      (norm.input_bias, norm.input_bias_stride) = (UnsafeRawPointer(bias.data), Int64(c.channels))
    }
    norm.epsilon = 1e-5
    norm.silu = c.silu
  }

  func forward(into y: Storage) {
    kernels { [self] in kk_group_norm_forward(&norm, x.data, y.data, mean.floats, rstd.floats) }
  }

  private func gain(_ ch: Int) -> Double { c.affine ? gamma.get(ch) : 1 }
  private func lift(_ ch: Int) -> Double { c.affine ? beta.get(ch) : 0 }
  private func scale(_ n: Int, _ ch: Int) -> Double {
    c.modulated ? modulation.get(n * 2 * c.channels + ch) : 0
  }
  private func shift(_ n: Int, _ ch: Int) -> Double {
    c.modulated ? modulation.get((2 * n + 1) * c.channels + ch) : 0
  }

  struct Reference {
    var y: [Double] = [], dx: [Double] = [], mean: [Double] = [], rstd: [Double] = []
    var dgamma: [Double], dbeta: [Double], dscale: [Double], dshift: [Double], dinput: [Double]
  }

  func reference() -> Reference {
    let (width, rows) = (c.channels / c.groups, c.samples * c.channels)
    var r = Reference(
      dgamma: .init(repeating: 0, count: c.channels), dbeta: .init(repeating: 0, count: c.channels),
      dscale: .init(repeating: 0, count: rows), dshift: .init(repeating: 0, count: rows),
      dinput: .init(repeating: 0, count: rows))
    (r.y, r.dx) = (.init(repeating: 0, count: c.count), .init(repeating: 0, count: c.count))
    for n in 0..<c.samples {
      for g in 0..<c.groups {
        var at: [(i: Int, ch: Int)] = []
        for p in 0..<c.pixels {
          for ch in g * width..<(g + 1) * width { at.append(((n * c.pixels + p) * c.channels + ch, ch)) }
        }
        let count = Double(at.count)
        let v = at.map { x.get($0.i) + (c.biased ? bias.get(n * c.channels + $0.ch) : 0) }
        let mean = v.reduce(0, +) / count
        let rstd = 1 / (v.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count + 1e-5).squareRoot()
        r.mean.append(mean)
        r.rstd.append(rstd)
        let xh = v.map { ($0 - mean) * rstd }
        var dz: [Double] = [], dxh: [Double] = []
        for (k, (i, ch)) in at.enumerated() {
          let inner = xh[k] * gain(ch) + lift(ch)
          let z = inner * (1 + scale(n, ch)) + shift(n, ch)
          r.y[i] = c.silu ? z * sigmoid(z) : z
          let slope = c.silu ? sigmoid(z) * (1 + z * (1 - sigmoid(z))) : 1
          let d = dy.get(i) * slope
          dz.append(d)
          dxh.append(d * (1 + scale(n, ch)) * gain(ch))
          r.dgamma[ch] += d * (1 + scale(n, ch)) * xh[k]
          r.dbeta[ch] += d * (1 + scale(n, ch))
          r.dscale[n * c.channels + ch] += d * inner
          r.dshift[n * c.channels + ch] += d
        }
        let m1 = dxh.reduce(0, +) / count
        let m2 = zip(dxh, xh).reduce(0) { $0 + $1.0 * $1.1 } / count
        for (k, (i, ch)) in at.enumerated() {
          r.dx[i] = rstd * (dxh[k] - m1 - xh[k] * m2)
          r.dinput[n * c.channels + ch] += r.dx[i]
        }
      }
    }
    return r
  }
}

@Suite struct GroupNormTests {
  private func cases() -> [GroupNormCase] {
    var all: [GroupNormCase] = []
    for (samples, pixels, channels, groups) in [
      (2, 5, 6, 3), (1, 1, 4, 2), (3, 700, 32, 8), (5, 64, 128, 32), (2, 51, 160, 4), (1, 1030, 24, 24),
      (1, 600, 7, 1),
      (17, 9, 33, 11),
    ] {
      for type in [KK_F32, KK_BF16] {
        for bits in 0..<8 {
          all.append(
            GroupNormCase(
              samples: samples, pixels: pixels, channels: channels, groups: groups, silu: bits & 1 == 1,
              affine: bits != 4, modulated: bits & 2 == 2, biased: bits & 4 == 4, type: type))
        }
      }
    }
    return all
  }

  @Test func forwardAndGradients() {
    for c in cases() {
      let norm = GroupNorm(c), expected = norm.reference()
      let y = Storage(c.type, count: c.count), what = "\(c)"
      norm.forward(into: y)
      expectClose(norm.mean.values, expected.mean, relative: 1e-6, absolute: 1e-6, what)
      expectClose(norm.rstd.values, expected.rstd, relative: 1e-5, what)
      let near = c.type == KK_F32 ? 1e-5 : 1.0 / 256
      expectClose(y.values, expected.y, relative: near, absolute: c.type == KK_F32 ? 2e-5 : 1e-4, what)

      let dx = Storage(c.type, count: c.count)
      let parameters = (0..<2).map { _ in Storage(KK_F32, count: c.channels) }
      let rows = (0..<3).map { _ in Storage(KK_F32, count: c.samples * c.channels) }
      kernels {
        var out = kk_group_norm_gradients(
          dgamma: parameters[0].floats, dbeta: parameters[1].floats, dscale: rows[0].floats,
          dshift: rows[1].floats,
          dinput: rows[2].floats)
        kk_group_norm_backward(
          &norm.norm, norm.x.data, norm.mean.floats, norm.rstd.floats, norm.dy.data, nil, dx.data, &out)
      }
      // Where two elements fill a group, dx is a small difference of large numbers.
      let size = expected.rstd.max()! * 4
      expectClose(
        dx.values, expected.dx, relative: near, absolute: (c.type == KK_F32 ? 2e-5 : 6e-2) * size, what)
      let sums = 1e-5 * Double(c.samples * c.pixels).squareRoot() * 10
      expectClose(parameters[0].values, expected.dgamma, relative: 1e-4, absolute: sums, what)
      expectClose(parameters[1].values, expected.dbeta, relative: 1e-4, absolute: sums, what)
      expectClose(rows[0].values, expected.dscale, relative: 1e-4, absolute: sums, what)
      expectClose(rows[1].values, expected.dshift, relative: 1e-4, absolute: sums, what)
      expectClose(rows[2].values, expected.dinput, relative: 1e-4, absolute: sums * size, what)
    }
  }

  /// In place, over dy and over the residual: the same dx as apart.
  @Test func residualAndAliases() {
    for (type, channels) in [(KK_F32, 16), (KK_BF16, 16), (KK_BF16, 64)] {
      for silu in [false, true] {
        let c = GroupNormCase(
          samples: 3, pixels: 301, channels: channels, groups: 4, silu: silu, type: type)
        let norm = GroupNorm(c), expected = norm.reference()
        norm.forward(into: Storage(type, count: c.count))
        func backward(_ residual: Storage?, _ dx: Storage, _ dy: Storage) {
          kernels {
            var out = kk_group_norm_gradients()
            kk_group_norm_backward(
              &norm.norm, norm.x.data, norm.mean.floats, norm.rstd.floats, dy.data, residual?.data, dx.data,
              &out)
          }
        }
        let wanted = (0..<c.count).map { expected.dx[$0] + norm.residual.get($0) }
        let near = (relative: type == KK_F32 ? 1e-5 : 1.0 / 256, absolute: type == KK_F32 ? 1e-5 : 2e-2)
        let apart = Storage(type, count: c.count)
        backward(norm.residual, apart, norm.dy)
        expectClose(apart.values, wanted, relative: near.relative, absolute: near.absolute, "apart")
        let dy = Storage(norm.dy.values, type), residual = Storage(norm.residual.values, type)
        backward(norm.residual, dy, dy)
        expectClose(dy.values, wanted, relative: near.relative, absolute: near.absolute, "over dy")
        backward(residual, residual, norm.dy)
        expectClose(
          residual.values, wanted, relative: near.relative, absolute: near.absolute, "over the residual")
        norm.forward(into: norm.x)
        expectClose(norm.x.values, expected.y, relative: near.relative, absolute: 2e-5, "forward in place")
      }
    }
  }

  /// A large common offset must not eat the variance.
  @Test func statisticsFarFromZero() {
    for offset in [1000.0, -30000] {
      let c = GroupNormCase(samples: 2, pixels: 1024, channels: 64, groups: 8, offset: offset)
      let norm = GroupNorm(c), expected = norm.reference()
      norm.forward(into: Storage(KK_F32, count: c.count))
      expectClose(norm.mean.values, expected.mean, relative: 1e-6, "\(offset)")
      expectClose(norm.rstd.values, expected.rstd, relative: 1e-5, "\(offset)")
    }
    var constant = GroupNormCase(samples: 1, pixels: 50, channels: 8, groups: 2)
    constant.affine = false
    let norm = GroupNorm(constant)
    for i in 0..<constant.count { norm.x.set(i, 1234.5678) }
    let y = Storage(KK_F32, count: constant.count)
    norm.forward(into: y)
    expectClose(y.values, .init(repeating: 0, count: constant.count), absolute: 0.05)
    expectClose(norm.rstd.values, .init(repeating: 1 / 1e-5.squareRoot(), count: 2), relative: 1e-4)
  }

  @Test func sameBitsForAnyNumberOfThreads() {
    let c = GroupNormCase(samples: 3, pixels: 2000, channels: 32, groups: 8, silu: true)
    var results: [[Double]] = []
    for threads: Int32 in [1, 2, 3] {
      let norm = GroupNorm(c), y = Storage(KK_F32, count: c.count), dx = Storage(KK_F32, count: c.count)
      let dgamma = Storage(KK_F32, count: c.channels)
      kernels {
        let before = kk_threads()
        kk_set_threads(threads)
        kk_group_norm_forward(&norm.norm, norm.x.data, y.data, norm.mean.floats, norm.rstd.floats)
        var out = kk_group_norm_gradients()
        out.dgamma = dgamma.floats
        kk_group_norm_backward(
          &norm.norm, norm.x.data, norm.mean.floats, norm.rstd.floats, norm.dy.data, nil, dx.data, &out)
        kk_set_threads(before)
      }
      results.append(y.values + dx.values + dgamma.values)
    }
    #expect(results[0] == results[1] && results[0] == results[2])
  }

  @Test func noElements() {
    let c = GroupNormCase(samples: 0, pixels: 4, channels: 4, groups: 2)
    let norm = GroupNorm(c), dgamma = Storage(KK_F32, count: 4)
    kernels {
      kk_group_norm_forward(&norm.norm, norm.x.data, norm.x.data, norm.mean.floats, norm.rstd.floats)
      var out = kk_group_norm_gradients()
      out.dgamma = dgamma.floats
      kk_group_norm_backward(
        &norm.norm, norm.x.data, norm.mean.floats, norm.rstd.floats, norm.dy.data, nil, norm.x.data, &out)
    }
    #expect(dgamma.values == [0, 0, 0, 0])
  }
}
