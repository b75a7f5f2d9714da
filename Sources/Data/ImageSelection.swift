import KalsaeTensors

/// Some of a data set's pictures, with their classes numbered as wanted.
public struct ImageSelection: ImageDataset {
  public let base: any ImageDataset
  public let classNames: [String]?
  private let indices: [UInt32]
  /// The number here of each of the base's classes; nil when they agree.
  private let classes: [Int]?

  /// The pictures at `indices`, in that order.
  public init(_ base: any ImageDataset, indices: [UInt32]) {
    require(indices.allSatisfy { $0 < base.count }, "ImageSelection: an index outside \(base.name)")
    (self.base, self.indices, classNames, classes) = (base, indices, base.classNames, nil)
  }

  /// All pictures of `base`, whose classes are found among `classNames` by their names.
  /// - Throws: when there is a class that `classNames` lacks, or there are no labels.
  public init(_ base: any ImageDataset, classNames: [String]) throws(DataError) {
    guard let names = base.classNames else { throw .noLabels(dataset: base.name) }
    var classes: [Int] = []
    for name in names {
      guard let number = classNames.firstIndex(of: name) else {
        throw .unknownClass(dataset: base.name, name: name, known: classNames)
      }
      classes.append(number)
    }
    (self.base, self.classNames, self.classes) = (base, classNames, classes)
    indices = Array(0..<UInt32(base.count))
  }

  public var name: String { base.name }
  public var count: Int { indices.count }
  public var channels: Int { base.channels }
  public var size: Int { base.size }

  public func read(_ index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DataError) {
    checkRead(index, pixels)
    try base.read(Int(indices[index]), into: pixels)
  }

  public func label(_ index: Int) -> Int? {
    base.label(Int(indices[index])).map { classes?[$0] ?? $0 }
  }

  public func caption(_ index: Int) -> String? { base.caption(Int(indices[index])) }
}
