/// x (N, H, W, C) enlarged by repeating each pixel `factor` times along both axes.
public func upsampleNearest2d(_ x: Tensor, factor: Int) -> Tensor {
  let (n, h, w, c) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
  return x.reshaped(n, h, 1, w, 1, c).broadcast(to: [n, h, factor, w, factor, c])
    .reshaped(n, h * factor, w * factor, c)
}

/// x (N, H, W, C) at another size, each pixel taken from floor(i H / rows), as in PyTorch's `nearest`.
public func resizeNearest2d(_ x: Tensor, rows: Int, columns: Int) -> Tensor {
  let (h, w) = (x.shape[1], x.shape[2])
  if rows % h == 0, columns % w == 0, rows / h == columns / w {
    return upsampleNearest2d(x, factor: rows / h)
  }
  func places(_ input: Int, _ output: Int) -> Tensor {
    Tensor((0..<output).map { Int32(Swift.min($0 * input / output, input - 1)) })
  }
  return x.gathered(places(h, rows), axis: 1).gathered(places(w, columns), axis: 2)
}

/// x (N, H, W, C) at another size by linear interpolation along both axes, as in PyTorch's `bilinear`.
///
/// With `alignsCorners` the corner pixels' centres coincide; otherwise the pictures' edges do.
public func resizeBilinear2d(_ x: Tensor, rows: Int, columns: Int, alignsCorners: Bool = false) -> Tensor {
  func weights(_ input: Int, _ output: Int) -> [[Float]] {
    (0..<output).map { i in
      var place: Double
      if alignsCorners {
        place = output > 1 ? Double(i) * Double(input - 1) / Double(output - 1) : 0
      } else {
        place = Swift.max((Double(i) + 0.5) * Double(input) / Double(output) - 0.5, 0)
      }
      place = Swift.min(place, Double(input - 1))
      let low = Int(place), high = Swift.min(low + 1, input - 1)
      var row = [Float](repeating: 0, count: input)
      row[low] += Float(1 - (place - Double(low)))
      row[high] += Float(place - Double(low))
      return row
    }
  }
  return mixed(x, rows: weights(x.shape[1], rows), columns: weights(x.shape[2], columns))
}
