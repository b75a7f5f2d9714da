import KalsaeCPUBackend
import KalsaeDiffusion
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// The workloads of `kalsae bench`. Raw values are the names on the command line.
public enum Workload: String, Sendable, CaseIterable {
  case matmul, convolution
  case ddpmTrain = "ddpm-cifar10-train"
  case ddpmSample = "ddpm-cifar10-sample"

  public var summary: String {
    switch self {
    case .matmul: "4096 x 768 x 3072, a Transformer's feed-forward product"
    case .convolution: "16 x 32 x 32, 128 to 128 channels, 3 x 3"
    case .ddpmTrain: "one training step of the DDPM paper's CIFAR-10 U-Net (35.7M parameters), batch 16, Adam"
    case .ddpmSample: "one call of the same network, batch 16"
    }
  }
}

/// What a workload took.
public struct BenchmarkResult: Sendable {
  public let workload: Workload
  public let precision: DType
  public let threads: Int
  /// Seconds of each counted run.
  public let seconds: [Double]
  /// By the direct algorithm.
  public let flops: Double
  public let bytesMoved: Int
  /// max(FLOPs / peak, bytes of operands and results / bandwidth): no direct algorithm is faster on this machine.
  public let floor: Double
  public let peakResidentBytes: Int

  public var best: Double { seconds.min()! }
  public var median: Double { seconds.sorted()[seconds.count / 2] }
}

/// Runs `workload` `repeats` times after two runs that compile the plan and touch the memory.
public func benchmark(
  _ workload: Workload, precision: DType, threads: Int, repeats: Int
) -> BenchmarkResult {
  let backend = CPUBackend(threads: threads)
  return Backends.with(backend) {
    let run = PreparedWorkload(workload, precision: precision)
    var seconds: [Double] = []
    var plan: Plan!
    for index in 0..<repeats + 2 {
      // Building the graph belongs to a step, too.
      let start = ContinuousClock.now
      let (tensors, slots) = run.step(index)
      if index == 0 { plan = Evaluator.shared.plan(for: tensors, slots: slots, backend: backend) }
      evaluate(tensors, slots: slots)
      let elapsed = (ContinuousClock.now - start) / .seconds(1)
      if index >= 2 { seconds.append(elapsed) }
    }
    let resident = Machine.peakResidentBytes
    let peaks = Peaks.measured(precision: precision, threads: threads)
    return BenchmarkResult(
      workload: workload, precision: precision, threads: threads, seconds: seconds, flops: plan.flops,
      bytesMoved: plan.bytesMoved,
      floor: peaks.floor(flops: plan.flops, bytes: Double(plan.operandBytes)), peakResidentBytes: resident)
  }
}

/// A workload with its data and parameters in place.
private struct PreparedWorkload {
  /// The tensors and slots of one run.
  let step: (Int) -> ([Tensor], [Slot])

  init(_ workload: Workload, precision: DType) {
    let key = RandomKey(seed: 1)
    switch workload {
    case .matmul:
      let a = Slot(Tensor.normal([4096, 768], key: key, stream: 0).cast(to: precision))
      let b = Slot(Tensor.normal([768, 3072], key: key, stream: 1).cast(to: precision))
      evaluate([], slots: [a, b])
      step = { _ in ([matmul(a.value, b.value)], []) }
    case .convolution:
      let x = Slot(Tensor.normal([16, 32, 32, 128], key: key, stream: 0).cast(to: precision))
      let w = Slot(Tensor.normal([128, 128, 3, 3], key: key, stream: 1).cast(to: precision))
      evaluate([], slots: [x, w])
      step = { _ in ([conv2d(x.value, w.value, padding: 1)], []) }
    case .ddpmSample:
      let model = Initialization.with(seed: 1) { UNet2DModel(.ddpmCIFAR10) }
      let x = Slot(.normal([16, 32, 32, 3], key: key))
      evaluate([], slots: model.contents.slots + [x])
      let times = Tensor([Int32](repeating: 500, count: 16))
      step = { _ in ([Autocast.with(precision == .bfloat16 ? precision : nil) { model(x.value, times) }], [])
      }
    case .ddpmTrain:
      let model = Initialization.with(seed: 1) { UNet2DModel(.ddpmCIFAR10) }
      let contents = model.contents
      let optimizer = Adam(contents)
      let objective = TrainingLoss(.linear())
      let x0 = Tensor.normal([16, 32, 32, 3], key: key)
      evaluate([x0], slots: optimizer.slots)
      step = { index in
        let key = RandomKey(seed: 0, step: UInt64(index))
        let (loss, gradients) = valueAndGradient(contents) {
          Mode.training(key) {
            Autocast.with(precision == .bfloat16 ? precision : nil) {
              objective(x0, key: key) { model($0, $1) }
            }
          }
        }
        optimizer.update(gradients, learningRate: 2e-4)
        return ([loss], optimizer.slots)
      }
    }
  }
}

extension UNet2DConfig {
  /// The network of "Denoising Diffusion Probabilistic Models" for CIFAR-10 (arXiv 2006.11239, appendix B).
  public static var ddpmCIFAR10: UNet2DConfig {
    var config = UNet2DConfig()
    config.sample_size = ImageSize(32)
    config.block_out_channels = [128, 256, 256, 256]
    config.layers_per_block = 2
    config.down_block_types = [.plain, .attention, .plain, .plain]
    config.up_block_types = [.plain, .plain, .attention, .plain]
    config.attention_head_dim = nil
    config.downsample_padding = 0
    config.flip_sin_to_cos = false
    config.freq_shift = 1
    config.norm_eps = 1e-6
    config.dropout = 0.1
    return config
  }
}
