import KalsaeData
import KalsaeRuntime
import KalsaeTensors

/// Maps as a picture: a row a layer, a column a head; in each map a row a query, a column a key, from the top left.
/// The colour is that of the root of the probability, from dark (0) to yellow (the map's largest).
struct AttentionPicture {
  /// Pixels that a map's longer side has at least; small maps are enlarged by whole numbers.
  var smallest = 96
  var spacing = 6
  var background: UInt8 = 255

  func picture(_ record: AttentionRecord) throws(InspectionError) -> Image {
    let layers = record.layers
    let scales = layers.map { max(1, smallest / max($0.maps.shape[1], $0.maps.shape[2])) }
    func side(_ axis: Int) -> [Int] { zip(layers, scales).map { $0.maps.shape[axis] * $1 } }
    let cells = (heights: side(1), widths: side(2))
    let columnWidth = cells.widths.max()! + spacing
    let width = columnWidth * layers.map(\.heads.count).max()! + spacing
    let height = cells.heights.reduce(spacing) { $0 + $1 + spacing }
    guard width <= Self.mostPixels / height else {
      throw InspectionError(
        "a picture of all maps would have \(width) x \(height) pixels: choose some with --layer or --head, or "
          + "write .safetensors")
    }
    var image = Image(width: width, height: height, channels: 3, filledWith: background)
    var top = spacing
    for (index, layer) in layers.enumerated() {
      let maps = layer.maps.floats(), (t, s) = (layer.maps.shape[1], layer.maps.shape[2])
      for head in layer.heads.indices {
        draw(
          maps[head * t * s..<(head + 1) * t * s], columns: s, scale: scales[index],
          left: spacing + head * columnWidth, top: top, on: &image)
      }
      top += cells.heights[index] + spacing
    }
    return image
  }

  private static let mostPixels = 1 << 27

  private func draw(
    _ map: ArraySlice<Float>, columns: Int, scale: Int, left: Int, top: Int, on image: inout Image
  ) {
    for (place, level) in attentionLevels(map).levels.enumerated() {
      let colour = Colormap.table[Int(level)]
      let (y, x) = (place / columns, place % columns)
      for row in 0..<scale {
        var pixel = ((top + y * scale + row) * image.width + left + x * scale) * 3
        for _ in 0..<scale {
          for channel in 0..<3 { image.pixels[pixel + channel] = colour[channel] }
          pixel += 3
        }
      }
    }
  }
}
