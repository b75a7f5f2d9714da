import Foundation
import KalsaeDiffusion
import KalsaeRuntime
import KalsaeTensors
import Testing

/// A sequence that diffusers' schedulers took, from the closed-form model `x t / (t + 1)` of their own tests.
struct DiffusersSequence: Decodable, CustomTestStringConvertible {
  struct Config: Decodable {
    let num_train_timesteps: Int
    let beta_start, beta_end: Double
    let beta_schedule, prediction_type: String
    let variance_type: String?
    let clip_sample: Bool
    let clip_sample_range: Double
    let timestep_spacing: String
    let steps_offset: Int
    let set_alpha_to_one: Bool?
  }

  let name, scheduler, file: String
  let config: Config
  let steps: Int
  let eta: Double?
  let timesteps: [Int]

  var testDescription: String { name }

  static let all: [DiffusersSequence] = {
    let data = FileManager.default.contents(
      atPath: Fixture.folder.appending(path: "schedulers/manifest.json").path)
    return data.flatMap { try? JSONDecoder().decode([DiffusersSequence].self, from: $0) } ?? []
  }()

  /// By diffusers' own names, so that these are tested too.
  func diffusionConfig() throws -> DiffusionConfig {
    var result = DiffusionConfig()
    result.timesteps = config.num_train_timesteps
    (result.betaStart, result.betaEnd) = (config.beta_start, config.beta_end)
    result.schedule = try #require(NoiseSchedule.Kind(diffusersName: config.beta_schedule))
    result.prediction = try #require(Prediction(diffusersName: config.prediction_type))
    result.variance = try config.variance_type.map { try #require(.init(diffusersName: $0)) } ?? .fixedSmall
    (result.clipSample, result.clipSampleRange) = (config.clip_sample, config.clip_sample_range)
    result.spacing = try #require(TimestepSpacing(diffusersName: config.timestep_spacing))
    result.stepsOffset = config.steps_offset
    result.setAlphaToOne = config.set_alpha_to_one ?? true
    try result.validate()
    return result
  }
}

@Suite struct DiffusersSequenceTests {
  @Test func theManifestIsThere() { #expect(DiffusersSequence.all.count > 40) }

  @Test(arguments: DiffusersSequence.all)
  func everyStepIsThatOfDiffusers(_ sequence: DiffusersSequence) throws {
    let fixture = try Fixture("schedulers/" + sequence.file), name = sequence.name
    let hasNoise = fixture.contains(name + ".noise")
    let noise = try (0..<sequence.steps).map { try hasNoise ? fixture.tensor(name + ".noise", at: $0) : nil }
    let start = try fixture.tensor(name + ".x", at: 0)
    let kind: SamplerKind = sequence.scheduler == "DDPMScheduler" ? .ddpm : .ddim
    let loop = try sequence.diffusionConfig().samplingLoop(
      kind, steps: sequence.steps, eta: sequence.eta ?? 0, from: start,
      noise: NoiseSource { _, position in noise[position]! }
    ) { x, timesteps in
      let t = timesteps.cast(to: .float32).reshaped(-1, 1, 1, 1)
      return x * t / (t + 1)
    }
    #expect(loop.underestimatedCount == sequence.steps)
    var timesteps: [Int] = []
    let x = try fixture[name + ".x"], exact = try fixture[name + ".x_exact"], x0 = try fixture[name + ".x0"]
    for state in loop {
      evaluate(state.x, state.x0)
      timesteps.append(state.timestep)
      let count = start.count, before = state.position * count, after = before + count
      let values = state.x.floats()
      #expect(relativeError(values, Array(x[after..<after + count])) < 1e-4, "step \(state.position)")
      #expect(relativeError(values, Array(exact[after..<after + count])) < 1e-5, "step \(state.position)")
      // At t = 999 x_0 multiplies rounding by 1 / alpha = 157, and diffusers' alpha itself is rounded.
      #expect(relativeError(state.x0.floats(), Array(x0[before..<after])) < 3e-4, "x0 of \(state.position)")
    }
    #expect(timesteps == sequence.timesteps)
  }
}
