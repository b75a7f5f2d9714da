import KalsaeTensors

/// Puts pictures of one size side by side, row by row, with `padding` pixels around each.
///
///     try ImageGrid().picture(of: samples).writePNG(to: "samples.png")
public struct ImageGrid: Sendable {
  /// Pictures in a row; nil: the smallest number that makes the grid at least as wide as high.
  public var columns: Int?
  /// Pixels between pictures and around the edge.
  public var padding: Int
  /// The value of the padding and of empty cells.
  public var background: UInt8

  public init(columns: Int? = nil, padding: Int = 2, background: UInt8 = 0) {
    require(columns.map { $0 > 0 } ?? true, "ImageGrid: \(columns!) columns")
    require(padding >= 0, "ImageGrid: padding \(padding) is negative")
    self.columns = columns
    self.padding = padding
    self.background = background
  }

  /// The grid of `images`, which must be alike in width, height and channels, and at least one.
  public func picture(of images: [Image]) -> Image {
    require(!images.isEmpty, "ImageGrid: no pictures")
    let first = images[0]
    require(
      images.allSatisfy {
        $0.width == first.width && $0.height == first.height && $0.channels == first.channels
      }, "ImageGrid: the pictures differ in size or channels")
    return picture(width: first.width, height: first.height, channels: first.channels, count: images.count) {
      images[$0].pixels[...]
    }
  }

  /// The grid of a batch, `pixels` (N, height, width, channels).
  public func picture(ofBatch pixels: [UInt8], height: Int, width: Int, channels: Int) -> Image {
    let size = height * width * channels
    require(
      size > 0 && !pixels.isEmpty && pixels.count.isMultiple(of: size),
      "ImageGrid: \(pixels.count) samples are not whole pictures of \(height) x \(width) x \(channels)")
    return picture(width: width, height: height, channels: channels, count: pixels.count / size) {
      pixels[$0 * size..<($0 + 1) * size]
    }
  }

  private func picture(
    width: Int, height: Int, channels: Int, count: Int, pixels: (Int) -> ArraySlice<UInt8>
  ) -> Image {
    let columns = min(self.columns ?? Int(Double(count).squareRoot().rounded(.up)), count)
    let rows = (count + columns - 1) / columns
    var grid = Image(
      width: columns * (width + padding) + padding, height: rows * (height + padding) + padding,
      channels: channels, filledWith: background)
    for i in 0..<count {
      let source = pixels(i)
      let left = padding + i % columns * (width + padding)
      let top = padding + i / columns * (height + padding)
      for y in 0..<height {
        let to = ((top + y) * grid.width + left) * channels
        let from = source.startIndex + y * width * channels
        grid.pixels.replaceSubrange(to..<to + width * channels, with: source[from..<from + width * channels])
      }
    }
    return grid
  }
}
