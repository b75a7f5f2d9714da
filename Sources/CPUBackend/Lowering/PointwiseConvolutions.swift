import CKernels
import COneDNN
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

// A 1 x 1 convolution is a product of all pixels with one matrix; oneDNN's convolutions reach 250 to 370 GFLOPS there in
// float32 on two cores, the product 440.

extension FusedConvolution {
  /// y (pixels, o) = x (pixels, c) w^T (c, o); nil for other convolutions, and where there is no kernel for the product.
  func pointwise(_ inputs: [Operand], _ y: Operand) -> Kernel? {
    let x = inputs[0], w = inputs[1], count = inputs.count, channels = x.shape[3]
    guard geometry.isPointwise(w.shape), w.dtype == x.dtype || w.dtype == .float32,
      var gemm = kk_gemm(
        rows: y.shape.count / w.shape[0], columns: w.shape[0], depth: channels, a: (channels, 1),
        b: (1, channels),
        x.dtype, y.dtype, epilogue: self)
    else { return nil }
    gemm.b_type = w.dtype.kernelType
    let bias: Int? = hasBias ? 2 : nil, residual: Int? = hasResidual ? count - 1 : nil
    let bytes = y.spec.byteCount
    return Kernel("gemm", scratchBytes: Int(kk_gemm_scratch(&gemm))) { [gemm] p in
      var gemm = gemm
      if let residual, p[residual] != p[count] { p[count].copyMemory(from: p[residual], byteCount: bytes) }
      kk_gemm_run(
        &gemm, p[0], p[1], bias.map { UnsafePointer(p[$0].assumingMemoryBound(to: Float.self)) }, p[count],
        p[count + 1])
    }
  }
}

extension ConvolutionInputGradient {
  /// dx (pixels, c) = dy (pixels, o) w (o, c)
  func pointwise(_ dy: Operand, _ w: Operand, _ dx: Operand) -> Kernel? {
    let (outputs, channels) = (w.shape[0], w.shape[1])
    guard geometry.isPointwise(w.shape), w.dtype == dy.dtype || w.dtype == .float32,
      var gemm = kk_gemm(
        rows: dy.shape.count / outputs, columns: channels, depth: outputs, a: (outputs, 1), b: (channels, 1),
        dy.dtype, dx.dtype)
    else { return nil }
    gemm.b_type = w.dtype.kernelType
    return Kernel("gemm", scratchBytes: Int(kk_gemm_scratch(&gemm))) { [gemm] p in
      var gemm = gemm
      kk_gemm_run(&gemm, p[0], p[1], nil, p[2], p[3])
    }
  }
}

extension ConvolutionWeightGradient {
  /// dw (o, c) = dy^T (o, pixels) x (pixels, c)
  func pointwise(_ x: Operand, _ dy: Operand, _ dw: Operand) -> Kernel? {
    let (outputs, channels) = (dw.shape[0], dw.shape[1])
    guard geometry.isPointwise(dw.shape), x.dtype == dy.dtype,
      var gemm = kk_gemm(
        rows: outputs, columns: channels, depth: dy.shape.count / outputs, a: (1, outputs), b: (channels, 1),
        x.dtype, dw.dtype)
    else { return nil }
    return Kernel("gemm", scratchBytes: Int(kk_gemm_scratch(&gemm))) { [gemm] p in
      var gemm = gemm
      kk_gemm_run(&gemm, p[1], p[0], nil, p[2], p[3])
    }
  }
}

extension ConvolutionGeometry {
  /// Whether every pixel is computed from the one at its place, with a kernel of this shape.
  fileprivate func isPointwise(_ kernel: Shape) -> Bool {
    kernel[2] == 1 && kernel[3] == 1 && stride.allSatisfy { $0 == 1 } && groups == 1
      && [top, bottom, left, right].allSatisfy { $0 == 0 }
  }
}

extension kk_gemm {
  /// A product of dense operands with these strides along rows and columns; nil where `init(_:)` is.
  fileprivate init?(
    rows: Int, columns: Int, depth: Int, a: (Int, Int), b: (Int, Int), _ type: DType, _ output: DType,
    epilogue: FusedConvolution? = nil
  ) {
    guard let type = type.oneDNN, let output = output.oneDNN else { return nil }
    var d = conednn_matmul_desc()
    (d.m, d.n, d.k) = (Int64(rows), Int64(columns), Int64(depth))
    (d.a_row, d.a_column, d.b_row, d.b_column) = (Int64(a.0), Int64(a.1), Int64(b.0), Int64(b.1))
    (d.c_row, d.type, d.output) = (d.n, type, output)
    if let epilogue {
      (d.bias, d.accumulate) = (epilogue.hasBias, epilogue.hasResidual)
      d.activation = epilogue.activation.oneDNN
    }
    self.init(d)
  }
}
