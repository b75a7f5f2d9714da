import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension ScaledDotProductAttention: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool {
    isKernelAttention(inputs[..<3], inputs.dropFirst(leadingCount))
  }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let kernel = AttentionKernel(
      inputs[..<3], mask: inputs.dropFirst(leadingCount).first, scale, isCausal, dropout)
    let count = inputs.count, leadingCount = leadingCount
    let scratchBytes = kernel.measured { Int(kk_attention_forward_scratch($0)) }
    return Kernel("attention", scratchBytes: scratchBytes) { p in
      kernel.with(mask: count > leadingCount ? p[leadingCount] : nil, key: p[3]) {
        kk_attention_forward(
          $0, p[0], p[1], p[2], p[count], p[count + 1].assumingMemoryBound(to: Float.self), p[count + 2])
      }
    }
  }
}

extension AttentionGradient: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool {
    isKernelAttention(inputs[1...3], inputs.dropFirst(leadingCount))
  }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    // dq, dk and dv have arrays of their own, where positions are as many numbers apart as they have.
    lowered(inputs, (0..<3).map { (result: $0, offset: 0, row: outputs[$0].shape[2] * outputs[$0].shape[3]) })
  }

  /// Each gradient is written from `offset` on in a result whose positions are `row` numbers apart.
  fileprivate func lowered(_ inputs: [Operand], _ places: [(result: Int, offset: Int, row: Int)]) -> Kernel {
    let kernel = AttentionKernel(
      inputs[1...3], mask: inputs.dropFirst(leadingCount).first, scale, isCausal, dropout)
    let dy = rowStrides(inputs[0]), y = rowStrides(inputs[4])
    let count = inputs.count, leadingCount = leadingCount
    let scratch = count + places.last!.result + 1
    let at = places.map { (count + $0.result, $0.offset * inputs[1].dtype.byteCount) }
    let rows = places.map { Int64($0.row) }
    let scratchBytes = kernel.measured { Int(kk_attention_backward_scratch($0)) }
    return Kernel("attention gradient", scratchBytes: scratchBytes) { p in
      var results = kk_attention_results()
      (results.dy, results.y) = (UnsafeRawPointer(p[0]), UnsafeRawPointer(p[4]))
      (results.dy_strides, results.y_strides) = (dy, y)
      results.log_sum = UnsafePointer(p[5].assumingMemoryBound(to: Float.self))
      var gradients = kk_attention_gradients(
        dq: p[at[0].0] + at[0].1, dk: p[at[1].0] + at[1].1, dv: p[at[2].0] + at[2].1,
        dq_row: rows[0], dk_row: rows[1], dv_row: rows[2])
      kernel.with(mask: count > leadingCount ? p[leadingCount] : nil, key: p[6]) {
        kk_attention_backward($0, &results, p[1], p[2], p[3], &gradients, p[scratch])
      }
    }
  }
}

extension JoinedAttentionGradient: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let widths = inputs[1...3].map { $0.shape[2] * $0.shape[3] }
    let queries = includesQueries ? widths[0] : 0, row = queries + widths[1] + widths[2]
    let last = outputs.count - 1
    return gradient.lowered(
      inputs,
      [
        (0, 0, includesQueries ? row : widths[0]), (last, queries, row), (last, queries + widths[1], row),
      ])
  }
}

extension CPUBackend {
  /// Whether an attention kernel reads operand number `index` through `layout`.
  func attentionReads(_ layout: Layout, input index: Int, of op: any Op) -> Bool {
    let (rows, mask) =
      switch op {
      case let op as ScaledDotProductAttention: (0..<3, op.leadingCount)
      case let op as AttentionGradient: (0..<5, op.leadingCount)
      case let op as JoinedAttentionGradient: (0..<5, op.gradient.leadingCount)
      default: (0..<0, -1)
      }
    if rows.contains(index) { return layout.shape[3] == 1 || layout.strides[3] == 1 }
    return index == mask
  }
}

/// (B, T, H, D) float32 or bfloat16 with something in it, and a mask that the kernels read.
private func isKernelAttention(_ operands: ArraySlice<Spec>, _ mask: ArraySlice<Spec>) -> Bool {
  operands.allSatisfy { ($0.dtype == .float32 || $0.dtype == .bfloat16) && $0.shape.count > 0 }
    && mask.allSatisfy { $0.dtype != .float16 }
}

/// The strides of batch, position and head.
private func rowStrides(_ x: Operand) -> (Int64, Int64, Int64) {
  let strides = x.layout.strides.int64
  return (strides[0], strides[1], strides[2])
}

/// Attention as the kernels want it.
private struct AttentionKernel: @unchecked Sendable {
  /// Without the addresses and the random key; never changed.
  private let attention: kk_attention
  private let hasMask: Bool

  init(
    _ operands: ArraySlice<Operand>, mask: Operand?, _ scale: Double, _ isCausal: Bool,
    _ dropout: AttentionDropout?
  ) {
    let (q, k, v) = (operands.first!, operands.dropFirst().first!, operands.last!)
    var a = kk_attention()
    (a.batch, a.queries, a.heads) = (Int64(q.shape[0]), Int64(q.shape[1]), Int64(q.shape[2]))
    (a.keys, a.key_heads) = (Int64(k.shape[1]), Int64(k.shape[2]))
    (a.width, a.value_width) = (Int64(q.shape[3]), Int64(v.shape[3]))
    (a.type, a.scale, a.causal) = (q.dtype.kernelType, Float(scale), isCausal)
    (a.q_strides, a.k_strides, a.v_strides) = (rowStrides(q), rowStrides(k), rowStrides(v))
    if let mask {
      a.mask_type = mask.dtype.kernelType
      let extra = 4 - mask.shape.rank
      let strides = (0..<4).map { axis in
        axis < extra || mask.shape.dimensions[axis - extra] == 1
          ? 0 : Int64(mask.layout.strides[axis - extra])
      }
      a.mask_strides = (strides[0], strides[1], strides[2], strides[3])
    }
    if let dropout {
      a.drops = true
      a.keep = kk_keep(
        random: kk_random(key: (0, 0), stream: (dropout.stream, 0)),
        bound: kk_keep_bound(1 - dropout.probability), value: Float(dropout.factor))
    }
    attention = a
    hasMask = mask != nil
  }

  /// `body` of attention whose addresses are not read.
  func measured<R>(_ body: (UnsafePointer<kk_attention>) -> R) -> R {
    var attention = attention
    attention.mask = hasMask ? UnsafeRawPointer(bitPattern: 1) : nil
    return body(&attention)
  }

  /// `key` is read if probabilities are dropped.
  func with<R>(
    mask: UnsafeMutableRawPointer?, key: UnsafeMutableRawPointer, _ body: (UnsafePointer<kk_attention>) -> R
  ) -> R {
    var attention = attention
    attention.mask = UnsafeRawPointer(mask)
    if attention.drops {
      let words = key.assumingMemoryBound(to: UInt32.self)
      attention.keep.random.key = (words[0], words[1])
    }
    return body(&attention)
  }
}
