import Foundation
import Kalsae
import Testing

/// Folders that diffusers saved draw what diffusers drew: every state, with its noise, and the pictures.
@Suite struct PipelineGoldenTests {
  @Test(arguments: [SamplerKind.ddpm, .ddim]) func diffusersFoldersDrawTheSame(_ sampler: SamplerKind) throws
  {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/pipeline-\(sampler.rawValue)").path
    let golden = try SafetensorsFile(path: folder + "/golden.safetensors")
    let pipeline = try DDPMPipeline(folder: folder)
    // (steps + 1, N, C, H, W) as (steps + 1, N, H, W, C).
    let x = try golden.tensor("x").transposed(0, 1, 3, 4, 2)
    let noise = try? golden.tensor("noise").transposed(0, 1, 3, 4, 2)
    let timesteps = try golden.tensor("timesteps").array(of: Int64.self)
    let steps = x.shape[0] - 1
    func entry(_ tensor: Tensor, _ index: Int) -> Tensor {
      tensor.sliced(0, index..<index + 1).reshaped(Shape(Array(x.shape.dimensions.dropFirst())))
    }
    let recorded = NoiseSource { _, position in
      guard let noise else { fatalError("DDIM without eta draws noise") }
      return entry(noise, position)
    }
    let loop = try pipeline.diffusion.samplingLoop(sampler, steps: steps, from: entry(x, 0), noise: recorded)
    {
      pipeline.unet($0, $1)
    }
    var last: [Float] = [], count = 0
    for state in loop {
      evaluate(state.x)
      last = state.x.floats()
      #expect(state.timestep == Int(timesteps[count]))
      count += 1
      #expect(error(last, entry(x, count).floats()) <= 1e-4, "step \(count)")
    }
    #expect(count == steps)
    let images = last.map { min(max($0 / 2 + 0.5, 0), 1) }
    #expect(error(images, try golden.tensor("images").floats()) <= 1e-4)
  }

  /// What a folder says is what is written back: weights, network and process.
  @Test(arguments: ["ddpm", "ddim"]) func foldersSurviveSavingAndOpening(_ name: String) throws {
    let source = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/pipeline-\(name)").path
    let place = try TemporaryFolder()
    let first = try DDPMPipeline(folder: source)
    try first.save(to: place("model"), sampler: try #require(SamplerKind(rawValue: name)))
    let second = try DDPMPipeline(folder: place("model"))
    #expect(second.unet.config == first.unet.config)
    #expect(second.diffusion == first.diffusion)
    for (a, b) in zip(first.unet.contents.parameters, second.unet.contents.parameters) {
      #expect(a.path == b.path)
      #expect(a.parameter.value.floats() == b.parameter.value.floats(), "\(a.path)")
    }
    #expect(throws: (any Error).self) { try first.save(to: place("model")) }
    #expect(try place.names == ["model"])
  }

  /// The largest difference beside the largest magnitude of the reference.
  private func error(_ a: [Float], _ b: [Float]) -> Float {
    guard a.count == b.count else { return .infinity }
    let difference = zip(a, b).reduce(Float(0)) { $1.0.isFinite ? max($0, abs($1.0 - $1.1)) : .infinity }
    return difference / (b.map(abs).max() ?? 1)
  }
}
