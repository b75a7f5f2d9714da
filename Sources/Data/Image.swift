import KalsaeTensors

/// A picture of 8-bit samples, `pixels[(y * width + x) * channels + c]`: (height, width, channels).
///
/// Channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Alpha is straight, not premultiplied.
public struct Image: Sendable, Equatable {
  public let width: Int
  public let height: Int
  public let channels: Int
  public var pixels: [UInt8]

  /// A picture of given samples, (height, width, channels).
  public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) {
    require(width > 0 && height > 0, "Image: size \(width) x \(height) is not positive")
    require((1...4).contains(channels), "Image: \(channels) channels; 1 to 4 are possible")
    require(
      pixels.count == width * height * channels,
      "Image: \(pixels.count) samples for \(height) x \(width) x \(channels)")
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
  }

  /// A picture of one value.
  public init(width: Int, height: Int, channels: Int, filledWith value: UInt8 = 0) {
    self.init(
      width: width, height: height, channels: channels,
      pixels: [UInt8](repeating: value, count: width * height * channels))
  }

  /// The samples of pixel (x, y).
  public subscript(x: Int, y: Int) -> ArraySlice<UInt8> {
    require(x >= 0 && x < width && y >= 0 && y < height, "Image: pixel (\(x), \(y)) is outside")
    let start = (y * width + x) * channels
    return pixels[start..<start + channels]
  }

  public var isGrey: Bool { channels <= 2 }
  public var hasAlpha: Bool { channels == 2 || channels == 4 }

  /// The picture without alpha, in 1 (grey) or 3 (RGB) channels.
  ///
  /// Alpha is composited over white. Grey is the luma of ITU-R BT.601, `0.299 R + 0.587 G + 0.114 B`,
  /// rounded.
  public func flattened(toChannels target: Int) -> Image {
    require(target == 1 || target == 3, "flattened: \(target) channels; 1 or 3 are possible")
    if target == channels { return self }
    let count = width * height
    let colours = isGrey ? 1 : 3
    let output = [UInt8](unsafeUninitializedCapacity: count * target) { out, initialized in
      pixels.withUnsafeBufferPointer { source in
        for i in 0..<count {
          let p = i * channels
          let alpha = hasAlpha ? Int(source[p + channels - 1]) : 255
          // (v alpha + 255 (255 - alpha)) / 255, rounded.
          func over(_ c: Int) -> Int { (Int(source[p + c]) * alpha + 255 * (255 - alpha) + 127) / 255 }
          if target == 1 {
            out[i] = UInt8(
              colours == 1 ? over(0) : (299 * over(0) + 587 * over(1) + 114 * over(2) + 500) / 1000)
          } else {
            for c in 0..<3 { out[i * 3 + c] = UInt8(over(colours == 1 ? 0 : c)) }
          }
        }
      }
      initialized = count * target
    }
    return Image(width: width, height: height, channels: target, pixels: output)
  }
}
