import Foundation
import KalsaeCheckpoints
import KalsaeTensors

/// `metrics.jsonl`: one JSON object a line, in the file when `append` returns. Every line has an integer `step`.
public final class MetricsLog {
  /// Lines that resuming removed: those of later steps, and broken ones.
  public let removedLines: Int
  private let file: AppendFile

  /// Starts the log of a new run; a file that exists is refused.
  public init(path: String) throws(FileError) {
    file = try AppendFile(path: path, mustBeNew: true)
    removedLines = 0
  }

  /// Continues the log of a run that goes on after `step`: lines of later steps go, since they will come again, and so
  /// does a last line that a crash cut short. The rewrite is atomic; a missing file starts empty.
  public init(path: String, resumingAfter step: Int) throws(FileError) {
    removedLines = try Self.truncate(path, after: step)
    file = try AppendFile(path: path)
  }

  /// Appends `{"step":STEP,...}`; `values` keep their order. Numbers that are not finite become null.
  public func append(step: Int, _ values: JSONObject) throws(FileError) {
    var line: JSONObject = ["step": .integer(step)]
    for (key, value) in values {
      require(key != "step", "MetricsLog: 'step' is the line's own key")
      line[key] = value
    }
    try file.append(Array(JSON.object(line).text.utf8) + [newline])
  }

  /// Forces the log to disk; done with each checkpoint, the lines before it outlive a power failure.
  public func synchronize() throws(FileError) { try file.synchronize() }

  /// Keeps the whole lines of steps up to `step`; returns how many went.
  private static func truncate(_ path: String, after step: Int) throws(FileError) -> Int {
    let old: [UInt8]
    do {
      old = try MappedFile(path: path).withUnsafeBytes(Array.init)
    } catch  where error.code == ENOENT { return 0 }
    var kept: [UInt8] = [], removed = 0
    for line in old.split(separator: newline) {
      // An object that was cut short never parses, so a last line that does is whole even without its newline.
      if let found = Self.step(of: line), found <= step {
        kept += line + [newline]
      } else {
        removed += 1
      }
    }
    if kept.count != old.count { try AtomicFile.write(kept, to: path) }
    return removed
  }

  private static func step(of line: ArraySlice<UInt8>) -> Int? {
    guard case .object(let object)? = try? JSON(parsing: line), case .integer(let step)? = object["step"]
    else {
      return nil
    }
    return step
  }
}

private let newline = UInt8(ascii: "\n")
