import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension Random: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let y = outputs[0], count = Int64(y.shape.count), stream = stream, distribution = distribution
    if y.dtype == .float16 { return throughFloat32(self, inputs, outputs) }
    let type = y.dtype.kernelType
    return Kernel("philox") { p in
      let key = p[0].assumingMemoryBound(to: UInt32.self)
      var random = kk_random(key: (key[0], key[1]), stream: (stream, 0))
      switch distribution {
      case .uniform: kk_random_uniform(&random, count, p[1], type, 0, 1)
      case .normal: kk_random_normal(&random, count, p[1], type, 0, 1)
      case .bernoulli(let probability):
        var keep = kk_keep(random: random, bound: kk_keep_bound(probability), value: 1)
        kk_random_bernoulli(&keep, count, p[1], type)
      }
    }
  }
}
