import Foundation
import KalsaeCheckpoints
import SwiftProtobuf

/// Writes one TensorBoard event file, `FOLDER/events.out.tfevents.SECONDS.HOST`. Every event is in the file when its
/// call returns.
///
/// A resumed run opens a new file in the same folder and says where it takes up; TensorBoard then drops what earlier
/// files say of later steps.
public final class TensorBoardWriter {
  private let file: AppendFile
  private let clock: () -> Double

  /// - Parameters:
  ///   - folder: made where it is missing.
  ///   - step: the last step whose events remain valid, when a run resumes.
  ///   - clock: seconds since 1970.
  public init(
    folder: String, resumingAfter step: Int? = nil, host: String = TensorBoardWriter.hostName(),
    clock: @escaping () -> Double = { Date().timeIntervalSince1970 }
  ) throws(FileError) {
    guard mkdir(folder, 0o777) == 0 || errno == EEXIST else {
      throw FileError(path: folder, operation: "create the folder")
    }
    // TensorBoard reads the files of a folder in the order of their names, hence the fixed width.
    let seconds = String(Int(clock()))
    let name = "events.out.tfevents." + String(repeating: "0", count: max(0, 10 - seconds.count)) + seconds
    self.clock = clock
    file = try Self.create(folder + "/" + name + "." + host)
    try append(step: 0) { $0.fileVersion = "brain.Event:2" }
    if let step {
      try append(step: step + 1) { $0.sessionLog = .with { $0.status = .start } }
    }
  }

  public func scalar(_ tag: String, _ value: Float, step: Int) throws(FileError) {
    try scalars([(tag, value)], step: step)
  }

  public func scalars(_ values: [(tag: String, value: Float)], step: Int) throws(FileError) {
    try append(step: step) { event in
      event.summary.value = values.map { tag, value in
        .with { ($0.tag, $0.simpleValue) = (tag, value) }
      }
    }
  }

  /// A picture as a whole PNG file of `channels` 1 (gray), 3 (RGB) or 4 (RGBA).
  public func image(
    _ tag: String, png: some Sequence<UInt8>, height: Int, width: Int, channels: Int, step: Int
  ) throws(FileError) {
    try append(step: step) { event in
      event.summary.value = [
        .with {
          $0.tag = tag
          $0.image.height = Int32(height)
          $0.image.width = Int32(width)
          $0.image.colorspace = Int32(channels)
          $0.image.encodedImageString = Data(png)
        }
      ]
    }
  }

  public var path: String { file.path }

  public static func hostName() -> String {
    var name = [UInt8](repeating: 0, count: 256)
    let result = name.withUnsafeMutableBytes { bytes in
      // The last byte stays zero, so that a truncated name ends too.
      gethostname(bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count - 1)
    }
    return result == 0 ? String(decoding: name.prefix { $0 != 0 }, as: UTF8.self) : "localhost"
  }

  /// Two runs started within a second must not share a file.
  private static func create(_ path: String) throws(FileError) -> AppendFile {
    var attempt = 0
    while true {
      do {
        return try AppendFile(path: attempt == 0 ? path : "\(path).\(attempt)", mustBeNew: true)
      } catch  where error.code == EEXIST { attempt += 1 }
    }
  }

  private func append(step: Int, _ fill: (inout Tensorboard_Event) -> Void) throws(FileError) {
    var event = Tensorboard_Event()
    event.wallTime = clock()
    event.step = Int64(step)
    fill(&event)
    let payload: [UInt8]
    do { payload = try event.serializedBytes() } catch {
      // proto3 messages have no required fields; only a message over 2 GiB fails.
      fatalError("TensorBoard: \(error)")
    }
    try file.append(TFRecord.framed(payload))
  }
}
