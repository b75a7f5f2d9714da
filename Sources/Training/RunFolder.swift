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

  /// Starts a run; a folder that holds anything is refused, so that nothing is overwritten.
  public func create(_ configuration: RunConfiguration) throws {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    guard entries.isEmpty else {
      throw RunError(
        exists
          ? "\(path) holds a run already: continue it with --resume, or choose another --output"
          : "\(path) exists and is not empty: choose another --output")
    }
    do {
      try FileManager.default.createDirectory(atPath: checkpointsPath, withIntermediateDirectories: true)
      try FileManager.default.createDirectory(atPath: samplesPath, withIntermediateDirectories: true)
    } catch {
      throw RunError("cannot create the run folder \(path): \(error.localizedDescription)")
    }
    try write(configuration)
  }

  public func write(_ configuration: RunConfiguration) throws {
    try AtomicFile.write((JSON.object(configuration.json).prettyText + "\n").utf8, to: configPath)
  }

  public func configuration() throws -> RunConfiguration {
    guard exists else {
      throw RunError(
        "\(path) is no run folder: it has no config.json (start one with kalsae train ddpm -o \(path))")
    }
    return try RunConfiguration(ConfigJSON(path: configPath))
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
    for step in checkpoints().dropLast(count) { try removeTree(checkpointPath(step)) }
  }
}

/// What went wrong with a run, and what to do.
public struct RunError: Error, CustomStringConvertible, Equatable {
  public let description: String
  public init(_ description: String) { self.description = description }
}
