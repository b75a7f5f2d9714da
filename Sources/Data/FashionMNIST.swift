/// Fashion-MNIST: 60,000 training and 10,000 test pictures of clothes, 28 x 28 grey, ten classes.
///
/// Xiao, Rasul, Vollgraf: "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
/// Algorithms", arXiv 1708.07747.
public enum FashionMNIST {
  /// Where Debian's package `dataset-fashion-mnist` puts the files.
  public static let defaultFolder = "/usr/share/datasets/fashion-mnist"

  public static let classNames = [
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
  ]

  /// Reads one part from `folder`, gzipped or plain, under the names of the original files.
  public static func open(
    folder: String = defaultFolder, split: DatasetSplit = .train
  ) throws(DataError) -> IDXDataset {
    let folder = FileIO.fullPath(folder)
    let prefix = split == .train ? "train" : "t10k"
    return try IDXDataset(
      name: "fashion-mnist", images: find("\(prefix)-images-idx3-ubyte", in: folder),
      labels: find("\(prefix)-labels-idx1-ubyte", in: folder), classNames: classNames)
  }

  private static func find(_ name: String, in folder: String) throws(DataError) -> String {
    for suffix in [".gz", ""] where FileIO.isFile("\(folder)/\(name)\(suffix)") {
      return "\(folder)/\(name)\(suffix)"
    }
    throw .missing(
      path: "\(folder)/\(name).gz",
      remedy: "install Fashion-MNIST with `apt-get install dataset-fashion-mnist`, or use `--data shapes`")
  }
}
