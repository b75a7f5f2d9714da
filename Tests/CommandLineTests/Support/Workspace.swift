import Foundation

/// A folder of its own for a test, with a configuration whose training takes milliseconds a step.
final class Workspace {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/kalsae-command-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try write(Self.tiny, "tiny.json")
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func callAsFunction(_ name: String) -> String { path + "/" + name }

  func write(_ text: String, _ name: String) throws { try write([UInt8](text.utf8), name) }

  func write(_ bytes: [UInt8], _ name: String) throws {
    let url = URL(fileURLWithPath: self(name))
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
  }

  func read(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: self(name))) }

  func text(_ name: String) throws -> String { String(decoding: try read(name), as: UTF8.self) }

  /// Changes a text file; what is to be replaced must be there.
  func edit(_ name: String, _ old: String, _ new: String) throws {
    let before = try text(name)
    guard before.contains(old) else { throw Failure("\(name) does not hold \(old)") }
    try write(before.replacing(old, with: new), name)
  }

  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: self(name)) }

  /// The names in a folder, hidden ones included; none where it is missing.
  func names(_ folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: self(folder))) ?? []).sorted()
  }

  /// The steps of a run's checkpoints, ascending.
  func steps(_ run: String) -> [Int] {
    names(run + "/checkpoints").compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst(5)) : nil }.sorted()
  }

  /// Random numbers are drawn everywhere: dropout, mirrored pictures, noise, order.
  static let tiny = """
    {"data": "shapes", "image_size": 16, "batch_size": 4, "steps": 8, "warmup": 2, "timesteps": 20, "flip": true,
     "dropout": 0.1, "checkpoint_every": 1000, "sample_every": 0, "threads": 1, "model": {
      "sample_size": 16, "block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4, "dropout": 0.1,
      "attention_head_dim": null, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
      "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]}}
    """
}

struct Failure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
