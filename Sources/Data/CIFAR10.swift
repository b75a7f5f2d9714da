/// CIFAR-10 in its binary version: 32 x 32 RGB pictures of ten classes, all in memory.
///
/// A file is a list of records of 3073 bytes: the label, then 1024 red, 1024 green, 1024 blue samples by row.
/// Krizhevsky: "Learning Multiple Layers of Features from Tiny Images", 2009;
/// https://www.cs.toronto.edu/~kriz/cifar.html.
public struct CIFAR10: ImageDataset {
  public static let classNames = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]
  private static let recordSize = 1 + 3 * 32 * 32
  /// Far above any real file (30 MB); stops a small gzip file from unpacking without end.
  private static let maximumFileSize = 1 << 30

  private let records: [UInt8]

  public var name: String { "cifar10" }
  public var count: Int { records.count / Self.recordSize }
  public var channels: Int { 3 }
  public var size: Int { 32 }
  public var classNames: [String]? { Self.classNames }

  /// Reads the training part, `data_batch_*.bin`, or the test part, `test_batch*.bin`, of `folder` or of its
  /// sub-folder `cifar-10-batches-bin`. Files may be gzipped (`.bin.gz`). Where there is no `data_batch_*`,
  /// every other `.bin` file counts: those with "test" in their name as test part, the rest as training part.
  public init(folder: String, split: DatasetSplit = .train) throws(DataError) {
    let files = try Self.files(in: FileIO.fullPath(folder), split)
    var records: [UInt8] = []
    for path in files { records += try Self.records(in: path) }
    self.records = records
  }

  private static func files(in given: String, _ split: DatasetSplit) throws(DataError) -> [String] {
    let remedy =
      "give the folder of CIFAR-10's binary version (data_batch_1.bin ...), "
      + "from https://www.cs.toronto.edu/~kriz/cifar.html"
    guard FileIO.isFolder(given) else { throw .missing(path: given, remedy: remedy) }
    let unpacked = given + "/cifar-10-batches-bin"
    let folder = FileIO.isFolder(unpacked) ? unpacked : given
    let names = try FileIO.names(in: folder).filter { $0.hasSuffix(".bin") || $0.hasSuffix(".bin.gz") }
    let official = names.filter { $0.hasPrefix(split == .train ? "data_batch_" : "test_batch") }
    let chosen = official.isEmpty ? names.filter { $0.contains("test") == (split == .test) } : official
    guard !chosen.isEmpty else {
      throw .missing(path: "\(folder)/\(split == .train ? "data_batch_1" : "test_batch").bin", remedy: remedy)
    }
    return chosen.map { "\(folder)/\($0)" }
  }

  private static func records(in path: String) throws(DataError) -> [UInt8] {
    let file = try GzipFile(path)
    var bytes: [UInt8] = []
    while true {
      let chunk = try file.read(upTo: 1 << 22)
      bytes += chunk
      if chunk.count < 1 << 22 { break }
      guard bytes.count <= maximumFileSize else {
        throw .malformed(path: path, reason: "more than \(maximumFileSize) bytes; not a CIFAR-10 file")
      }
    }
    guard !bytes.isEmpty, bytes.count.isMultiple(of: recordSize) else {
      throw .malformed(
        path: path,
        reason: "\(bytes.count) bytes are not whole CIFAR-10 records of \(recordSize); truncated?")
    }
    for record in 0..<bytes.count / recordSize where bytes[record * recordSize] > 9 {
      throw .malformed(
        path: path,
        reason: "record \(record) has label \(bytes[record * recordSize]), not 0 to 9; not a CIFAR-10 file")
    }
    return bytes
  }

  /// Planes in the file, (3, 32, 32), interleaved here, (32, 32, 3).
  public func read(_ index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DataError) {
    checkRead(index, pixels)
    let start = index * Self.recordSize + 1
    records.withUnsafeBufferPointer { records in
      for i in 0..<1024 {
        for c in 0..<3 { pixels[3 * i + c] = records[start + 1024 * c + i] }
      }
    }
  }

  public func label(_ index: Int) -> Int? { Int(records[index * Self.recordSize]) }
}
