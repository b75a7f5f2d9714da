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
  public let kernels: [(kernel: String, count: Int)]
  public let steps: Int, arenaBytes: Int, bytesMoved: Int
  public let flops: Double

  /// Plans a training step (Adam) of `model` on pictures of its `sample_size`, without running it.
  public init(
    _ model: UNet2DModel, diffusion: DiffusionConfig, batchSize: Int, precision: DType?, threads: Int
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
    let optimizer = Adam(contents)
    let objective = TrainingLoss(diffusion.noiseSchedule, diffusion.prediction)
    let plan = Backends.with(backend) {
      let x0 = Tensor.normal(
        [batchSize, size.rows, size.columns, model.config.in_channels], key: RandomKey(seed: 0))
      evaluate([x0], slots: optimizer.slots)
      let (loss, gradients) = valueAndGradient(contents) {
        Mode.training(RandomKey(seed: 0)) {
          Autocast.with(precision) { objective(x0, key: RandomKey(seed: 0)) { model($0, $1) } }
        }
      }
      optimizer.update(gradients, learningRate: 1e-4)
      return Evaluator.shared.plan(for: [loss], slots: optimizer.slots, backend: backend)
    }
    kernels = plan.kernelCounts
    (steps, arenaBytes, bytesMoved, flops) = (plan.steps.count, plan.arenaBytes, plan.bytesMoved, plan.flops)
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
        "steps": .integer(steps), "arena_bytes": .integer(arenaBytes), "bytes_moved": .integer(bytesMoved),
        "flops": .double(flops),
        "kernels": .array(kernels.map { ["kernel": .string($0.kernel), "count": .integer($0.count)] }),
      ],
    ]
  }
}
