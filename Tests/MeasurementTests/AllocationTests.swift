import CMallocCount
import KalsaeData
import KalsaeGeneration
import KalsaeMeasurement
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import Synchronization
import Testing

/// How often kernels ask for memory while they run, counted on the thread that runs plans; `WorkloadCostTests` counts
/// what is around them.
///
/// Nearly all of it is oneDNN's: a dozen requests for each primitive that it executes.
@Suite(.serialized, .enabled(if: malloc_count() >= 0, "calls of malloc are counted with glibc only"))
struct AllocationTests {
  static let update =
    "KALSAE_UPDATE_SNAPSHOTS=1 swift test -c release --no-parallel --filter AllocationTests"

  private final class KernelCounts: Sendable {
    private let counts = Mutex<[String: Int]>([:])

    var backend: WrappedBackend {
      WrappedBackend("counting", threads: 2) { op, kernel in
        let name = type(of: op).name
        return { [self] addresses in
          let start = malloc_count()
          kernel.body(addresses)
          let count = malloc_count() - start
          if count > 0 { counts.withLock { $0[name, default: 0] += count } }
        }
      }
    }

    /// By op, of a step that is not one of the first; every further one takes the same.
    func ofOneStep(_ step: (_ index: Int) throws -> Void) rethrows -> [String: Int] {
      for index in 0..<2 { try step(index) }
      _ = take()
      try step(2)
      let first = take()
      try step(3)
      #expect(take() == first)
      return first
    }

    private func take() -> [String: Int] {
      counts.withLock { counts in
        defer { counts = [:] }
        return counts
      }
    }
  }

  @Test(
    .enabled(
      if: WorkloadCosts.machine == WorkloadCosts.storedMachine,
      "the stored numbers are those of \(WorkloadCosts.storedMachine); here is \(WorkloadCosts.machine)"),
    arguments: [DType.float32, .bfloat16])
  func areThoseStored(_ precision: DType) throws {
    var columns = SmallTraining.Architecture.allCases.map { ($0.rawValue, trainingStep($0, precision)) }
    columns.append(("decoding step", try decodingStep(precision)))
    let ops = Set(columns.flatMap { $0.1.keys }).sorted()
    let total = Snapshot.line("all kernels", columns.map { "\($0.1.values.reduce(0, +))" })
    let lines = ops.map { op in Snapshot.line(op, columns.map { "\($0.1[op] ?? 0)" }) }
    let heading =
      "mallocs inside the kernels of one step of small models in \(precision), "
      + WorkloadCosts.storedMachine
    let text = [heading, "", Snapshot.line("", columns.map(\.0)), total, ""] + lines
    try Snapshot("costs/kernel-mallocs.\(precision).txt").expect(
      text.joined(separator: "\n") + "\n", update: Self.update)
  }

  private func trainingStep(_ architecture: SmallTraining.Architecture, _ precision: DType) -> [String: Int] {
    let counts = KernelCounts()
    return Backends.with(counts.backend) {
      let training = SmallTraining(architecture, precision: precision)
      return counts.ofOneStep { index in
        let (tensors, slots) = training.step(index)
        evaluate(tensors, slots: slots)
      }
    }
  }

  private func decodingStep(_ precision: DType) throws -> [String: Int] {
    let counts = KernelCounts()
    return try Backends.with(counts.backend) {
      try Autocast.with(precision == .bfloat16 ? precision : nil) {
        var config = GPT2Config()
        (config.vocab_size, config.n_positions, config.n_embd) = (96, 64, 64)
        (config.n_layer, config.n_head) = (3, 4)
        let model = Initialization.with(seed: 1) { GPT2LMHeadModel(config) }
        evaluate([], slots: model.contents.slots)
        var decoder = try TokenDecoder(model, prompts: [[1, 2, 3, 4]], policy: .greedy, seed: 0)
        return try counts.ofOneStep { _ in try decoder.append(decoder.choose()) }
      }
    }
  }

  @Test func callsAreCounted() {
    let start = malloc_count()
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 1 << 20, alignment: 64)
    memory.deallocate()
    #expect(malloc_count() > start)
  }
}
