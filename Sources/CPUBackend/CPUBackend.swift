import CKernels
import COneDNN
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

/// Runs plans on the processor: products and convolutions with oneDNN, everything else with the C kernels.
package struct CPUBackend: Backend {
  /// Results repeat bit for bit at a fixed number of threads.
  package let threads: Int

  /// All processors when nil.
  package init(threads: Int? = nil) {
    self.threads = max(threads ?? Int(kk_threads()), 1)
  }

  package var name: String { "cpu/\(threads)" }
  package var passes: OptionalPasses { .all }

  package func prepare() {
    kk_enter_evaluation_thread()
    kk_set_threads(Int32(threads))
    conednn_set_threads(Int32(threads))
  }

  package func makeArena(byteCount: Int) -> UnsafeMutableRawPointer {
    guard let arena = kk_arena_allocate(byteCount) else {
      fatalError("out of memory: \(byteCount >> 20) MiB for intermediate values; try a smaller batch")
    }
    return arena
  }

  package func freeArena(_ arena: UnsafeMutableRawPointer, byteCount: Int) { kk_arena_free(arena, byteCount) }

  package func claims(_ op: any CompositeOp, _ inputs: [Spec]) -> Bool {
    if op is Activation || op is ActivationGradient || op is RandomDropout { return true }
    return (op as? any CPUComposite)?.isClaimed(inputs) ?? false
  }

  package func reads(_ layout: Layout, input index: Int, of op: any Op, _ inputs: [Spec]) -> Bool {
    switch op {
    case is RandomDropout: index == 0 && layout.shape.rank <= Int(KK_MAX_DIMS)
    case let op as FusedElementwise where op.keys.contains(index): false
    case is any ElementwiseOp: layout.shape.rank <= Int(KK_MAX_DIMS)
    case is Copy, is Concatenate: layout.shape.rank <= Int(KK_MAX_DIMS)
    case is Reduce: layout.shape.rank <= Int(KK_MAX_DIMS)
    case is UpdateSlice: index == 1 && layout.shape.rank <= Int(KK_MAX_DIMS)
    case is ScaledDotProductAttention, is AttentionGradient, is JoinedAttentionGradient:
      attentionReads(layout, input: index, of: op)
    case let op as PackedMatMul: index == 0 && op.reads(layout, inputs[0].dtype)
    case is MatMul, is FusedMatMul: index < 2 && layout.isMatrixView && inputs[index].dtype != .float16
    default: false
    }
  }

  package func packing(of product: FusedMatMul, _ inputs: [Spec], weights: Layout) -> Packing? {
    prepare()
    return packingOfWeights(product, inputs, weights)
  }

  package func packing(of convolution: FusedConvolution, _ inputs: [Spec]) -> Packing? {
    prepare()
    return packingOfKernel(convolution, inputs)
  }

  package func inPlace(_ op: any Op, _ inputs: [Spec]) -> [(output: Int, input: Int)] {
    switch op {
    case let op as FusedElementwise:
      let result = Spec(op.shape, op.steps.last!.dtype)
      return inputs.indices.filter { inputs[$0] == result }.map { (0, $0) }
    case let op as FusedConvolution where op.hasResidual: return [(0, inputs.count - 1)]
    case let op as PackedConvolution where op.convolution.hasResidual: return [(0, inputs.count - 1)]
    case let op as FusedMatMul where op.hasResidual: return [(0, inputs.count - 1)]
    case let op as PackedMatMul where op.product.hasResidual: return [(0, inputs.count - 1)]
    case is GroupNormalization: return [(0, 0)]
    // The gradient may be written over dy or the residual, not over x.
    case let op as GroupNormGradient: return [(0, 0)] + (op.hasResidual ? [(0, inputs.count - 1)] : [])
    case let op as ScatterAdd: return op.hasBase ? [(0, 2)] : []
    case let op as LayerNormalization where op.storesSum:
      let sum = op.isAlsoRounded ? 4 : 3
      return [(sum, 3)] + (inputs[0] == inputs[3] ? [(sum, 0)] : [])
    case let op as LayerNormGradient: return [(0, 0)] + (op.hasResidual ? [(0, 5)] : [])
    case let op as any InPlaceOp: return op.aliases(inputCount: inputs.count)
    default: return []
    }
  }

  package func lower(_ op: any Op, _ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    prepare()
    if outputs.allSatisfy({ $0.shape.count == 0 }) { return Kernel("nothing") { _ in } }
    if let single = FusedElementwise(single: op, inputs: inputs.map(\.spec), output: outputs[0].spec) {
      return single.lowered(inputs, outputs)
    }
    guard let lowerable = op as? any CPUOp else {
      fatalError("CPUBackend: no kernel for \(type(of: op).name)")
    }
    return lowerable.lowered(inputs, outputs)
  }
}

/// An op with a kernel here.
protocol CPUOp: Op {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel
}

/// A composite op with a fused kernel here.
protocol CPUComposite: CPUOp, CompositeOp {
  func isClaimed(_ inputs: [Spec]) -> Bool
}

extension CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { inputs.allSatisfy { $0.dtype != .float16 } }
}

extension Layout {
  /// Whether the last two axes are a matrix that a product can read in place.
  var isMatrixView: Bool {
    let rank = shape.rank
    guard rank >= 2 else { return false }
    return strides[rank - 1] == 1 || strides[rank - 2] == 1
  }
}

extension DType {
  /// The type as the C kernels name it.
  var kernelType: kk_dtype {
    switch self {
    case .float32: KK_F32
    case .bfloat16: KK_BF16
    case .float16: KK_F16
    case .int32: KK_I32
    case .int64: KK_I64
    case .uint8: KK_U8
    case .bool: KK_BOOL
    }
  }
}

extension Array where Element == Int {
  var int64: [Int64] { map(Int64.init) }
}
