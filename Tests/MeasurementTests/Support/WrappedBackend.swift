import CMallocCount
import KalsaeCPUBackend
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

/// The CPU backend with something around, or instead of, each of its kernels. It plans as the CPU backend does.
struct WrappedBackend: Backend {
  let cpu: CPUBackend
  let name: String
  let wrap: @Sendable (any Op, Kernel) -> Kernel.Body

  init(_ name: String, threads: Int, _ wrap: @escaping @Sendable (any Op, Kernel) -> Kernel.Body) {
    cpu = CPUBackend(threads: threads)
    self.name = name + " " + cpu.name
    self.wrap = wrap
  }

  /// Compiles everything and computes nothing, so that large models cost no time, and no memory but addresses.
  static func planning(threads: Int) -> WrappedBackend {
    WrappedBackend("planning", threads: threads) { _, _ in { _ in } }
  }

  func lower(_ op: any Op, _ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let kernel = cpu.lower(op, inputs, outputs)
    return Kernel(kernel.implementation, scratchBytes: kernel.scratchBytes, wrap(op, kernel))
  }

  func claims(_ op: any CompositeOp, _ inputs: [Spec]) -> Bool { cpu.claims(op, inputs) }
  func reads(_ layout: Layout, input index: Int, of op: any Op, _ inputs: [Spec]) -> Bool {
    cpu.reads(layout, input: index, of: op, inputs)
  }
  func inPlace(_ op: any Op, _ inputs: [Spec]) -> [(output: Int, input: Int)] { cpu.inPlace(op, inputs) }
  func packing(of product: FusedMatMul, _ inputs: [Spec], weights: Layout) -> Packing? {
    cpu.packing(of: product, inputs, weights: weights)
  }
  func packing(of convolution: FusedConvolution, _ inputs: [Spec]) -> Packing? {
    cpu.packing(of: convolution, inputs)
  }
  var passes: OptionalPasses { cpu.passes }
  func prepare() { cpu.prepare() }
  func makeArena(byteCount: Int) -> UnsafeMutableRawPointer { cpu.makeArena(byteCount: byteCount) }
  func freeArena(_ arena: UnsafeMutableRawPointer, byteCount: Int) {
    cpu.freeArena(arena, byteCount: byteCount)
  }
}
