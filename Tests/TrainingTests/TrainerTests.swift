import Foundation
import Kalsae
import Testing

/// The trainer as a library: memory, failures, and its run folder.
@Suite(.serialized) struct TrainerTests {
  let place: TemporaryFolder

  init() throws { place = try TemporaryFolder() }

  /// A network of 8 channels on drawn pictures of 16 x 16.
  func configuration(steps: Int) -> DDPMConfiguration {
    var model = UNet2DConfig()
    model.sample_size = ImageSize(16)
    model.block_out_channels = [8, 8]
    model.layers_per_block = 1
    model.down_block_types = [.plain, .attention]
    model.up_block_types = [.attention, .plain]
    model.attention_head_dim = nil
    model.norm_num_groups = 4
    var configuration = DDPMConfiguration()
    configuration.data = "shapes"
    configuration.imageSize = 16
    configuration.batchSize = 4
    configuration.steps = steps
    configuration.timesteps = 20
    configuration.sampleEvery = 0
    configuration.model = model
    return configuration
  }

  func trainer(_ configuration: DDPMConfiguration, resuming: Bool = false) throws -> DDPMTrainer {
    try DDPMTrainer(configuration, in: RunFolder(place("run")), resuming: resuming, threads: 1) { _ in }
  }

  #if os(Linux)
    @Test func residentMemoryIsFlat() throws {
      try Backends.with(.cpu(threads: 1)) {
        var early = 0, late = 0
        let outcome = try trainer(configuration(steps: 30)).train(progress: { progress in
          if progress.step == 3 { early = residentBytes() }
          if progress.step == 30 { late = residentBytes() }
        })
        #expect(outcome == .finished)
        #expect(early > 0 && late > 0)
        #expect(late - early < 8 << 20, "\(early >> 10) KiB after step 3, \(late >> 10) KiB after step 30")
      }
    }

    func residentBytes() -> Int {
      let fields =
        (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ") ?? []
      return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * sysconf(Int32(_SC_PAGESIZE))
    }
  #endif

  @Test func theLossFalls() throws {
    try Backends.with(.cpu(threads: 1)) {
      var losses: [Double] = []
      var configuration = configuration(steps: 60)
      configuration.learningRate = 2e-3
      configuration.warmup = 5
      let trainer = try trainer(configuration)
      _ = try trainer.train(progress: { losses.append($0.loss) })
      #expect(losses.count == 60)
      // The graph of a step is the same each time.
      #expect(trainer.graphCount == 2)
      let (first, last) = (losses.prefix(10).reduce(0, +), losses.suffix(10).reduce(0, +))
      #expect(last < 0.8 * first, "\(first / 10) at first, \(last / 10) at last")
    }
  }

  @Test func aDamagedWeightIsNamed() throws {
    try Backends.with(.cpu(threads: 1)) {
      _ = try trainer(configuration(steps: 2)).train()
      let path = place("run/checkpoints/step-2/model.safetensors")
      var tensors = try SafetensorsFile(path: path).tensors()
      let name = "down_blocks.1.resnets.0.conv1.bias"
      var values = try #require(tensors[name]).floats()
      values[3] = .infinity
      tensors[name] = Tensor(values, [8])
      try saveTensors(tensors, to: path)
      let before = try place.read("run/checkpoints/step-2/model.safetensors")

      let error = #expect(throws: RunError.self) {
        try trainer(configuration(steps: 5), resuming: true).train()
      }
      let text = try #require(error?.description)
      #expect(text.hasPrefix("step 3: the first non-finite tensor is \(name); "), "\(text)")
      #expect(text.contains("step-2"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: place("run/checkpoints")) == ["step-2"])
      #expect(try place.read("run/checkpoints/step-2/model.safetensors") == before)
    }
  }

  @Test func aRunStoppedAtOnceCanGoOn() throws {
    try Backends.with(.cpu(threads: 1)) {
      let first = try trainer(configuration(steps: 2)).train(shouldStop: { true })
      #expect(first == .interrupted)
      #expect(RunFolder(place("run")).checkpoints().isEmpty)
      let second = try trainer(configuration(steps: 2), resuming: true).train()
      #expect(second == .finished)
      #expect(RunFolder(place("run")).checkpoints() == [2])
    }
  }

  @Test func configurationsSurviveTheirFile() throws {
    var given = configuration(steps: 7)
    given.seed = .max
    given.precision = .bfloat16
    given.prediction = .v
    given.minSNRGamma = 5
    given.threads = 3
    let run = RunFolder(place("run"))
    try run.create(given)
    #expect(try run.configuration() == given)
    #expect(throws: RunError.self) { try run.create(given) }
  }
}
