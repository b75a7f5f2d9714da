import Foundation
import KalsaeCheckpoints

/// The folder of a training run: `config.json`, `metrics.jsonl`, TensorBoard events, `samples/`, `checkpoints/step-N/`.
public struct RunFolder: Sendable {
  public let path: String

  public init(_ path: String) { self.path = path }

  public var configPath: String { path + "/config.json" }
  public var metricsPath: String { path + "/metrics.jsonl" }
  public var tensorBoardPath: String { path + "/tensorboard" }
  public var samplesPath: String { path + "/samples" }
  public var checkpointsPath: String { path + "/checkpoints" }
  public func checkpointPath(_ step: Int) -> String { checkpointsPath + "/step-\(step)" }

  /// Whether there is a run here.
  public var exists: Bool { FileManager.default.fileExists(atPath: configPath) }

  /// Refuses a folder that holds anything, so that nothing is overwritten.
  public func checkIsFree() throws {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return }
    guard isFolder.boolValue else { throw RunError("\(path) is a file: choose another --output") }
    guard try FileManager.default.contentsOfDirectory(atPath: path).isEmpty else {
      throw RunError(
        exists
          ? "\(path) holds a run already: continue it with --resume, or choose another --output"
          : "\(path) exists and is not empty: choose another --output")
    }
  }

  /// Starts a run in a folder that is new or empty.
  public func create(_ configuration: some TrainingConfiguration) throws {
    try checkIsFree()
    // The configuration comes first: what has one can be resumed.
    try makeFolder(path)
    try write(configuration)
    try makeFolders()
  }

  /// Removes what a killed process left half written, and makes the folders that it did not come to make.
  func sweep() throws {
    try makeFolders()
    for folder in [path, checkpointsPath, samplesPath] { try removeStaleTemporaries(in: folder) }
  }

  private func makeFolders() throws {
    for folder in [checkpointsPath, samplesPath] { try makeFolder(folder) }
  }

  private func makeFolder(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw RunError("cannot create the folder \(path): check that its parent can be written to")
    }
  }

  public func write(_ configuration: some TrainingConfiguration) throws {
    try AtomicFile.write(JSON.object(configuration.json).prettyText.utf8, to: configPath)
  }

  /// The run's configuration; throws when there is no run, or one of another task.
  public func configuration<C: TrainingConfiguration>(_ type: C.Type = C.self) throws -> C {
    guard exists else {
      throw RunError(
        "\(path) is no run folder: it has no config.json (start one with kalsae train \(C.task) -o \(path))")
    }
    return try C(ConfigJSON(path: configPath), over: C())
  }

  /// The steps of the complete checkpoints, ascending.
  public func checkpoints() -> [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: checkpointsPath)) ?? []
    return names.compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst(5)) : nil }.sorted()
  }

  /// The newest checkpoint, or the one of `step`.
  public func checkpoint(_ step: Int? = nil) throws -> Int {
    let steps = checkpoints()
    if let step {
      guard steps.contains(step) else {
        let known = steps.isEmpty ? "none" : steps.map(String.init).joined(separator: ", ")
        throw RunError("\(path) has no checkpoint of step \(step); there are: \(known)")
      }
      return step
    }
    guard let newest = steps.last else {
      throw RunError("\(path) has no checkpoint yet: let kalsae train run until it saves one")
    }
    return newest
  }

  /// Removes all but the newest `count` checkpoints.
  func keepNewest(_ count: Int) throws {
    for step in checkpoints().dropLast(count) {
      // Half removed it must not be taken for a checkpoint: it leaves by rename, as it came.
      let doomed = checkpointsPath + "/.tmp-step-\(step)"
      guard rename(checkpointPath(step), doomed) == 0 else {
        throw FileError(path: checkpointPath(step), operation: "rename the old checkpoint")
      }
      try removeTree(doomed)
    }
  }
}

/// What went wrong with a run, and what to do.
public struct RunError: Error, CustomStringConvertible, Equatable {
  public let description: String
  public init(_ description: String) { self.description = description }
}
