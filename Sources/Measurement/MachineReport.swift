import Foundation
import KalsaeCPUBackend
import KalsaeCheckpoints
import KalsaeData
import KalsaeTensors

/// What this machine offers to `kalsae`, and what is missing.
public struct MachineReport: Sendable {
  public let threads: Int
  public let gigaflopsFloat32: Double, gigaflopsBFloat16: Double
  /// Gigabytes per second between memory and processor.
  public let bandwidth: Double
  public let missing: [(what: String, remedy: String)]

  public static var oneDNNVersion: String { Machine.oneDNNVersion }
  public static var hasFastBFloat16: Bool { Machine.hasFastBFloat16 }
  public static var defaultThreads: Int { Machine.defaultThreads }

  /// Measures for a few seconds.
  public static func measured() -> MachineReport {
    let threads = defaultThreads
    var missing: [(what: String, remedy: String)] = []
    if !FileManager.default.fileExists(atPath: FashionMNIST.defaultFolder) {
      missing.append(("Fashion-MNIST (60,000 pictures to train on)", "apt-get install dataset-fashion-mnist"))
    }
    let wide = Peaks.measured(precision: .float32, threads: threads)
    let narrow = Peaks.measured(precision: .bfloat16, threads: threads)
    return MachineReport(
      threads: threads, gigaflopsFloat32: wide.gigaflops, gigaflopsBFloat16: narrow.gigaflops,
      bandwidth: max(wide.bandwidth, narrow.bandwidth), missing: missing)
  }

  public var lines: [(name: String, value: String)] {
    [
      ("processors", "\(threads)"),
      ("instruction set", Machine.instructionSet + (Machine.hasFastBFloat16 ? "" : " (no fast bfloat16)")),
      ("oneDNN", Machine.oneDNNVersion),
      ("float32", String(format: "%.0f GFLOPS", gigaflopsFloat32)),
      ("bfloat16", String(format: "%.0f GFLOPS", gigaflopsBFloat16)),
      ("memory", String(format: "%.1f GB/s", bandwidth)),
    ]
  }

  public func json(version: String) -> JSONObject {
    [
      "version": .string(version), "onednn": .string(Machine.oneDNNVersion), "threads": .integer(threads),
      "instruction_set": .string(Machine.instructionSet), "fast_bfloat16": .bool(Machine.hasFastBFloat16),
      "gflops_float32": .double(gigaflopsFloat32), "gflops_bfloat16": .double(gigaflopsBFloat16),
      "memory_gb_per_s": .double(bandwidth),
      "missing": .array(missing.map { ["what": .string($0.what), "remedy": .string($0.remedy)] }),
    ]
  }
}
