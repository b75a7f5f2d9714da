import KalsaeCheckpoints
import KalsaeData
import KalsaeModels
import KalsaeNeural
import KalsaeTensors

/// What training changes: the model, its average, the optimizer, and the place in the data.
struct TrainingState {
  let model: UNet2DModel, averaged: UNet2DModel
  let contents: ModuleContents
  let optimizer: Adam
  let average: MovingAverage
  var step = 0
  var position = LoaderPosition.start

  init(_ config: UNet2DConfig, seed: UInt64, ema: Double) {
    model = Initialization.with(seed: seed) { UNet2DModel(config) }
    averaged = Initialization.with(seed: seed) { UNet2DModel(config) }
    contents = model.contents
    optimizer = Adam(contents)
    average = MovingAverage(of: contents, in: averaged.contents, decay: ema)
  }

  /// All that a step assigns.
  var slots: [Slot] { optimizer.slots + average.slots }

  static let modelFile = "model.safetensors", averageFile = "ema.safetensors"
  private static let optimizerFile = "optimizer.safetensors", stateFile = "state.json"

  /// Writes `checkpoints/step-N`, which appears complete or not at all.
  func save(to run: RunFolder, threads: Int) throws {
    let path = run.checkpointPath(step)
    try publishFolder(at: path) { folder in
      try saveParameters(of: contents, to: folder + "/" + Self.modelFile)
      try saveParameters(of: average.average, to: folder + "/" + Self.averageFile)
      try saveSlots(memory, to: folder + "/" + Self.optimizerFile)
      let state: JSONObject = [
        "step": .integer(step), "epoch": .integer(position.epoch), "index": .integer(position.index),
        "threads": .integer(threads),
      ]
      try AtomicFile.write(JSON.object(state).prettyText.utf8, to: folder + "/" + Self.stateFile)
    }
  }

  /// Continues from a checkpoint; returns the number of threads it was made with.
  mutating func load(from run: RunFolder, step: Int) throws -> Int {
    let path = run.checkpointPath(step)
    let state = try ConfigJSON(path: path + "/" + Self.stateFile)
    self.step = try state("step")
    position = LoaderPosition(epoch: try state("epoch"), index: try state("index"))
    let threads: Int = try state("threads")
    try state.finish()
    try loadParameters(into: contents, from: SafetensorsFile(path: path + "/" + Self.modelFile))
    try loadParameters(into: average.average, from: SafetensorsFile(path: path + "/" + Self.averageFile))
    try loadSlots(memory, from: SafetensorsFile(path: path + "/" + Self.optimizerFile))
    return threads
  }

  private var memory: [(path: String, slot: Slot)] {
    optimizer.state + average.state.map { ("average." + $0.path, $0.slot) }
  }
}
