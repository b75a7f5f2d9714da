import CKernels
import Foundation
import Testing

private struct Mask {
  var storage: Storage
  var strides: [Int64]
}

@Suite struct SoftmaxTests {
  private func describe(
    _ shape: [Int], _ type: kk_dtype, scale: Double, log: Bool, causal: Bool, _ mask: Mask?
  ) -> kk_softmax {
    var s = kk_softmax()
    s.rank = Int32(shape.count)
    withUnsafeMutableBytes(of: &s.shape) { bytes in
      for (d, size) in shape.enumerated() {
        bytes.storeBytes(of: Int64(size), toByteOffset: 8 * d, as: Int64.self)
      }
    }
    (s.type, s.scale, s.log, s.causal) = (type, Float(scale), log, causal)
    if let mask {
      s.mask = UnsafeRawPointer(mask.storage.data)
      s.mask_type = mask.storage.type
      withUnsafeMutableBytes(of: &s.mask_strides) { bytes in
        for (d, stride) in mask.strides.enumerated() {
          bytes.storeBytes(of: stride, toByteOffset: 8 * d, as: Int64.self)
        }
      }
    }
    return s
  }

  /// y and dx in Double.
  private func reference(
    _ shape: [Int], _ x: Storage, _ dy: Storage, scale: Double, log isLog: Bool, causal: Bool, _ mask: Mask?
  ) -> (y: [Double], dx: [Double]) {
    let n = shape.last!
    var y: [Double] = [], dx: [Double] = []
    for (row, index) in indices(Array(shape.dropLast())).enumerated() {
      var s = (0..<n).map { k in
        var v = x.get(row * n + k) * scale
        if let mask {
          let m = mask.storage.get(offset(index + [k], mask.strides))
          v = mask.storage.type == KK_BOOL ? (m != 0 ? v : -.infinity) : v + m
        }
        return v
      }
      if causal {
        let visible = index.last! + n - shape[shape.count - 2]
        for k in 0..<n where k > visible { s[k] = -.infinity }
      }
      let top = s.max()!
      let sum = s.reduce(0) { $0 + ($1 == -.infinity ? 0 : exp($1 - top)) }
      let p = s.map { $0 == -.infinity ? 0 : exp($0 - top) / sum }
      y += isLog ? s.map { $0 == -.infinity ? -.infinity : $0 - top - Foundation.log(sum) } : p
      let d = (0..<n).map { dy.get(row * n + $0) }
      let dot = zip(p, d).reduce(0) { $0 + $1.0 * $1.1 },
        total = (0..<n).reduce(0) { $0 + (s[$1] == -.infinity ? 0 : d[$1]) }
      dx += (0..<n).map {
        scale * (isLog ? (s[$0] == -.infinity ? 0 : d[$0] - p[$0] * total) : p[$0] * (d[$0] - dot))
      }
    }
    return (y, dx)
  }

