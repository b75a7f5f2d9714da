import KalsaeCheckpoints
import KalsaeData
import KalsaeNeural
import KalsaeTensors

/// What training changes: the model, its average, the optimizer, and the place in the data.
struct TrainingState<Model: Module> {
  let model: Model, averaged: Model
  let contents: ModuleContents
  let optimizer: any Optimizer
  let average: MovingAverage
  var step = 0
  var position = LoaderPosition.start

  init(
    seed: UInt64, ema: Double, model make: () -> Model, initialize: (Model) throws -> Void,
    optimizer: (ModuleContents) -> any Optimizer
  ) throws {
    model = Initialization.with(seed: seed, make)
    try initialize(model)
    averaged = Initialization.with(seed: seed, make)
    contents = model.contents
    self.optimizer = optimizer(contents)
    average = MovingAverage(of: contents, in: averaged.contents, decay: ema)
  }

  /// All that a step assigns.
  var slots: [Slot] { optimizer.slots + average.slots }

  /// Writes `checkpoints/step-N`, which appears complete or not at all.
  func save(to run: RunFolder, threads: Int) throws {
    let path = run.checkpointPath(step)
    try publishFolder(at: path) { folder in
      try saveParameters(of: contents, to: folder + "/" + CheckpointFiles.model)
      try saveParameters(of: average.average, to: folder + "/" + CheckpointFiles.average)
      try saveSlots(memory, to: folder + "/" + CheckpointFiles.optimizer)
      let state: JSONObject = [
        "step": .integer(step), "epoch": .integer(position.epoch), "index": .integer(position.index),
        "threads": .integer(threads),
      ]
      try AtomicFile.write(JSON.object(state).prettyText.utf8, to: folder + "/" + CheckpointFiles.state)
    }
  }

  /// Continues from a checkpoint; returns the number of threads it was made with.
  mutating func load(from run: RunFolder, step: Int) throws -> Int {
    let path = run.checkpointPath(step)
    let state = try ConfigJSON(path: path + "/" + CheckpointFiles.state)
    self.step = try state("step")
    position = LoaderPosition(epoch: try state("epoch"), index: try state("index"))
    let threads: Int = try state("threads")
    try state.finish()
    try loadParameters(into: contents, from: SafetensorsFile(path: path + "/" + CheckpointFiles.model))
    try loadParameters(
      into: average.average, from: SafetensorsFile(path: path + "/" + CheckpointFiles.average))
    try loadSlots(memory, from: SafetensorsFile(path: path + "/" + CheckpointFiles.optimizer))
    return threads
  }

  private var memory: [(path: String, slot: Slot)] {
    optimizer.state + average.state.map { ("average." + $0.path, $0.slot) }
  }
}

/// What `checkpoints/step-N` holds.
enum CheckpointFiles {
  static let model = "model.safetensors", average = "ema.safetensors"
  static let optimizer = "optimizer.safetensors", state = "state.json"
}
