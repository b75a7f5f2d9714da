import KalsaeCPUBackend
import KalsaeRuntime
import KalsaeTensors

/// The speeds that nothing on this machine exceeds, measured in about a second.
public struct Peaks: Sendable {
  /// The best of matrix products of some sizes, and in float32 of multiply-adds in registers.
  public let gigaflops: Double
  /// Gigabytes per second between memory and processor.
  public let bandwidth: Double

  /// Measures with products in this precision.
  public static func measured(precision: DType, threads: Int) -> Peaks {
    var gigaflops = [512, 1024, 2048].map { product($0, precision, threads) }.max()!
    if precision == .float32 {
      gigaflops = max(gigaflops, Machine.multiplyAddRate(threads: threads, seconds: 0.2))
    }
    return Peaks(
      gigaflops: gigaflops, bandwidth: Machine.memoryBandwidth(threads: threads, seconds: 0.2))
  }

  /// GFLOPS of n x n matrices, the best of about a quarter of a second.
  private static func product(_ n: Int, _ precision: DType, _ threads: Int) -> Double {
    Backends.with(CPUBackend(threads: threads)) {
      let a = Slot(Tensor.normal([n, n], key: RandomKey(seed: 1)).cast(to: precision))
      evaluate([], slots: [a])
      let flops = 2 * Double(n * n * n)
      var best = Double.infinity
      for _ in 0..<max(4, Int(1e11 / flops)) {
        let y = Tensor(MatMul(), a.value, a.value)
        let start = ContinuousClock.now
        evaluate(y)
        best = min(best, (ContinuousClock.now - start) / .seconds(1))
      }
      return flops / best / 1e9
    }
  }

  /// The seconds that so much work takes at least.
  public func floor(flops: Double, bytes: Double) -> Double {
    max(flops / (gigaflops * 1e9), bytes / (bandwidth * 1e9))
  }
}
