import CKernels
import COneDNN
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension Convolution: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    FusedConvolution(geometry: geometry, hasBias: false, activation: nil, hasResidual: false)
      .lowered(inputs, outputs)
  }
}

extension FusedConvolution: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let w = inputs[1], count = inputs.count
    guard let handle = handle(inputs[0].spec, w.shape, outputs[0].dtype) else {
      return throughFloat32(self, inputs, outputs)
    }
    let source = w.dtype.oneDNN!
    let run = run(handle, inputs, outputs)
    return Kernel("oneDNN \(handle.implementation)", scratchBytes: handle.workBytes) { p in
      let packed = p[count + 1]
      checked { conednn_conv_pack(handle.handle, p[1], source, packed, $0, $1) }
      run(p, packed, packed + handle.packedBytes)
    }
  }

  fileprivate func handle(_ x: Spec, _ kernel: Shape, _ output: DType) -> ConvolutionHandle? {
    var d = conednn_conv_desc(CONEDNN_CONV_FORWARD, geometry, map: x.shape, kernel: kernel)
    if hasBias { d.bias = CONEDNN_BIAS_F32 }
    d.accumulate = hasResidual
    d.activation = activation.oneDNN
    return ConvolutionHandle(&d, x.dtype, output)
  }

  /// What runs on the operands, the packed kernel and scratch memory.
  fileprivate func run(
    _ handle: ConvolutionHandle, _ inputs: [Operand], _ outputs: [Operand]
  ) -> @Sendable (UnsafePointer<UnsafeMutableRawPointer>, UnsafeRawPointer, UnsafeMutableRawPointer) -> Void {
    let count = inputs.count, bytes = outputs[0].spec.byteCount
    let bias: Int? = hasBias ? 2 : nil, residual: Int? = hasResidual ? count - 1 : nil
    return { p, packed, scratch in
      if let residual, p[residual] != p[count] { p[count].copyMemory(from: p[residual], byteCount: bytes) }
      checked {
        conednn_conv_forward(
          handle.handle, p[0], packed, bias.map { UnsafeRawPointer(p[$0]) }, p[count], scratch, $0, $1)
      }
    }
  }
}

extension PackedConvolution: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    guard let handle = convolution.handle(inputs[0].spec, kernel, outputs[0].dtype), handle.packing == packing
    else { fatalError("CPUBackend: no kernel for \(self) on \(inputs.map(\.spec))") }
    let run = convolution.run(handle, inputs, outputs), count = inputs.count
    return Kernel(
      "oneDNN \(handle.implementation)", scratchBytes: handle.workBytes - handle.packedBytes
    ) { p in run(p, p[1], p[count + 1]) }
  }
}

extension PackedKernel: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    guard let handle = convolution.handle(map, kernel.shape, map.dtype), handle.packing == packing,
      let source = inputs[0].dtype.oneDNN
    else { fatalError("CPUBackend: nothing packs \(inputs[0].spec) as \(packing)") }
    return Kernel("oneDNN reorder") { p in
      checked { conednn_conv_pack(handle.handle, p[0], source, p[1], $0, $1) }
    }
  }
}

/// The arrangement for a convolution whose kernel is kept: to rearrange all of them in every call takes 8 to 12 % of a call
/// of the DDPM paper's network in bfloat16, and a quarter of (16, 4, 4, 256) with (256, 256, 3, 3).
func packingOfKernel(_ convolution: FusedConvolution, _ inputs: [Spec]) -> Packing? {
  guard inputs[0].shape.count > 0, inputs[1].shape.count > 0 else { return nil }
  return convolution.handle(inputs[0], inputs[1].shape, inputs[0].dtype)?.packing
}

extension ConvolutionInputGradient: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let dy = inputs[0], w = inputs[1], dx = outputs[0]
    if dy.shape.count == 0 || w.shape.count == 0 {
      return Kernel("zeros") { p in fillZeros(p[2], dx.spec.byteCount) }
    }
    var d = conednn_conv_desc(CONEDNN_CONV_BACKWARD_DATA, geometry, map: dx.shape, kernel: w.shape)
    guard let handle = ConvolutionHandle(&d, dy.dtype, dx.dtype) else {
      return throughFloat32(self, inputs, outputs)
    }
    let source = w.dtype.oneDNN!
    return Kernel("oneDNN \(handle.implementation)", scratchBytes: handle.workBytes) { p in
      let packed = p[3], scratch = packed + handle.packedBytes
      checked { conednn_conv_pack(handle.handle, p[1], source, packed, $0, $1) }
      checked { conednn_conv_backward_data(handle.handle, p[0], packed, p[2], scratch, $0, $1) }
    }
  }
}

extension ConvolutionWeightGradient: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], dy = inputs[1], dw = outputs[0]
    if x.shape.count == 0 || dy.shape.count == 0 {
      return Kernel("zeros") { p in fillZeros(p[2], dw.spec.byteCount) }
    }
    if let pairs = pairs(x, dy, dw) {
      return Kernel("pairs of images", scratchBytes: Int(kk_convolution_scratch([pairs]))) { p in
        kk_convolution_weight_gradient([pairs], p[0], p[1], p[2].assumingMemoryBound(to: Float.self), p[3])
      }
    }
    if let product = product(x, dy, dw) { return product }
    var d = conednn_conv_desc(CONEDNN_CONV_BACKWARD_WEIGHTS, geometry, map: x.shape, kernel: dw.shape)
    // The packed gradient is float32 in any case: what is rounded is only the result.
    guard let handle = ConvolutionHandle(&d, x.dtype, .float32) else {
      return throughFloat32(self, inputs, outputs)
    }
    let target = dw.dtype.oneDNN!
    return Kernel("oneDNN \(handle.implementation)", scratchBytes: handle.workBytes) { p in
      let packed = p[3], scratch = packed + handle.packedBytes
      checked { conednn_conv_backward_weights(handle.handle, p[0], p[1], packed, nil, scratch, $0, $1) }
      checked { conednn_conv_unpack(handle.handle, packed, target, p[2], $0, $1) }
    }
  }
}

