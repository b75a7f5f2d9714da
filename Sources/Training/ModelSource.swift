import Foundation
import KalsaeCheckpoints
import KalsaeModels
import KalsaeTokenizers

/// A network that lies on disk: the run of a `kalsae train`, or a model folder with config.json and model.safetensors.
public struct ModelSource: Sendable {
  public let path: String
  /// What the run trains; nil for a model folder.
  public let task: String?
  /// The network's keys.
  public let config: ConfigJSON

  public init(_ path: String) throws {
    let path = URL(fileURLWithPath: path).standardizedFileURL.path, run = RunFolder(path)
    guard run.exists else {
      throw RunError("\(path) is neither a run folder nor a model folder: it has no config.json")
    }
    let file = try ConfigJSON(path: run.configPath)
    task = try file("task", or: nil)
    self.path = path
    if task == nil {
      config = file
    } else if let model = try file.nested("model") {
      config = model
    } else {
      throw RunError("\(run.configPath) has no model: the run has not started training")
    }
  }

  /// The run folder, where it is one.
  public var run: RunFolder? { task == nil ? nil : RunFolder(path) }

  /// The architecture: `model_type`.
  public var modelType: String? {
    guard case .string(let name)? = config.object["model_type"] else { return nil }
    return name
  }

  /// Which classifier the network is, or the backbone of.
  public func classifierKind() throws -> ClassifierKind {
    if let kind = modelType.flatMap(ClassifierKind.init) { return kind }
    let known = ClassifierKind.allCases.map(\.rawValue).joined(separator: ", ")
    throw RunError(
      "\(path) holds \(modelType.map { "a network of the type \($0)" } ?? "a network of no type"), which is no "
        + "classifier and cannot become one; known: \(known)")
  }

  /// The weights: of a run, those of a checkpoint, the newest when `step` is nil.
  public func weights(_ weights: RunWeights = .ema, step: Int? = nil) throws -> SafetensorsFile {
    guard let run else { return try SafetensorsFile(folder: path, name: "model") }
    return try run.weights(weights, step: step)
  }

  /// The tokenizer's file or folder.
  public var tokenizerPath: String { run?.tokenizerPath ?? path }
}
