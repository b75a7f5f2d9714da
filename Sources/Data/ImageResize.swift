import KalsaeTensors

extension Image {
  /// The picture scaled to `width` x `height`, each axis by itself: exact area average where it shrinks (so
  /// nothing aliases), bilinear between pixel centres where it grows.
  public func resized(width: Int, height: Int) -> Image {
    resampled(
      ResampleAxis(start: 0, length: self.width, sourceCount: self.width, count: width),
      ResampleAxis(start: 0, length: self.height, sourceCount: self.height, count: height))
  }

  /// The largest centred square, scaled to `size` x `size`: "resize to cover, then centre crop", in one pass.
  public func resizedToCover(_ size: Int) -> Image {
    let side = min(width, height)
    return resampled(
      ResampleAxis(start: (width - side) / 2, length: side, sourceCount: width, count: size),
      ResampleAxis(start: (height - side) / 2, length: side, sourceCount: height, count: size))
  }

  /// Columns first (whole rows at a time, which vectorises), then rows.
  private func resampled(_ horizontal: ResampleAxis, _ vertical: ResampleAxis) -> Image {
    let (w, h, c) = (horizontal.count, vertical.count, channels)
    if horizontal.isIdentity && vertical.isIdentity { return self }
    let stride = width * c
    var row = [Float](repeating: 0, count: stride)
    let output = [UInt8](unsafeUninitializedCapacity: w * h * c) { out, initialized in
      pixels.withUnsafeBufferPointer { source in
        row.withUnsafeMutableBufferPointer { row in
          for y in 0..<h {
            row.update(repeating: 0)
            for tap in vertical.taps[y] {
              let line = UnsafeBufferPointer(rebasing: source[tap.index * stride..<(tap.index + 1) * stride])
              for i in 0..<stride { row[i] += tap.weight * Float(line[i]) }
            }
            for x in 0..<w {
              for channel in 0..<c {
                var sum: Float = 0.5
                for tap in horizontal.taps[x] { sum += tap.weight * row[tap.index * c + channel] }
                out[(y * w + x) * c + channel] = UInt8(max(0, min(255, sum)))
              }
            }
          }
        }
      }
      initialized = w * h * c
    }
    return Image(width: w, height: h, channels: c, pixels: output)
  }
}

/// Which source samples, with which weights (sum 1), make each output sample along one axis.
private struct ResampleAxis {
  struct Tap {
    let index: Int
    let weight: Float
  }

  let taps: [[Tap]]
  let isIdentity: Bool
  var count: Int { taps.count }

  /// Output sample i of `count` covers the source interval start + [i, i + 1) length / count.
  init(start: Int, length: Int, sourceCount: Int, count: Int) {
    require(count > 0, "resize: size \(count) is not positive")
    isIdentity = length == count && length == sourceCount
    let scale = Double(length) / Double(count)
    taps = (0..<count).map { i in
      if scale >= 1 {
        let low = Double(start) + Double(i) * scale
        let high = min(low + scale, Double(start + length))
        let covered = Int(low)..<min(Int(high.rounded(.up)), sourceCount)
        return covered.compactMap { j in
          let overlap = min(high, Double(j + 1)) - max(low, Double(j))
          return overlap <= 0 ? nil : Tap(index: j, weight: Float(overlap / (high - low)))
        }
      }
      let centre = Double(start) + (Double(i) + 0.5) * scale - 0.5
      let base = centre.rounded(.down)
      let fraction = Float(centre - base)
      func clamp(_ j: Int) -> Int { max(0, min(sourceCount - 1, j)) }
      return [
        Tap(index: clamp(Int(base)), weight: 1 - fraction),
        Tap(index: clamp(Int(base) + 1), weight: fraction),
      ]
    }
  }
}
