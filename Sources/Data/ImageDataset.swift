import KalsaeTensors

/// Which part of a data set that comes divided.
public enum DatasetSplit: String, Sendable, CaseIterable {
  case train, test
}

/// A fixed list of square 8-bit pictures of one size, read by index from any thread.
public protocol ImageDataset: Sendable {
  /// What messages call it.
  var name: String { get }
  var count: Int { get }
  /// 1 grey, 3 RGB.
  var channels: Int { get }
  /// Width and height in pixels.
  var size: Int { get }
  /// The meaning of each label; nil when there are no labels.
  var classNames: [String]? { get }

  /// Writes picture `index`, (size, size, channels), into `pixels`, which has exactly that many bytes.
  func read(_ index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DataError)

  /// The class of picture `index`; ask after reading it (see `ImageFolder` for why).
  func label(_ index: Int) -> Int?

  /// An English description of picture `index`; nil when there are none.
  func caption(_ index: Int) -> String?
}

extension ImageDataset {
  public func caption(_ index: Int) -> String? { nil }

  /// Bytes of one picture.
  public var pixelCount: Int { size * size * channels }

  /// Picture `index` by itself.
  public func image(_ index: Int) throws(DataError) -> Image {
    var image = Image(width: size, height: size, channels: channels)
    try image.pixels.withUnsafeMutableBufferPointer { (buffer) throws(DataError) in
      try read(index, into: buffer)
    }
    return image
  }

  func checkRead(_ index: Int, _ pixels: UnsafeMutableBufferPointer<UInt8>) {
    require(index >= 0 && index < count, "\(name): image \(index) of \(count)")
    require(
      pixels.count == pixelCount, "\(name): a buffer of \(pixels.count) bytes for \(pixelCount)")
  }
}

/// A data set at another size than its own: area average when smaller, bilinear when larger.
public struct ResizedDataset: ImageDataset {
  public let base: any ImageDataset
  public let size: Int

  public init(_ base: any ImageDataset, size: Int) {
    require(size > 0, "ResizedDataset: size \(size) is not positive")
    self.base = base
    self.size = size
  }

  public var name: String { base.name }
  public var count: Int { base.count }
  public var channels: Int { base.channels }
  public var classNames: [String]? { base.classNames }
  public func label(_ index: Int) -> Int? { base.label(index) }
  public func caption(_ index: Int) -> String? { base.caption(index) }

  public func read(_ index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DataError) {
    checkRead(index, pixels)
    _ = pixels.update(fromContentsOf: try base.image(index).resizedToCover(size).pixels)
  }
}
