/// Pictures of several classes: those to learn from, and others that only measure what was learned.
public struct LabelledPictures: Sendable {
  public let training: any ImageDataset
  /// nil when nothing is held out.
  public let test: (any ImageDataset)?
  public let classNames: [String]

  /// Opens `source` and finds its test part: that of `test` where one is given; else the data set's own (Fashion-MNIST's
  /// and CIFAR-10's test files, a folder's `test`, `val` or `validation` beside its `train`); else `fraction` of the
  /// pictures, the same ones every time.
  /// - Parameters:
  ///   - imageSize: width and height in pixels, as of `DataSource.open`.
  ///   - onSkip: called for every picture of a folder that cannot be decoded.
  /// - Throws: when the pictures have no labels, only one class, or the test part has a class that they lack.
  public init(
    _ source: DataSource, imageSize: Int? = nil, test given: DataSource? = nil, fraction: Double = 0.1,
    onSkip: (@Sendable (SkippedImage) -> Void)? = nil
  ) throws(DataError) {
    let (training, ownTest) = source.divided
    let all = try training.open(imageSize: imageSize, onSkip: onSkip)
    guard let names = all.classNames else { throw .noLabels(dataset: all.name) }
    guard names.count > 1 else {
      throw .invalidOption("\(all.name) has the one class \"\(names[0])\": a classifier needs two or more")
    }
    classNames = names
    var part = try given?.openTest(like: all, onSkip: onSkip)
    if part == nil { part = try ownTest?.openTestIfThere(like: all, onSkip: onSkip) }
    if let part {
      self.training = all
      test = part.classNames == names ? part : try ImageSelection(part, classNames: names)
      return
    }
    guard fraction > 0 else {
      (self.training, test) = (all, nil)
      return
    }
    let order = EpochOrder.selection(count: all.count, seed: 0)
    let count = Int((Double(all.count) * fraction).rounded())
    guard count > 0, count < all.count else {
      throw .invalidOption(
        "\(fraction) of \(all.name)'s \(all.count) picture(s) leaves none for one of its parts: choose another "
          + "fraction, or a test part")
    }
    test = ImageSelection(all, indices: order[..<count].sorted())
    self.training = ImageSelection(all, indices: order[count...].sorted())
  }
}

extension DataSource {
  /// Where the pictures to learn from are, and where others may be.
  fileprivate var divided: (training: DataSource, test: DataSource?) {
    guard case .folder(let folder) = self else { return (self, self) }
    let path = FileIO.fullPath(folder)
    guard FileIO.isFolder(path + "/train"),
      let test = ["test", "val", "validation"].first(where: { FileIO.isFolder(path + "/" + $0) })
    else { return (self, nil) }
    return (.folder(folder + "/train"), .folder(folder + "/" + test))
  }

  /// Where the test part is: a folder's `test` beside its `train`, else the source itself.
  public var testPart: DataSource { divided.test ?? self }

  /// Opens the test part, at the size and with the channels of `pictures`; of a folder, all of it.
  public func openTest(
    like pictures: any ImageDataset, onSkip: (@Sendable (SkippedImage) -> Void)? = nil
  ) throws(DataError) -> any ImageDataset {
    try openTest(size: pictures.size, channels: pictures.channels, onSkip: onSkip)
  }

  /// Opens the test part at one size; `channels` matter to folders alone.
  public func openTest(
    size: Int, channels: Int, onSkip: (@Sendable (SkippedImage) -> Void)? = nil
  ) throws(DataError) -> any ImageDataset {
    switch self {
    case .fashionMNIST(let folder): resized(try FashionMNIST.open(folder: folder, split: .test), size)
    case .cifar10(let folder): resized(try CIFAR10(folder: folder, split: .test), size)
    // Drawn from another seed, so none of them is among those to learn from but by chance.
    case .shapes: ShapesDataset(count: 1000, size: size, seed: 1)
    case .folder(let folder): try ImageFolder(folder, size: size, channels: channels, onSkip: onSkip)
    }
  }

  fileprivate func openTestIfThere(
    like pictures: any ImageDataset, onSkip: (@Sendable (SkippedImage) -> Void)?
  ) throws(DataError) -> (any ImageDataset)? {
    do throws(DataError) {
      return try openTest(like: pictures, onSkip: onSkip)
    } catch {
      // CIFAR-10 without its test file; other errors say that there is a test part, and what is wrong with it.
      guard case .cifar10 = self, case .missing = error else { throw error }
      return nil
    }
  }
}