  @Test func forwardAndGradients() {
    var random = Seeded(61)
    for shape in [[5], [3, 1], [4, 7], [2, 3, 17, 17], [2, 2, 9, 300], [1, 2, 40, 8], [0, 4]] {
      let count = shape.reduce(1, *), strides = rowMajor(shape)
      let last = shape.count - 1
      var masks: [Mask?] = [nil]
      if count > 0 {
        let full = random.values(count)
        masks.append(Mask(storage: Storage(full), strides: strides))
        masks.append(Mask(storage: Storage(full.map { $0 > -2 ? 1 : 0 }, KK_BOOL), strides: strides))
        var row = [Int64](repeating: 0, count: shape.count)
        row[last] = 1
        masks.append(Mask(storage: Storage(random.values(shape[last]), KK_BF16), strides: row))
        masks.append(
          Mask(storage: Storage([Double](repeating: 0, count: shape[last]), KK_BOOL), strides: row))
      }
      for type in [KK_F32, KK_BF16] {
        for (k, mask) in masks.enumerated() {
          for causal in shape.count > 1 ? [false, true] : [false] {
            for log in [false, true] {
              let x = Storage(random.values(count, in: -20...20), type),
                dy = Storage(random.values(count), type)
              let y = Storage(type, count: count), dx = Storage(type, count: count)
              let expected = reference(shape, x, dy, scale: 0.5, log: log, causal: causal, mask)
              kernels {
                var s = self.describe(shape, type, scale: 0.5, log: log, causal: causal, mask)
                kk_softmax_forward(&s, x.data, y.data)
                kk_softmax_backward(&s, y.data, dy.data, dx.data)
                kk_softmax_forward(&s, x.data, x.data)
              }
              let what = "\(shape) \(type.rawValue) mask \(k) causal \(causal) log \(log)"
              let near = type == KK_F32 ? 2e-6 : 1.0 / 256
              expectClose(y.values, expected.y, relative: near, absolute: 2e-6, what)
              // A row that sees nothing has no gradient to compare in log form.
              let finite = expected.y.indices.filter { expected.dx[$0].isFinite && expected.y[$0].isFinite }
              expectClose(
                finite.map { dx.get($0) }, finite.map { expected.dx[$0] },
                relative: type == KK_F32 ? 1e-5 : 2e-2,
                absolute: type == KK_F32 ? 1e-5 : (log ? 0.3 : 2e-2), what)
              if k > 0, !log { #expect(dx.values.allSatisfy { $0.isFinite }) }
              expectClose(x.values, y.values, what)
            }
          }
        }
      }
    }
  }

  @Test func extremeRows() {
    let x = Storage([1e30, 0, -1e30, -.infinity, 5, 5, 3e38, 3e38, -3e38])
    let y = Storage(KK_F32, count: 9)
    kernels {
      var s = self.describe([3, 3], KK_F32, scale: 1, log: false, causal: false, nil)
      kk_softmax_forward(&s, x.data, y.data)
    }
    #expect(y.values == [1, 0, 0, 0, 0.5, 0.5, 0.5, 0.5, 0])
  }

  @Test func crossEntropy() {
    var random = Seeded(62)
    for (rows, classes) in [(1, 1), (4, 10), (33, 1000), (0, 5)] {
      for type in [KK_F32, KK_BF16] {
        for labelType in [KK_I32, KK_I64] {
          for smoothing in [0, 0.1] {
            let x = Storage(random.values(rows * classes, in: -10...10), type)
            let labels = (0..<rows).map { $0 % 5 == 3 ? -100 : Int.random(in: 0..<classes, using: &random) }
            let dloss = Storage(random.values(rows))
            let stored = Storage(labels.map(Double.init), labelType)
            let loss = Storage(KK_F32, count: rows), sums = Storage(KK_F32, count: rows)
            let dx = Storage(type, count: rows * classes)
            kernels {
              var e = kk_cross_entropy(
                rows: Int64(rows), classes: Int64(classes), type: type, label_type: labelType,
                ignore_index: -100,
                smoothing: Float(smoothing))
              kk_cross_entropy_forward(&e, x.data, stored.data, loss.floats, sums.floats)
              kk_cross_entropy_backward(&e, x.data, stored.data, sums.floats, dloss.floats, 1, dx.data)
            }
            var losses: [Double] = [], gradient: [Double] = []
            for r in 0..<rows {
              let v = (0..<classes).map { x.get(r * classes + $0) }
              let sum = log(v.reduce(0) { $0 + exp($1) })
              let s = Double(Float(smoothing))
              let target = (0..<classes).map { ($0 == labels[r] ? 1 - s : 0) + s / Double(classes) }
              let ignored = labels[r] == -100
              losses.append(ignored ? 0 : zip(target, v).reduce(0) { $0 + $1.0 * (sum - $1.1) })
              gradient += (0..<classes).map { ignored ? 0 : dloss.get(r) * (exp(v[$0] - sum) - target[$0]) }
            }
            let what = "\((rows, classes)) \(type.rawValue)"
            expectClose(loss.values, losses, relative: 1e-5, absolute: 1e-5, what)
            expectClose(
              dx.values, gradient, relative: type == KK_F32 ? 2e-5 : 1.0 / 128, absolute: 2e-6, what)
          }
        }
      }
    }
  }

  @Test func labelOutOfRangeIsNaN() {
    let x = Storage([1, 2, 3]), labels = Storage([7], KK_I32), loss = Storage(KK_F32, count: 1)
    let sums = Storage(KK_F32, count: 1)
    kernels {
      var e = kk_cross_entropy(
        rows: 1, classes: 3, type: KK_F32, label_type: KK_I32, ignore_index: -100, smoothing: 0)
      kk_cross_entropy_forward(&e, x.data, labels.data, loss.floats, sums.floats)
    }
    #expect(loss.get(0).isNaN)
  }
}
