import KalsaeCheckpoints
import KalsaeModels
import KalsaeNeural
import KalsaeTensors

/// Everything that is needed to repeat a training run: what `config.json` of a run folder holds.
///
/// The keys are the command line's options in snake_case, and `model` with the keys of the network.
public protocol TrainingConfiguration: Sendable, Equatable {
  /// What is trained: the file's `task`, and the subcommand of `kalsae train`.
  static var task: String { get }

  init()
  /// Reads a run's `config.json`; absent keys keep `standard`'s values, unknown ones are an error.
  init(_ c: ConfigJSON, over standard: Self) throws(ConfigError)
  /// The file's content.
  var json: JSONObject { get }
  /// The first value without meaning, or contradiction: the key, and what it should be.
  var problem: (key: String, reason: String)? { get }

  var steps: Int { get set }
  var batchSize: Int { get set }
  var learningRate: Double { get set }
  /// Steps of linear warm-up.
  var warmup: Int { get set }
  var precision: Precision { get set }
  /// Whether the blocks of the network are computed again for the gradient, which takes time and spares memory.
  var recompute: Bool { get set }
  /// The largest decay of the averaged weights.
  var ema: Double { get set }
  /// The largest norm of the gradient.
  var gradientClip: Double { get set }
  var dropout: Double { get set }
  var seed: UInt64 { get set }
  /// All processors when nil; results repeat bit for bit at a fixed number.
  var threads: Int? { get set }
  var checkpointEvery: Int { get set }
  /// How many checkpoints are kept.
  var keep: Int { get set }
}

/// The precision of products and convolutions.
public enum Precision: String, Sendable, CaseIterable {
  case float32, bfloat16

  /// What `Autocast` takes.
  public var autocast: DType? { self == .bfloat16 ? .bfloat16 : nil }
}

extension TrainingConfiguration {
  /// Reads the keys that every run has, and checks that the file describes this task.
  mutating func readCommon(_ c: ConfigJSON) throws(ConfigError) {
    let task = try c("task", or: Self.task)
    guard task == Self.task else {
      throw c.invalid("task", "is \"\(task)\": continue it with kalsae train \(task)")
    }
    steps = try c("steps", or: steps)
    batchSize = try c("batch_size", or: batchSize)
    learningRate = try c("learning_rate", or: learningRate)
    warmup = try c("warmup", or: warmup)
    precision = try c.option("precision", or: precision)
    recompute = try c("recompute", or: recompute)
    ema = try c("ema", or: ema)
    gradientClip = try c("gradient_clip", or: gradientClip)
    dropout = try c("dropout", or: dropout)
    if let seed: Int = try c("seed", or: nil) { self.seed = UInt64(bitPattern: Int64(seed)) }
    threads = try c("threads", or: threads)
    checkpointEvery = try c("checkpoint_every", or: checkpointEvery)
    keep = try c("keep", or: keep)
  }

  /// The keys that every run has.
  var commonJSON: JSONObject {
    [
      "task": .string(Self.task), "steps": .integer(steps), "batch_size": .integer(batchSize),
      "learning_rate": .double(learningRate), "warmup": .integer(warmup),
      "precision": .string(precision.rawValue), "recompute": .bool(recompute), "ema": .double(ema),
      "gradient_clip": .double(gradientClip),
      "dropout": .double(dropout), "seed": .integer(Int(Int64(bitPattern: seed))), "threads": threads.json,
      "checkpoint_every": .integer(checkpointEvery), "keep": .integer(keep),
    ]
  }

  /// What is wrong with the values that every run has.
  var commonProblem: (key: String, reason: String)? {
    let atLeastOne = [
      ("steps", steps), ("batch_size", batchSize), ("checkpoint_every", checkpointEvery), ("keep", keep),
      ("threads", threads ?? 1),
    ]
    for (key, value) in atLeastOne where value < 1 { return (key, "must be at least 1, not \(value)") }
    if warmup < 0 { return ("warmup", "must not be negative, but is \(warmup)") }
    if !(learningRate > 0 && learningRate.isFinite) {
      return ("learning_rate", "must be positive, not \(learningRate)")
    }
    if !(gradientClip > 0) { return ("gradient_clip", "must be positive, not \(gradientClip)") }
    if !(0..<1).contains(ema) { return ("ema", "must be in [0, 1), not \(ema)") }
    if !(0..<1).contains(dropout) { return ("dropout", "must be in [0, 1), not \(dropout)") }
    return nil
  }
}

extension ConfigJSON {
  /// One of an enumeration's names.
  func option<Option: RawRepresentable<String> & CaseIterable>(
    _ key: String, or standard: Option
  ) throws(ConfigError) -> Option {
    guard let name: String = try self(key, or: nil) else { return standard }
    guard let option = Option(rawValue: name) else {
      throw invalid(key, "is \"\(name)\"; choose \(Option.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return option
  }
}
