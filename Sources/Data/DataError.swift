/// What can go wrong with files, data sets and loaders. `description` is one line: the full path, what is
/// wrong, what to do.
public enum DataError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A file or folder that should exist does not.
  case missing(path: String, remedy: String)
  /// The system refused to read.
  case unreadable(path: String, reason: String)
  /// The file was read but is not what it should be.
  case malformed(path: String, reason: String)
  /// The system refused to write; nothing was left behind.
  case unwritable(path: String, reason: String)
  /// Every image of a folder failed to decode; `first` tells why the first one did.
  case allImagesFailed(path: String, count: Int, first: String)
  /// A batch may not hold one image twice.
  case batchTooLarge(batchSize: Int, dataset: String, count: Int)
  /// A stored position lies outside the data set.
  case positionOutside(epoch: Int, index: Int, dataset: String, count: Int)
  /// An option has a value that cannot work.
  case invalidOption(String)

  public var description: String {
    switch self {
    case .missing(let path, let remedy): "\(path): not found; \(remedy)"
    case .unreadable(let path, let reason): "\(path): cannot be read: \(reason)"
    case .malformed(let path, let reason): "\(path): \(reason)"
    case .unwritable(let path, let reason): "\(path): cannot be written: \(reason)"
    case .allImagesFailed(let path, let count, let first):
      "\(path): none of its \(count) image file(s) can be decoded; the first: \(first)"
    case .batchTooLarge(let batchSize, let dataset, let count):
      "batch size \(batchSize) is larger than \(dataset), which has \(count) image(s); "
        + "use a batch size of at most \(count)"
    case .positionOutside(let epoch, let index, let dataset, let count):
      "the stored data position (epoch \(epoch), index \(index)) lies outside \(dataset), which has "
        + "\(count) image(s); resume with the data set that the run was started with"
    case .invalidOption(let text): text
    }
  }
}
