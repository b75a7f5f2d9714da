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

/// What kernels ask for while they run, counted on the thread that runs plans.
///
/// Steps that compute something, unlike those of `WorkloadCostTests`, which count what is around the kernels.
@Suite(.serialized, .enabled(if: malloc_count() >= 0, "calls of malloc are counted with glibc only"))
struct AllocationTests {
  private final class KernelCounts: Sendable {
    private let counts = Mutex<[String: Int]>([:])

    var backend: WrappedBackend {
      WrappedBackend("counting", threads: 2) { op, kernel in
        let name = "\(type(of: op).name) [\(kernel.implementation)]"
        return { [self] addresses in
          let start = malloc_count()
          kernel.body(addresses)
          let count = malloc_count() - start
          if count > 0 { counts.withLock { $0[name, default: 0] += count } }
        }
      }
    }

    /// What kernels have asked for since this was last read.
    func take() -> [String: Int] {
      counts.withLock { counts in
        defer { counts = [:] }
        return counts
      }
    }
  }

  @Test(arguments: SmallTraining.Architecture.allCases, [DType.float32, .bfloat16])
  func kernelsOfATrainingStepAskForNothing(_ architecture: SmallTraining.Architecture, _ precision: DType) {
    let counts = KernelCounts(), backend = counts.backend
    Backends.with(backend) {
      let training = SmallTraining(architecture, precision: precision)
      for index in 0..<4 {
        if index == 2 { _ = counts.take() }
        let (tensors, slots) = training.step(index)
        evaluate(tensors, slots: slots)
      }
      let taken = counts.take()
      #expect(taken.isEmpty, "\(architecture): \(taken) in two steps")
    }
  }

  @Test(arguments: [DType.float32, .bfloat16])
  func kernelsOfADecodingStepAskForNothing(_ precision: DType) throws {
    let counts = KernelCounts(), backend = counts.backend
    try Backends.with(backend) {
      try Autocast.with(precision == .bfloat16 ? precision : nil) {
        var config = GPT2Config()
        (config.vocab_size, config.n_positions, config.n_embd) = (96, 64, 64)
        (config.n_layer, config.n_head) = (3, 4)
        let model = Initialization.with(seed: 1) { GPT2LMHeadModel(config) }
        evaluate([], slots: model.contents.slots)
        var decoder = try TokenDecoder(model, prompts: [[1, 2, 3, 4]], policy: .greedy, seed: 0)
        for index in 0..<8 {
          if index == 4 { _ = counts.take() }
          try decoder.append(decoder.choose())
        }
        let taken = counts.take()
        #expect(taken.isEmpty, "\(taken) in four steps")
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
