import KalsaeCPUBackend
import KalsaeCheckpoints
import KalsaeDiffusion
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// What a model consists of, and what one training step of it costs.
public struct ModelReport: Sendable {
  /// Parameters of each part of the model, in order.
  public let modules: [(path: String, parameters: Int)]
  public let parameterCount: Int
  public let batchSize: Int
  /// One training step.
  public let plan: PlanReport

  /// Plans a training step (Adam) of `model` on pictures of its `sample_size`; runs it only to time it.
  ///
  /// - Parameter timedRuns: how often the plan runs to time its steps, after one run that does not count; 0: never.
  public init(
    _ model: UNet2DModel, diffusion: DiffusionConfig, batchSize: Int, precision: DType?, threads: Int,
    timedRuns: Int = 0
  ) throws {
    guard let size = model.config.sample_size else {
      throw DiffusionError("the model's config has no sample_size: nothing can be planned")
    }
    let contents = model.contents
    self.batchSize = batchSize
    parameterCount = contents.parameterCount
    var parts: [(path: String, parameters: Int)] = []
    for entry in contents.parameters {
      let part = Self.part(of: entry.path)
      if parts.last?.path != part { parts.append((part, 0)) }
      parts[parts.count - 1].parameters += entry.parameter.shape.count
    }
    modules = parts

    let backend = CPUBackend(threads: threads)
    let x0 = Tensor.normal(
      [batchSize, size.rows, size.columns, model.config.in_channels], key: RandomKey(seed: 0))
    let optimizer = Adam(contents)
    let objective = TrainingLoss(diffusion.noiseSchedule, diffusion.prediction)
    func trainingStep() -> [Tensor] {
      let (loss, gradients) = valueAndGradient(contents) {
        Mode.training(RandomKey(seed: 0)) {
          Autocast.with(precision) { objective(x0, key: RandomKey(seed: 0)) { model($0, $1) } }
        }
      }
      optimizer.update(gradients, learningRate: 1e-4)
      return [loss]
    }
    let (plan, seconds) = Backends.with(backend) { () -> (Plan, [[Double]]) in
      evaluate([x0], slots: optimizer.slots)
      guard timedRuns > 0 else {
        return (Evaluator.shared.plan(for: trainingStep(), slots: optimizer.slots, backend: backend), [])
      }
      let runs = (0...timedRuns).map { _ in
        Evaluator.shared.timings(of: trainingStep(), slots: optimizer.slots, backend: backend)
      }
      return (runs[0].plan, runs.dropFirst().map(\.seconds))
    }
    self.plan = PlanReport(plan, runs: seconds)
  }

  /// The block a key belongs to: the first name, and the number after it.
  private static func part(of path: String) -> String {
    let names = path.split(separator: ".")
    return names.count > 1 && Int(names[1]) != nil ? names[..<2].joined(separator: ".") : String(names[0])
  }

  public var json: JSONObject {
    [
      "parameters": .integer(parameterCount),
      "modules": .array(modules.map { ["path": .string($0.path), "parameters": .integer($0.parameters)] }),
      "batch_size": .integer(batchSize),
      "plan": .object(plan.json),
    ]
  }
}
