import CKernels
import COneDNN
import KalsaeRuntime
import KalsaeTensors

/// What the CPU backend runs on.
package enum Machine {
  package static var oneDNNVersion: String { String(cString: conednn_version()) }
  /// The instruction set that oneDNN generates code for.
  package static var instructionSet: String { String(cString: conednn_isa()) }
  /// Whether the processor multiplies bfloat16 in hardware.
  package static var hasFastBFloat16: Bool { conednn_bf16_fast() }
  /// Threads that kernels use when nothing else is said.
  package static var defaultThreads: Int { Int(kk_threads()) }
  /// The largest resident size of this process so far.
  package static var peakResidentBytes: Int { Int(kk_peak_rss()) }
  package static var residentBytes: Int { Int(kk_current_rss()) }

  /// GFLOPS of float32 multiply-adds in registers, best of about `seconds`.
  package static func multiplyAddRate(threads: Int, seconds: Double) -> Double {
    probed(threads) { kk_probe_gflops(seconds) }
  }

  /// GB/s between memory and processor in the triad a = b + s c, best of about `seconds`.
  package static func memoryBandwidth(threads: Int, seconds: Double) -> Double {
    probed(threads) { kk_probe_bandwidth(seconds) }
  }

  private static func probed(_ threads: Int, _ probe: () -> Double) -> Double {
    EvaluationThread.shared.run {
      CPUBackend(threads: threads).prepare()
      return probe()
    }
  }
}
