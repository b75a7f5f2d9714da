/// What `--data` names: `fashion-mnist`, `shapes`, `cifar10:FOLDER`, or a folder of pictures.
public enum DataSource: Sendable, Equatable, CustomStringConvertible {
  case fashionMNIST(folder: String)
  case shapes
  case cifar10(folder: String)
  case folder(String)

  /// Reads the text of `--data`. A folder called `shapes` or `fashion-mnist` is written `./shapes`.
  /// `fashion-mnist:FOLDER` reads Fashion-MNIST's files from elsewhere than Debian's package.
  public static func parse(_ text: String) throws(DataError) -> DataSource {
    switch text {
    case "shapes": return .shapes
    case "fashion-mnist": return .fashionMNIST(folder: FashionMNIST.defaultFolder)
    case "cifar10", "cifar10:":
      throw .invalidOption("--data cifar10 needs the folder with its .bin files: cifar10:FOLDER")
    case "", "fashion-mnist:":
      throw .invalidOption("--data needs fashion-mnist, shapes, cifar10:FOLDER or a folder of pictures")
    default: break
    }
    if text.hasPrefix("cifar10:") { return .cifar10(folder: String(text.dropFirst("cifar10:".count))) }
    if text.hasPrefix("fashion-mnist:") {
      return .fashionMNIST(folder: String(text.dropFirst("fashion-mnist:".count)))
    }
    if FileIO.isFolder(FileIO.fullPath(text)) { return .folder(text) }
    if FileIO.isFile(FileIO.fullPath(text)) {
      throw .malformed(
        path: FileIO.fullPath(text), reason: "it is a file; --data takes a folder of PNG or JPEG files")
    }
    throw .missing(
      path: FileIO.fullPath(text),
      remedy: "--data takes fashion-mnist, shapes, cifar10:FOLDER or an existing folder of pictures")
  }

  /// The text that `parse` reads back.
  public var description: String {
    switch self {
    case .shapes: "shapes"
    case .fashionMNIST(FashionMNIST.defaultFolder): "fashion-mnist"
    case .fashionMNIST(let folder): "fashion-mnist:" + folder
    case .cifar10(let folder): "cifar10:" + folder
    case .folder(let folder): folder
    }
  }

  /// Opens the training part.
  /// - Parameters:
  ///   - imageSize: width and height in pixels; nil: the data set's own (28 for Fashion-MNIST, 32 for
  ///     CIFAR-10 and shapes), 64 for a folder.
  ///   - onSkip: called for every picture of a folder that cannot be decoded.
  public func open(
    imageSize: Int? = nil, onSkip: (@Sendable (SkippedImage) -> Void)? = nil
  ) throws(DataError) -> any ImageDataset {
    if let imageSize, !(8...4096).contains(imageSize) {
      throw .invalidOption("image size \(imageSize) is not between 8 and 4096")
    }
    switch self {
    case .shapes: return ShapesDataset(size: imageSize ?? 32)
    case .folder(let folder): return try ImageFolder(folder, size: imageSize ?? 64, onSkip: onSkip)
    case .fashionMNIST(let folder): return resized(try FashionMNIST.open(folder: folder), imageSize)
    case .cifar10(let folder): return resized(try CIFAR10(folder: folder), imageSize)
    }
  }

  func resized(_ dataset: some ImageDataset, _ size: Int?) -> any ImageDataset {
    size == nil || size == dataset.size ? dataset : ResizedDataset(dataset, size: size!)
  }
}
