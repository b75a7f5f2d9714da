import KalsaeTensors

/// The floating-point operations of an op by the direct algorithm; an addition and a multiplication are two.
package func floatingPointOperations(_ op: any Op, _ inputs: [Spec], _ outputs: [Spec]) -> Double {
  func convolution(_ y: Spec, _ w: Spec) -> Double {
    // Every element of y takes C / groups x kh x kw products.
    2 * Double(y.shape.count) * Double(w.shape.dimensions[1...].reduce(1, *))
  }
  func attention(_ q: Shape, _ k: Shape, _ v: Shape) -> Double {
    // q (B, T, H, D), k (B, S, K, D), v (B, S, K, E): two products of B H T S rows.
    2 * Double(q.count) * Double(k[1]) * (1 + Double(v[3]) / Double(Swift.max(q[3], 1)))
  }
  switch op {
  case is MatMul, is FusedMatMul: return 2 * Double(outputs[0].shape.count) * Double(inputs[0].shape[-1])
  case is PackedMatMul: return 2 * Double(outputs[0].shape.count) * Double(inputs[0].shape[-1])
  case let op as PackedConvolution: return convolution(outputs[0], Spec(op.kernel, .float32))
  case is Convolution, is FusedConvolution: return convolution(outputs[0], inputs[1])
  case is ConvolutionInputGradient: return convolution(inputs[0], inputs[1])
  case is ConvolutionWeightGradient: return convolution(inputs[1], outputs[0])
  case let op as FusedElementwise: return Double(op.steps.count) * Double(op.shape.count)
  case is ScaledDotProductAttention: return attention(inputs[0].shape, inputs[1].shape, inputs[2].shape)
  // Five products where the forward pass has two: the scores again, and four gradients.
  case is AttentionGradient: return 2.5 * attention(inputs[1].shape, inputs[2].shape, inputs[3].shape)
  case let op as JoinedAttentionGradient: return floatingPointOperations(op.gradient, inputs, outputs)
  case is LinearCrossEntropy: return 2 * Double(inputs[0].shape.count) * Double(inputs[1].shape[0])
  case is LinearCrossEntropyGradient: return 6 * Double(inputs[0].shape.count) * Double(inputs[1].shape[0])
  case is Reshape, is Transpose, is Broadcast, is Slice, is Pad, is Concatenate, is Copy, is Gather,
    is UpdateSlice:
    return 0
  default: return Double(max(inputs.map(\.shape.count).max() ?? 0, outputs.map(\.shape.count).max() ?? 0))
  }
}
