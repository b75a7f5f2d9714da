import Foundation
import KalsaeCheckpoints
import KalsaeDiffusion
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// An unconditional image model: the network, and the diffusion process it was trained for.
///
/// In a folder it has diffusers' layout, so that Python's `DDPMPipeline.from_pretrained` opens it too:
/// `model_index.json`, `unet/config.json`, `unet/diffusion_pytorch_model.safetensors`,
/// `scheduler/scheduler_config.json`.
public struct DDPMPipeline: Sendable {
  public let unet: UNet2DModel
  public let diffusion: DiffusionConfig

  public init(unet: UNet2DModel, diffusion: DiffusionConfig) {
    self.unet = unet
    self.diffusion = diffusion
  }

  /// Whether `path` looks like a folder in this layout.
  public static func exists(at path: String) -> Bool {
    [modelIndex, "unet/config.json"].contains { FileManager.default.fileExists(atPath: path + "/" + $0) }
  }

  /// Opens a folder; throws with the full path and the remedy when something is missing or does not fit.
  public init(folder: String) throws {
    if FileManager.default.fileExists(atPath: folder + "/" + Self.modelIndex) {
      let index = try ConfigJSON(path: folder + "/" + Self.modelIndex)
      let name: String = try index("_class_name")
      guard ["DDPMPipeline", "DDIMPipeline"].contains(name) else {
        throw index.invalid("_class_name", "is \"\(name)\"; supported: DDPMPipeline, DDIMPipeline")
      }
    }
    let config = try UNet2DConfig(ConfigJSON(path: folder + "/unet/config.json"))
    guard config.num_class_embeds == nil, config.class_embed_type == nil else {
      throw DiffusionError("\(folder)/unet/config.json: networks with classes cannot be sampled yet")
    }
    guard config.in_channels == config.out_channels else {
      throw DiffusionError(
        "\(folder)/unet/config.json: in_channels \(config.in_channels) and out_channels \(config.out_channels) "
          + "must be equal")
    }
    diffusion = try DiffusionConfig(ConfigJSON(path: folder + "/scheduler/scheduler_config.json"))
    unet = UNet2DModel(config)
    try loadParameters(
      into: unet.contents, from: SafetensorsFile(path: folder + "/" + Self.weights),
      keyMap: UNet2DModel.keyMap)
  }

  /// Writes a folder; it appears complete or not at all, and an existing one is refused.
  public func save(to folder: String, sampler: SamplerKind = .ddpm) throws {
    let scheduler = try diffusion.json(for: sampler)
    let index: JSONObject = [
      "_class_name": sampler == .ddpm ? "DDPMPipeline" : "DDIMPipeline",
      "_diffusers_version": "0.30.0",
      "scheduler": ["diffusers", sampler == .ddpm ? "DDPMScheduler" : "DDIMScheduler"],
      "unet": ["diffusers", "UNet2DModel"],
    ]
    try publishFolder(at: folder) { folder in
      try makeFolder(folder + "/unet")
      try makeFolder(folder + "/scheduler")
      try write(index, to: folder + "/" + Self.modelIndex)
      try write(unet.config.json, to: folder + "/unet/config.json")
      try write(scheduler, to: folder + "/scheduler/scheduler_config.json")
      try saveParameters(of: unet.contents, to: folder + "/" + Self.weights)
    }
  }

  private static let modelIndex = "model_index.json"
  private static let weights = "unet/diffusion_pytorch_model.safetensors"

  private func makeFolder(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  private func write(_ object: JSONObject, to path: String) throws {
    try AtomicFile.write(JSON.object(object).prettyText.utf8, to: path)
  }
}