extension ConvolutionWeightGradient {
  /// A kernel of one tap that sees every place once: dw = dy^T x over all places. oneDNN's convolutions in float32 take up
  /// to 2.5 times as long for it: (32, 28, 28, 96) to 32 channels 1.4 against 0.55 ms.
  fileprivate func product(_ x: Operand, _ dy: Operand, _ dw: Operand) -> Kernel? {
    guard x.dtype == .float32, dw.shape[2] * dw.shape[3] == 1, geometry.groups == 1,
      geometry.stride == [1, 1], x.shape.dimensions.dropLast() == dy.shape.dimensions.dropLast()
    else { return nil }
    let (c, k) = (x.shape[3], dy.shape[3]), places = x.shape.count / c
    let turned = Layout([k, places], strides: [1, k])
    let product = FusedMatMul(result: dw.dtype, hasBias: false, activation: nil, hasResidual: false).lowered(
      [Operand(Spec([k, places], dy.dtype), turned), Operand(Spec([places, c], x.dtype))],
      [Operand(Spec([k, c], dw.dtype))])
    return Kernel(product.implementation, scratchBytes: product.scratchBytes) { p in
      // Its left operand is dy; scratch is there only if it is wanted.
      let count = product.scratchBytes > 0 ? 4 : 3
      withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer.self, capacity: count) { q in
        for (place, index) in [1, 0, 2, 3].prefix(count).enumerated() {
          q.initializeElement(at: place, to: p[index])
        }
        product.body(UnsafePointer(q.baseAddress!))
      }
    }
  }

  /// The kernel that multiplies pairs of images takes 0.4 to 0.95 of the time that oneDNN's has in plans in bfloat16, the
  /// least where maps are small. It writes pairs first, which pays when more than one tap reads them, and wants some
  /// channels on both sides.
  fileprivate func pairs(_ x: Operand, _ dy: Operand, _ dw: Operand) -> kk_convolution? {
    guard kk_has_pair_products(), geometry.groups == 1,
      [x.dtype, dy.dtype, dw.dtype] == [.bfloat16, .bfloat16, .float32],
      x.shape[0] > 1, min(dw.shape[0], dw.shape[1]) >= 16, dw.shape[2] * dw.shape[3] > 1
    else { return nil }
    var c = kk_convolution()
    (c.n, c.h, c.w, c.c) = (Int64(x.shape[0]), Int64(x.shape[1]), Int64(x.shape[2]), Int64(x.shape[3]))
    (c.out_h, c.out_w, c.k) = (Int64(dy.shape[1]), Int64(dy.shape[2]), Int64(dy.shape[3]))
    (c.kh, c.kw) = (Int64(dw.shape[2]), Int64(dw.shape[3]))
    (c.stride_h, c.stride_w) = (Int64(geometry.stride[0]), Int64(geometry.stride[1]))
    (c.dilation_h, c.dilation_w) = (Int64(geometry.dilation[0]), Int64(geometry.dilation[1]))
    (c.pad_top, c.pad_left) = (Int64(geometry.top), Int64(geometry.left))
    return c
  }
}

extension conednn_conv_desc {
  /// The geometry between the larger map (N, H, W, C) and a kernel (O, C / groups, kh, kw).
  init(_ kind: conednn_conv_kind, _ geometry: ConvolutionGeometry, map: Shape, kernel: Shape) {
    self.init()
    self.kind = kind
    algorithm = CONEDNN_AUTO
    (n, h, w, c) = (Int64(map[0]), Int64(map[1]), Int64(map[2]), Int64(map[3]))
    (k, kh, kw) = (Int64(kernel[0]), Int64(kernel[2]), Int64(kernel[3]))
    (stride_h, stride_w) = (Int64(geometry.stride[0]), Int64(geometry.stride[1]))
    (dilation_h, dilation_w) = (Int64(geometry.dilation[0]), Int64(geometry.dilation[1]))
    (pad_top, pad_bottom) = (Int64(geometry.top), Int64(geometry.bottom))
    (pad_left, pad_right) = (Int64(geometry.left), Int64(geometry.right))
    groups = Int64(geometry.groups)
  }
}

private final class ConvolutionHandle: @unchecked Sendable {
  let handle: OpaquePointer
  let implementation: String
  /// Packed weights, and oneDNN's scratch behind them.
  let packedBytes: Int, workBytes: Int
  let packing: Packing

  /// Nil when oneDNN does not compute in these types here; shapes without a fast kernel take its reference code.
  init?(_ desc: inout conednn_conv_desc, _ type: DType, _ output: DType) {
    guard let type = type.oneDNN, let output = output.oneDNN else { return nil }
    (desc.type, desc.output) = (type, output)
    var made = conednn_conv_create(&desc, nil, 0)
    if made == nil, type == CONEDNN_F32 {
      desc.allow_reference = true
      made = conednn_conv_create(&desc, nil, 0)
    }
    guard let made else { return nil }
    handle = made
    let info = conednn_conv_get_info(made)
    implementation = String(cString: info.implementation)
    packedBytes = (Int(info.packed_bytes) + 63) / 64 * 64
    packing = Packing(layout: info.packed_layout, byteCount: Int(info.packed_bytes))
    workBytes = packedBytes + Int(info.scratch_bytes) + 64
  }

  deinit { conednn_conv_destroy(handle) }
}
