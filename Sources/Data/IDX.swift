/// An array of bytes in the IDX format of MNIST, plain or gzipped.
///
/// The file: two zero bytes, the type (8: unsigned byte, the only one read here), the number of dimensions,
/// each dimension as a big-endian 32-bit number, then the elements, last dimension fastest.
/// Source: Y. LeCun, http://yann.lecun.com/exdb/mnist.
public struct IDXArray: Sendable, Equatable {
  public let shape: [Int]
  public let elements: [UInt8]

  /// Reads a file of `rank` dimensions. Nothing is allocated for elements that the file cannot hold.
  public init(contentsOf path: String, rank: Int) throws(DataError) {
    let file = try GzipFile(path)
    func malformed(_ reason: String) -> DataError { .malformed(path: file.path, reason: reason) }
    let magic = try file.read(upTo: 4)
    guard magic.count == 4, magic[0] == 0, magic[1] == 0 else {
      throw malformed("not an IDX file: it begins with \(magic), not with 0, 0, 8, \(rank)")
    }
    guard magic[2] == 8 else {
      throw malformed("IDX element type \(magic[2]); only 8, unsigned byte, can be read")
    }
    guard magic[3] == rank else {
      throw malformed(
        "IDX array of \(magic[3]) dimensions instead of \(rank); are images and labels swapped?")
    }
    let header = try file.read(upTo: 4 * rank)
    guard header.count == 4 * rank else { throw malformed("truncated: the IDX header ends early") }
    let shape = (0..<rank).map { axis in
      header[4 * axis..<4 * axis + 4].reduce(0) { $0 << 8 | Int($1) }
    }
    var count = 1
    for extent in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: extent)
      guard !overflow else { throw malformed("IDX dimensions \(shape) are impossibly large") }
      count = product
    }
    guard count <= file.maximumBytes else {
      throw malformed("truncated: IDX dimensions \(shape) need more bytes than the file can hold")
    }
    let elements = try file.read(upTo: count)
    guard elements.count == count else {
      throw malformed("truncated: IDX dimensions \(shape) need \(count) bytes, it has \(elements.count)")
    }
    guard try file.read(upTo: 1).isEmpty else {
      throw malformed("longer than its IDX dimensions \(shape) say")
    }
    self.shape = shape
    self.elements = elements
  }
}

/// Grey square images and their labels from a pair of IDX files, all in memory.
public struct IDXDataset: ImageDataset {
  public let name: String
  public let size: Int
  public let classNames: [String]?
  private let images: [UInt8]
  private let labels: [UInt8]?

  public var count: Int { images.count / (size * size) }
  public var channels: Int { 1 }

  /// Reads images (N, size, size) and, if given, labels (N), each less than the number of class names.
  public init(
    name: String, images imagePath: String, labels labelPath: String? = nil, classNames: [String]? = nil
  ) throws(DataError) {
    let array = try IDXArray(contentsOf: imagePath, rank: 3)
    func malformed(_ path: String, _ reason: String) -> DataError {
      .malformed(path: FileIO.fullPath(path), reason: reason)
    }
    guard array.shape[0] > 0, array.shape[1] > 0, array.shape[1] == array.shape[2] else {
      throw malformed(imagePath, "IDX dimensions \(array.shape) are not a number of square images")
    }
    var labels: [UInt8]?
    if let labelPath {
      let read = try IDXArray(contentsOf: labelPath, rank: 1).elements
      guard read.count == array.shape[0] else {
        throw malformed(labelPath, "\(read.count) labels for \(array.shape[0]) images in \(imagePath)")
      }
      if let classNames, let wrong = read.first(where: { $0 >= classNames.count }) {
        throw malformed(labelPath, "label \(wrong), but there are only \(classNames.count) classes")
      }
      labels = read
    }
    self.name = name
    self.size = array.shape[1]
    self.classNames = classNames
    self.images = array.elements
    self.labels = labels
  }

  public func read(_ index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DataError) {
    checkRead(index, pixels)
    let length = size * size
    _ = pixels.update(fromContentsOf: images[index * length..<(index + 1) * length])
  }

  public func label(_ index: Int) -> Int? { labels.map { Int($0[index]) } }
}
