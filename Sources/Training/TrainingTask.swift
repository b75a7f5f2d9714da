import KalsaeData
import KalsaeNeural
import KalsaeTensors

/// What is trained, on what, and towards what.
public protocol TrainingTask {
  associatedtype Configuration: TrainingConfiguration
  associatedtype Model: Module & Sendable
  associatedtype Batch

  /// What speed counts, in the plural: "images", "tokens".
  static var unit: String { get }

  /// Opens the data and completes the configuration by what they say. `report` receives single lines for the log.
  init(_ configuration: Configuration, report: @escaping @Sendable (String) -> Void) throws

  /// The completed configuration.
  var configuration: Configuration { get }

  /// A new model; its weights come from the task's initial random key.
  func makeModel() -> Model

  /// Gives the model of a new run weights that are not drawn: those of a pre-trained one.
  func initialize(_ model: Model) throws

  func makeOptimizer(_ contents: ModuleContents) -> any Optimizer

  var learningRate: LearningRate { get }

  /// Batches from `position` on, each with the place behind it.
  func makeLoader(at position: LoaderPosition) throws -> () throws -> (
    batch: Batch, positionAfter: LoaderPosition
  )

  /// How much of `unit` a batch holds.
  func count(_ batch: Batch) -> Int

  /// All that the loss takes from a batch, as tensors made from its numbers.
  func inputs(_ batch: Batch) -> [Tensor]

  /// The scalar loss on the inputs of a batch; `observe` sees what blocks compute, under their names.
  ///
  /// Nothing else decides about its graph, which is not built anew in every step (see `RepeatedStep`).
  func loss(
    of model: Model, on inputs: [Tensor], key: RandomKey, observe: @escaping (String, Tensor) -> Void
  ) -> Tensor

  /// Files that a new run needs beside its configuration: a tokenizer, say.
  func addFiles(to run: RunFolder) throws

  /// Looks at the averaged model after a step, if it is time to: samples into the log, numbers of a validation.
  func inspect(
    _ model: Model, step: Int, run: RunFolder, log: RunLog, shouldStop: () -> Bool
  ) throws -> [(name: String, value: Double)]
}

extension TrainingTask {
  public func initialize(_ model: Model) throws {}
  public func addFiles(to run: RunFolder) throws {}
}
