import KalsaeCPUBackend
import KalsaeReferenceBackend
import KalsaeRuntime

extension BackendHandle {
  /// oneDNN and C kernels on `threads` processors, all when nil. Results repeat bit for bit at a fixed number.
  public static func cpu(threads: Int? = nil) -> BackendHandle { BackendHandle(CPUBackend(threads: threads)) }

  /// Plain Swift loops in Double: slow, the oracle of the tests.
  public static var reference: BackendHandle { BackendHandle(ReferenceBackend()) }
}
