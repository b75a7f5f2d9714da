import CBackendHook
import KalsaeCompiler
import KalsaeTensors

/// A way to execute plans: lowers each instruction to a kernel once, and says what it can do to the compiler.
package protocol Backend: Target {
  /// The name shown in printed plans.
  var name: String { get }

  /// The kernel for one instruction; its operands lie as the compiler arranged them.
  func lower(_ op: any Op, _ inputs: [Operand], _ outputs: [Operand]) -> Kernel

  /// Called on the evaluation thread before the kernels of a plan run.
  func prepare()

  /// Memory for intermediate values, at least `byteCount` bytes.
  func makeArena(byteCount: Int) -> UnsafeMutableRawPointer
  func freeArena(_ arena: UnsafeMutableRawPointer, byteCount: Int)
}

/// One step of a plan.
package struct Kernel: Sendable {
  /// Addresses of the inputs' first elements, then the outputs', then the scratch memory.
  package typealias Body = @Sendable (UnsafePointer<UnsafeMutableRawPointer>) -> Void

  /// What runs, for people: "oneDNN jit:avx512_core direct".
  package let implementation: String
  package let scratchBytes: Int
  package let body: Body

  package init(_ implementation: String, scratchBytes: Int = 0, _ body: @escaping Body) {
    self.implementation = implementation
    self.scratchBytes = scratchBytes
    self.body = body
  }
}

/// Which backend evaluates a task's tensors.
public struct BackendHandle: Sendable {
  package let backend: any Backend
  package init(_ backend: any Backend) { self.backend = backend }
  public var name: String { backend.name }
}

public enum Backends {
  @TaskLocal package static var chosen: BackendHandle?

  /// Evaluates what `body` evaluates with another backend than the process's default.
  public static func with<R>(_ backend: BackendHandle, _ body: () throws -> R) rethrows -> R {
    try $chosen.withValue(backend, operation: body)
  }

  package static func with<R>(_ backend: any Backend, _ body: () throws -> R) rethrows -> R {
    try with(BackendHandle(backend), body)
  }

  /// The task's backend, or the process's default, to carry to another task.
  public static var currentHandle: BackendHandle { chosen ?? BackendHandle(current) }

  /// The task's backend, or the process's default.
  package static var current: any Backend {
    if let chosen { return chosen.backend }
    guard let standard else {
      fatalError("no backend is linked: import Kalsae, or choose one with Backends.with(...)")
    }
    return standard.backend
  }

  /// The backend that the linked umbrella module offers.
  private static let standard: BackendHandle? = kalsae_find_default_backend().map {
    Unmanaged<DefaultBackendBox>.fromOpaque($0).takeRetainedValue().handle
  }
}

/// What `kalsae_default_backend` returns.
public final class DefaultBackendBox: Sendable {
  let handle: BackendHandle
  public init(_ handle: BackendHandle) { self.handle = handle }
}
