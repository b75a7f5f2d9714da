import CKernels
import Foundation
import Testing

@Suite struct LinearCrossEntropyTests {
  @Test func keptRows() {
    let labels: [Int32] = [5, -100, 0, -100, -100, 7]
    var rows = [Int64](repeating: -1, count: 6)
    #expect(kk_kept_rows(labels, 6, -100, &rows) == 3)
    #expect(rows[..<3] == [0, 2, 5])
    #expect(kk_kept_rows(labels, 6, .min, &rows) == 6)
    #expect(rows == [0, 1, 2, 3, 4, 5])
  }

  @Test func rowsAreGatheredAndScattered() {
    var random = Seeded(70)
    for (width, count, size) in [(1, 1, 1), (5, 3, 4), (700, 6, 16), (3, 0, 2)] {
      for (from, to) in [(KK_F32, KK_F32), (KK_F32, KK_BF16), (KK_BF16, KK_F32), (KK_BF16, KK_BF16)] {
        let x = Storage(random.values(20 * width), from), block = Storage(to, count: size * width)
        let chosen = (0..<count).map { Int64(19 - 3 * $0) }
        kernels {
          kk_load_rows(x.data, from, Int64(width), chosen, Int64(count), Int64(size), block.data, to)
        }
        let real = chosen.flatMap { row in (0..<width).map { x.get(Int(row) * width + $0) } }
        let padding = [Double](repeating: 0, count: (size - count) * width)
        #expect(block.values == Storage(real, to).values + padding)

        let source = Storage(random.values(count * width)), y = Storage(from, count: 20 * width)
        let before = y.values
        kernels { kk_store_rows(source.floats, Int64(width), chosen, Int64(count), y.data, from) }
        let stored = Storage(source.values, from).values
        for row in 0..<20 {
          let place = chosen.firstIndex(of: Int64(row))
          let expected = place.map { stored[$0 * width..<($0 + 1) * width] }
          #expect(
            y.values[row * width..<(row + 1) * width] == expected ?? before[row * width..<(row + 1) * width])
        }
      }
    }
  }

  /// Against the kernels for whole rows of logits, on a block of scattered rows with padding.
  @Test func blocksEqualWholeRows() {
    var random = Seeded(71)
    for (count, size, classes, stride) in [(1, 1, 1, 16), (5, 8, 33, 48), (3, 3, 2500, 2512)] {
      for type in [KK_F32, KK_BF16] {
        for smoothing in [0, 0.1] as [Float] {
          let all = 2 * size
          let rows = (0..<count).map { Int64(2 * $0 + 1) }
          let labels = (0..<all).map { _ in Int32.random(in: 0..<Int32(classes), using: &random) }
          let logits = random.values(count * classes, in: -8...8), dloss = Storage(random.values(all))
          let block = Storage(KK_F32, count: size * stride)
          for i in 0..<size * stride { block.set(i, .nan) }
          for i in 0..<count * classes { block.set(i / classes * stride + i % classes, logits[i]) }
          let loss = Storage([Double](repeating: -1, count: all))
          let whole = Storage(logits), sums = Storage(KK_F32, count: count)
          let chosen = Storage(rows.map { Double(labels[Int($0)]) }, KK_I32)
          let expectedLoss = Storage(KK_F32, count: count), expected = Storage(KK_F32, count: count * classes)
          let chosenDloss = Storage(rows.map { dloss.get(Int($0)) })
          let forwardLoss = Storage([Double](repeating: -1, count: all))
          kernels {
            var e = kk_cross_entropy(
              rows: Int64(count), classes: Int64(classes), type: KK_F32, label_type: KK_I32,
              ignore_index: .min,
              smoothing: smoothing)
            kk_cross_entropy_forward(&e, whole.data, chosen.data, expectedLoss.floats, sums.floats)
            kk_cross_entropy_backward(
              &e, whole.data, chosen.data, sums.floats, chosenDloss.floats, 1, expected.data)
            (e.rows, e.type) = (Int64(size), type)
            kk_cross_entropy_block(
              &e, block.floats, Int64(stride), labels, rows, Int64(count), forwardLoss.floats, nil)
            kk_cross_entropy_block(
              &e, block.floats, Int64(stride), labels, rows, Int64(count), loss.floats, dloss.floats)
          }
          let what = "\((count, size, classes)) \(type.rawValue) \(smoothing)"
          for row in 0..<all {
            let place = rows.firstIndex(of: Int64(row))
            expectClose(
              [loss.get(row)], [place.map(expectedLoss.get) ?? -1], relative: 1e-6, absolute: 1e-6, what)
            expectClose([forwardLoss.get(row)], [loss.get(row)], relative: 1e-6, absolute: 1e-6, what)
          }
          let rowLength = type == KK_F32 ? stride : 2 * stride
          let gradient = (0..<size * classes).map { i in
            let place = i / classes * rowLength + i % classes
            return type == KK_F32
              ? block.get(place)
              : Double(Float(bitPattern: UInt32(block.at(place, UInt16.self).pointee) << 16))
          }
          let padding = [Double](repeating: 0, count: (size - count) * classes)
          expectClose(
            gradient, expected.values + padding, relative: type == KK_F32 ? 2e-5 : 1.0 / 128, absolute: 2e-6,
            what)
        }
      }
    }
  }

  @Test func labelOutOfRangeIsNaN() {
    for type in [KK_F32, KK_BF16] {
      let block = Storage([1, 2, 3, 0, 4, 5, 6, 0]), loss = Storage([0, 0]), dloss = Storage([1, 1])
      kernels {
        var e = kk_cross_entropy(
          rows: 2, classes: 3, type: type, label_type: KK_I32, ignore_index: .min, smoothing: 0)
        kk_cross_entropy_block(&e, block.floats, 4, [3, 1], [0, 1], 2, loss.floats, dloss.floats)
      }
      #expect(loss.get(0).isNaN && loss.get(1).isFinite)
      let wrong = (0..<3).map { place in
        type == KK_F32
          ? block.get(place).isNaN
          : Float(bitPattern: UInt32(block.at(place, UInt16.self).pointee) << 16).isNaN
      }
      #expect(wrong == [true, true, true])
      #expect(block.get(4).isFinite, "the next row is right")
    }
  }

  @Test func columnSumsAreAdded() {
    var random = Seeded(72)
    for (rows, columns, stride) in [(1, 1, 1), (7, 2049, 2064), (0, 5, 5)] {
      for type in [KK_F32, KK_BF16] {
        let x = Storage(random.values(rows * stride), type), start = random.values(columns)
        let sums = Storage(start)
        kernels { kk_add_column_sums(x.data, type, Int64(rows), Int64(columns), Int64(stride), sums.floats) }
        let expected = (0..<columns).map { c in
          (0..<rows).reduce(Storage([start[c]]).get(0)) { $0 + x.get($1 * stride + c) }
        }
        expectClose(sums.values, expected, relative: 1e-5, absolute: 1e-5)
      }
    }
  }
}
