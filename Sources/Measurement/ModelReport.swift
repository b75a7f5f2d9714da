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
  public let steps: [Step]
  public let arenaBytes: Int, bytesMoved: Int
  public let flops: Double

  /// One step of the plan.
  public struct Step: Sendable {
    /// The op and its implementation, and the same with the shapes of its operands.
    public let kernel: String, description: String
    public let flops: Double
    public let bytesMoved: Int
    /// The median of the timed runs; nil when the plan was not run.
    public let seconds: Double?
  }

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
    steps = plan.steps.enumerated().map { index, step in
      Step(
        kernel: step.kernelName, description: step.description, flops: step.flops,
        bytesMoved: step.bytesMoved,
        seconds: seconds.isEmpty ? nil : seconds.map { $0[index] }.sorted()[seconds.count / 2])
    }
    (arenaBytes, bytesMoved, flops) = (plan.arenaBytes, plan.bytesMoved, plan.flops)
  }

  /// The steps of each implementation together: slowest first when timed, else most frequent first.
  public var kernels: [(kernel: String, count: Int, seconds: Double?)] {
    Dictionary(grouping: steps, by: \.kernel).map { kernel, steps in
      (kernel, steps.count, seconds(of: steps))
    }.sorted { ($1.seconds ?? 0, $1.count, $0.kernel) < ($0.seconds ?? 0, $0.count, $1.kernel) }
  }

  /// Of one training step, as the sum of its parts; nil when it was not run.
  public var seconds: Double? { seconds(of: steps) }

  private func seconds(of steps: [Step]) -> Double? {
    steps.reduce(0) { sum, step in sum.flatMap { sum in step.seconds.map { sum + $0 } } }
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
      "plan": [
        "steps": .integer(steps.count), "seconds": seconds.json, "arena_bytes": .integer(arenaBytes),
        "bytes_moved": .integer(bytesMoved),
        "flops": .double(flops),
        "kernels": .array(
          kernels.map {
            ["kernel": .string($0.kernel), "count": .integer($0.count), "seconds": $0.seconds.json]
          }),
      ],
    ]
  }
}
