import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension GroupNormalization: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool {
    isKernelAffine(inputs[0], inputs[1], inputs[2]) && (activation == nil || activation == .silu)
      && inputs.dropFirst(3).allSatisfy(isKernelType)
  }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let norm = GroupNormKernel(
      inputs[0], inputs[1], groups: groups, silu: activation == .silu, epsilon: epsilon,
      inputBias: hasInputBias ? inputs[3] : nil)
    let hasInputBias = hasInputBias, first = inputs.count
    return Kernel("group norm") { p in
      norm.with(gamma: p[1], beta: p[2], inputBias: hasInputBias ? p[3] : nil) {
        kk_group_norm_forward(
          $0, p[0], p[first], p[first + 1].assumingMemoryBound(to: Float.self),
          p[first + 2].assumingMemoryBound(to: Float.self))
      }
    }
  }
}

extension GroupNormGradient: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool {
    isKernelAffine(inputs[1], inputs[4], inputs[5]) && inputs[4].dtype == .float32
      && (activation == nil || activation == .silu) && inputs.dropFirst(6).allSatisfy(isKernelType)
  }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let norm = GroupNormKernel(
      inputs[1], inputs[4], groups: groups, silu: activation == .silu, epsilon: 0,
      inputBias: hasInputBias ? inputs[6] : nil)
    let hasInputBias = hasInputBias, hasResidual = hasResidual, first = inputs.count
    return Kernel("group norm gradient") { p in
      var gradients = kk_group_norm_gradients()
      gradients.dgamma = p[first + 1].assumingMemoryBound(to: Float.self)
      gradients.dbeta = p[first + 2].assumingMemoryBound(to: Float.self)
      gradients.dinput = p[first + 3].assumingMemoryBound(to: Float.self)
      norm.with(gamma: p[4], beta: p[5], inputBias: hasInputBias ? p[6] : nil) {
        kk_group_norm_backward(
          $0, p[1], p[2].assumingMemoryBound(to: Float.self), p[3].assumingMemoryBound(to: Float.self), p[0],
          hasResidual ? UnsafeRawPointer(p[first - 1]) : nil, p[first], &gradients)
      }
    }
  }
}

/// x (N, ..., C) as the kernel wants it.
private struct GroupNormKernel: Sendable {
  let samples: Int64, pixels: Int64, channels: Int64, groups: Int64
  let type: kk_dtype, affineType: kk_dtype, inputBiasType: kk_dtype
  let epsilon: Float, silu: Bool

  init(
    _ x: Operand, _ weight: Operand, groups: Int, silu: Bool, epsilon: Double, inputBias: Operand?
  ) {
    samples = Int64(x.shape[0])
    channels = Int64(x.shape[-1])
    pixels = Int64(x.shape.dimensions.dropFirst().dropLast().reduce(1, *))
    self.groups = Int64(groups)
    type = x.dtype.kernelType
    affineType = weight.dtype.kernelType
    inputBiasType = inputBias?.dtype.kernelType ?? KK_F32
    self.epsilon = Float(epsilon)
    self.silu = silu
  }

  func with(
    gamma: UnsafeRawPointer, beta: UnsafeRawPointer, inputBias: UnsafeMutableRawPointer?,
    _ body: (UnsafePointer<kk_group_norm>) -> Void
  ) {
    var norm = kk_group_norm()
    (norm.samples, norm.pixels, norm.channels, norm.groups) = (samples, pixels, channels, groups)
    (norm.type, norm.affine_type, norm.modulation_type) = (type, affineType, inputBiasType)
    (norm.gamma, norm.beta) = (gamma, beta)
    (norm.input_bias, norm.input_bias_stride) = (UnsafeRawPointer(inputBias), channels)
    (norm.epsilon, norm.silu) = (epsilon, silu)
    body(&norm)
  }
}

/// Whether the kernels take x with these parameters.
private func isKernelAffine(_ x: Spec, _ weight: Spec, _ bias: Spec) -> Bool {
  isKernelType(x) && isKernelType(weight) && weight.dtype == bias.dtype && x.shape.count > 0
}

private func isKernelType(_ x: Spec) -> Bool { x.dtype == .float32 || x.dtype == .bfloat16 }

