import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension Pool: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isPoolKernelType(inputs[0]) }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let description = description(of: inputs[0], outputs[0]), isMaximum = kind == .maximum
    return Kernel("pool") { p in
      var pool = description
      if isMaximum {
        kk_max_pool_forward(&pool, p[0], p[1])
      } else {
        kk_average_pool_forward(&pool, p[0], p[1])
      }
    }
  }

  /// The kernels' description of pooling x to y.
  fileprivate func description(of x: Operand, _ y: Operand) -> kk_pool {
    var pool = kk_pool()
    (pool.samples, pool.height, pool.width, pool.channels) = (
      Int64(x.shape[0]), Int64(x.shape[1]), Int64(x.shape[2]), Int64(x.shape[3])
    )
    (pool.window_height, pool.window_width) = (Int64(window), Int64(window))
    (pool.stride_height, pool.stride_width) = (Int64(stride), Int64(stride))
    (pool.padding_height, pool.padding_width) = (Int64(padding), Int64(padding))
    (pool.out_height, pool.out_width) = (Int64(y.shape[1]), Int64(y.shape[2]))
    pool.type = x.dtype.kernelType
    pool.counts_padding = countsPadding
    return pool
  }
}

extension PoolGradient: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isPoolKernelType(inputs[0]) }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let description = pool.description(of: outputs[0], inputs[0]), isMaximum = pool.kind == .maximum
    return Kernel("pool gradient") { p in
      var pool = description
      if isMaximum {
        kk_max_pool_backward(&pool, p[1], p[0], p[2])
      } else {
        kk_average_pool_backward(&pool, p[0], p[1])
      }
    }
  }
}

private func isPoolKernelType(_ x: Spec) -> Bool {
  (x.dtype == .float32 || x.dtype == .bfloat16) && x.shape.count > 0
}
