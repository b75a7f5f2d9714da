import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension Pool: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool {
    (inputs[0].dtype == .float32 || inputs[0].dtype == .bfloat16) && inputs[0].shape.count > 0
  }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let x = inputs[0], y = outputs[0], isMaximum = kind == .maximum
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
    let description = pool
    return Kernel("pool") { p in
      var pool = description
      if isMaximum {
        kk_max_pool_forward(&pool, p[0], p[1])
      } else {
        kk_average_pool_forward(&pool, p[0], p[1])
      }
    }
  }
}
