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
  /// A stored position lies outside the epoch's list of batches.
  case batchPositionOutside(epoch: Int, index: Int, source: String, batches: Int)
  /// A text file holds nothing but white space.
  case emptyText(path: String)
  /// A text file is not UTF-8; `offset` counts the bytes (unpacked) before the first wrong one.
  case notUTF8(path: String, byte: UInt8, offset: Int, line: Int)
  /// Two files that should correspond line by line do not.
  case unequalLines(source: String, sourceCount: Int, target: String, targetCount: Int)
  /// Pictures without classes.
  case noLabels(dataset: String)
  /// A data set has a class that is not among those known.
  case unknownClass(dataset: String, name: String, known: [String])
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
    case .batchPositionOutside(let epoch, let index, let source, let batches):
      "the stored data position (epoch \(epoch), batch \(index)) lies outside \(source), which has "
        + "\(batches) batch(es) an epoch; resume with the text and batch size that the run was started with"
    case .emptyText(let path): "\(path): holds no text; give a file with text in it"
    case .notUTF8(let path, let byte, let offset, let line):
      "\(path): not UTF-8: wrong byte 0x\(String(byte, radix: 16, uppercase: true)) at offset \(offset) "
        + "(line \(line)); convert it, for example with iconv -t UTF-8"
    case .unequalLines(let source, let sourceCount, let target, let targetCount):
      "\(source) has \(sourceCount) line(s), but \(target) has \(targetCount); line n of one must be the "
        + "translation of line n of the other"
    case .noLabels(let dataset):
      "\(dataset) has no labels; a classifier needs the pictures of each class in a sub-folder of its own"
    case .unknownClass(let dataset, let name, let known):
      "\(dataset) has the class \"\(name)\", which is none of those learned: \(shortList(known))"
    case .invalidOption(let text): text
    }
  }
}

/// At most ten names, then how many more.
func shortList(_ names: [String]) -> String {
  names.prefix(10).joined(separator: ", ") + (names.count > 10 ? " and \(names.count - 10) more" : "")
}