extension LayerNormalization: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isKernelAffine(inputs[0], inputs[1], inputs[2]) }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let norm = RowNormKernel(
      inputs[0], inputs[1], result: outputs[0], residual: hasResidual ? inputs[3] : nil, epsilon: epsilon,
      isRMS: false)
    let hasResidual = hasResidual, isAlsoRounded = isAlsoRounded, first = inputs.count
    let last: Int? = storesSum ? inputs.count + outputs.count - 1 : nil
    return Kernel("layer norm") { p in
      norm.with(gamma: p[1], beta: p[2]) {
        kk_row_norm_forward(
          $0, p[0], hasResidual ? UnsafeRawPointer(p[3]) : nil, last.map { p[$0] }, p[first],
          isAlsoRounded ? p[first + 3] : nil, p[first + 1].assumingMemoryBound(to: Float.self),
          p[first + 2].assumingMemoryBound(to: Float.self))
      }
    }
  }
}

extension LayerNormGradient: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool {
    isKernelAffine(inputs[1], inputs[4], inputs[4]) && inputs[4].dtype == .float32
  }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let norm = RowNormKernel(inputs[1], inputs[4], result: outputs[0], epsilon: 0, isRMS: false)
    let hasResidual = hasResidual, isAlsoRounded = isAlsoRounded, first = inputs.count
    return Kernel("layer norm gradient") { p in
      norm.with(gamma: p[4], beta: nil) {
        kk_row_norm_backward(
          $0, p[1], p[2].assumingMemoryBound(to: Float.self), p[3].assumingMemoryBound(to: Float.self), p[0],
          hasResidual ? UnsafeRawPointer(p[5]) : nil, p[first], isAlsoRounded ? p[first + 3] : nil,
          p[first + 1].assumingMemoryBound(to: Float.self), p[first + 2].assumingMemoryBound(to: Float.self))
      }
    }
  }
}

extension RMSNormalization: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isKernelAffine(inputs[0], inputs[1], inputs[1]) }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let norm = RowNormKernel(inputs[0], inputs[1], result: outputs[0], epsilon: epsilon, isRMS: true)
    return Kernel("RMS norm") { p in
      norm.with(gamma: p[1], beta: nil) {
        kk_row_norm_forward($0, p[0], nil, nil, p[2], nil, nil, p[3].assumingMemoryBound(to: Float.self))
      }
    }
  }
}

extension RMSNormGradient: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool {
    isKernelAffine(inputs[1], inputs[3], inputs[3]) && inputs[3].dtype == .float32
  }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let norm = RowNormKernel(inputs[1], inputs[3], result: outputs[0], epsilon: 0, isRMS: true)
    return Kernel("RMS norm gradient") { p in
      norm.with(gamma: p[3], beta: nil) {
        kk_row_norm_backward(
          $0, p[1], nil, p[2].assumingMemoryBound(to: Float.self), p[0], nil, p[4], nil,
          p[5].assumingMemoryBound(to: Float.self), nil)
      }
    }
  }
}

/// x (..., C) as rows.
private struct RowNormKernel: Sendable {
  let rows: Int64, n: Int64
  let type: kk_dtype, resultType: kk_dtype, residualType: kk_dtype, affineType: kk_dtype
  let epsilon: Float, isRMS: Bool

  init(
    _ x: Operand, _ weight: Operand, result: Operand, residual: Operand? = nil, epsilon: Double, isRMS: Bool
  ) {
    n = Int64(x.shape[-1])
    rows = Int64(x.shape.count) / n
    type = x.dtype.kernelType
    resultType = result.dtype.kernelType
    residualType = (residual ?? x).dtype.kernelType
    affineType = weight.dtype.kernelType
    self.epsilon = Float(epsilon)
    self.isRMS = isRMS
  }

  func with(gamma: UnsafeRawPointer, beta: UnsafeRawPointer?, _ body: (UnsafePointer<kk_row_norm>) -> Void) {
    var norm = kk_row_norm()
    (norm.rows, norm.n) = (rows, n)
    (norm.type, norm.result_type) = (type, resultType)
    (norm.residual_type, norm.affine_type) = (residualType, affineType)
    (norm.gamma, norm.beta) = (gamma, beta)
    (norm.epsilon, norm.rms) = (epsilon, isRMS)
    body(&norm)
  }
}
