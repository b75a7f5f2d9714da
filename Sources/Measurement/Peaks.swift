import KalsaeCPUBackend
import KalsaeRuntime
import KalsaeTensors

/// The speeds that nothing on this machine exceeds, measured.
public struct Peaks: Sendable {
  /// Of a large matrix product.
  public let gigaflops: Double

  /// The best of a few large products in this precision, about half a second.
  public static func measured(precision: DType, threads: Int) -> Peaks {
    Backends.with(CPUBackend(threads: threads)) {
      let n = 2048
      let a = Slot(Tensor.normal([n, n], key: RandomKey(seed: 1)).cast(to: precision))
      evaluate([], slots: [a])
      var best = Double.infinity
      for _ in 0..<8 {
        let y = Tensor(MatMul(), a.value, a.value)
        let start = ContinuousClock.now
        evaluate(y)
        best = min(best, (ContinuousClock.now - start) / .seconds(1))
      }
      return Peaks(gigaflops: 2 * Double(n * n * n) / best / 1e9)
    }
  }
}

/// Gigabytes per second that all threads together move between memory and processor.
public func measuredBandwidth(threads: Int) -> Double {
  Backends.with(CPUBackend(threads: threads)) {
    // Three arrays of 128 MB: far beyond any cache.
    let n = 32 << 20
    let a = Slot(.ones([n])), b = Slot(.ones([n]))
    evaluate([], slots: [a, b])
    var best = Double.infinity
    for _ in 0..<5 {
      let y = a.value + b.value * 2
      let start = ContinuousClock.now
      evaluate(y)
      best = min(best, (ContinuousClock.now - start) / .seconds(1))
    }
    return Double(3 * 4 * n) / best / 1e9
  }
}
