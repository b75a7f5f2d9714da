import KalsaeCPUBackend
import KalsaeRuntime
import KalsaeTensors

/// The workloads of `kalsae bench`. Raw values are the names on the command line.
public enum Workload: String, Sendable, CaseIterable {
  case matmul, convolution
  case ddpmTrain = "ddpm-cifar10-train"
  case ddpmSample = "ddpm-cifar10-sample"
  case ddpmFashionTrain = "ddpm-fashion-train"
  case gpt2Train = "gpt2-train"
  case gpt2Prefill = "gpt2-prefill"
  case gpt2Decode = "gpt2-decode"
  case transformerTrain = "transformer-train"
  case bertBase = "bert-base"
  case vitBase = "vit-base"

  public var summary: String {
    switch self {
    case .matmul: "4096 x 768 x 3072, a Transformer's feed-forward product"
    case .convolution: "16 x 32 x 32, 128 to 128 channels, 3 x 3"
    case .ddpmTrain: "one training step of the DDPM paper's CIFAR-10 U-Net (35.7M parameters), batch 16, Adam"
    case .ddpmSample: "one call of the same network, batch 16"
    case .ddpmFashionTrain:
      "one step of training on Fashion-MNIST (2.7M parameters), batch 32, clipping, Adam, averaged weights"
    case .gpt2Train:
      "one training step of GPT-2 (124M parameters), batch 4 x 256, no dropout, clipping, AdamW"
    case .gpt2Prefill: "GPT-2 reads 512 tokens into its cache; logits of the last"
    case .gpt2Decode: "GPT-2 writes 64 tokens, greedily, one after the other, behind a prompt of 16"
    case .transformerTrain:
      "one training step of the base Transformer, 64 pairs of 32 tokens, vocabulary 10,000, dropout, Adam"
    case .bertBase: "one call of BERT-base, batch 32 x 128 tokens"
    case .vitBase: "one call of ViT-B/16, batch 16 of 224 x 224"
    }
  }

  public var isTraining: Bool {
    switch self {
    case .ddpmTrain, .ddpmFashionTrain, .gpt2Train, .transformerTrain: true
    case .matmul, .convolution, .ddpmSample, .gpt2Prefill, .gpt2Decode, .bertBase, .vitBase: false
    }
  }

  /// How many samples are computed at once when nothing else is said; nil where that has no meaning.
  public var batchSize: Int? {
    switch self {
    case .matmul, .convolution: nil
    case .ddpmTrain, .ddpmSample, .vitBase: 16
    case .gpt2Train: 4
    case .gpt2Prefill, .gpt2Decode: 1
    case .transformerTrain: 64
    case .bertBase, .ddpmFashionTrain: 32
    }
  }
}

/// What a workload took.
public struct BenchmarkResult: Sendable {
  public let workload: Workload
  public let precision: DType
  public let batchSize: Int?
  public let threads: Int
  /// Seconds of each counted run.
  public let seconds: [Double]
  /// By the direct algorithm.
  public let flops: Double
  /// max(FLOPs / peak, bytes of operands and results / bandwidth): no direct algorithm is faster on this machine.
  public let floor: Double
  /// Seconds of each evaluation in the counted runs that no plan ran: graphs, looking up plans, choosing tokens.
  public let hostSeconds: Double
  /// What a run processes: a number, and of what.
  public let items: (count: Int, unit: String)?
  public let peakResidentBytes: Int
  /// What the floor was computed with.
  public let peaks: Peaks
  /// The plan with the time of each step, when that was asked for.
  public let plan: PlanReport?

  public var best: Double { seconds.min()! }
  public var median: Double { seconds.sorted()[seconds.count / 2] }
}

/// Runs `workload` `repeats` times after three runs that compile the plan, touch the memory and show that the graph stays
/// the same.
///
/// - Parameters:
///   - batchSize: the workload's own when nil.
///   - recomputes: whether the blocks of a network that is trained are computed again for the gradient.
///   - timesSteps: whether the plan then runs a few times more, to time each of its steps.
public func benchmark(
  _ workload: Workload, precision: DType, batchSize: Int? = nil, threads: Int, repeats: Int,
  recomputes: Bool = false, timesSteps: Bool = false
) -> BenchmarkResult {
  let backend = CPUBackend(threads: threads)
  return inContext(backend, precision, recomputes) {
    let batch = batchSize ?? workload.batchSize
    let prepared = PreparedWorkload(workload, precision: precision, batch: batch ?? 1)
    let (tensors, slots) = prepared.step(0)
    let plan = Evaluator.shared.plan(for: tensors, slots: slots, backend: backend)
    evaluate(tensors, slots: slots)
    var seconds: [Double] = [], inPlans = 0.0
    for index in 1..<repeats + 3 {
      // Building the graph belongs to a step, too.
      let start = ContinuousClock.now, before = Evaluator.shared.secondsInPlans
      prepared.run(index)
      let elapsed = (ContinuousClock.now - start) / .seconds(1)
      if index >= 3 {
        seconds.append(elapsed)
        inPlans += Evaluator.shared.secondsInPlans - before
      }
    }
    let resident = Machine.peakResidentBytes
    let peaks = Peaks.measured(precision: precision, threads: threads)
    let evaluations = Double(prepared.evaluations)
    return BenchmarkResult(
      workload: workload, precision: precision, batchSize: batch, threads: threads, seconds: seconds,
      flops: evaluations * plan.flops,
      floor: evaluations
        * peaks.floor(flops: plan.flops, bytes: Double(prepared.bytes ?? plan.operandBytes)),
      hostSeconds: (seconds.reduce(0, +) - inPlans) / (evaluations * Double(repeats)),
      items: prepared.items, peakResidentBytes: resident, peaks: peaks,
      plan: timesSteps ? timedPlan(prepared, backend, from: repeats + 3) : nil)
  }
}

private func inContext<R>(
  _ backend: CPUBackend, _ precision: DType, _ recomputes: Bool, _ body: () -> R
) -> R {
  Backends.with(backend) {
    Autocast.with(precision == .bfloat16 ? precision : nil) { Recomputation.with(recomputes, body) }
  }
}

/// The plan of one step, timed five times after one that does not count.
private func timedPlan(_ prepared: PreparedWorkload, _ backend: CPUBackend, from index: Int) -> PlanReport {
  let runs = (0...5).map { run in
    let (tensors, slots) = prepared.step(index + run)
    return Evaluator.shared.timings(of: tensors, slots: slots, backend: backend)
  }
  return PlanReport(runs.last!.plan, runs: runs.dropFirst().map(\.seconds))
}
