import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension Softmax: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isRowKernelType(inputs[0]) }
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    softmaxForward(inputs[0], isLog: false)
  }
}

extension LogSoftmax: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isRowKernelType(inputs[0]) }
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel { softmaxForward(inputs[0], isLog: true) }
}

extension SoftmaxGradient: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isRowKernelType(inputs[0]) }
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    softmaxBackward(inputs[0], isLog: false)
  }
}

extension LogSoftmaxGradient: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isRowKernelType(inputs[0]) }
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    softmaxBackward(inputs[0], isLog: true)
  }
}

private func isRowKernelType(_ x: Spec) -> Bool {
  (x.dtype == .float32 || x.dtype == .bfloat16) && x.shape.count > 0
}

private func softmaxRows(_ x: Operand, isLog: Bool) -> kk_softmax {
  var softmax = kk_softmax()
  softmax.rank = 2
  let n = Int64(x.shape[-1])
  softmax.shape.0 = Int64(x.shape.count) / n
  softmax.shape.1 = n
  softmax.type = x.dtype.kernelType
  softmax.scale = 1
  softmax.log = isLog
  return softmax
}

private func softmaxForward(_ x: Operand, isLog: Bool) -> Kernel {
  Kernel(isLog ? "log softmax" : "softmax") { p in
    var softmax = softmaxRows(x, isLog: isLog)
    kk_softmax_forward(&softmax, p[0], p[1])
  }
}

private func softmaxBackward(_ y: Operand, isLog: Bool) -> Kernel {
  Kernel(isLog ? "log softmax gradient" : "softmax gradient") { p in
    var softmax = softmaxRows(y, isLog: isLog)
    kk_softmax_backward(&softmax, p[0], p[1], p[2])
  }
}

extension CrossEntropy: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isRowKernelType(inputs[0]) }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let rows = inputs[0].shape[0]
    let entropy = CrossEntropyKernel(inputs[0], labelSmoothing, ignoredLabel)
    return Kernel("cross-entropy", scratchBytes: 4 * rows) { p in
      entropy.with {
        kk_cross_entropy_forward(
          $0, p[0], p[1], p[2].assumingMemoryBound(to: Float.self), p[3].assumingMemoryBound(to: Float.self))
      }
    }
  }
}

extension CrossEntropyGradient: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { isRowKernelType(inputs[0]) }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let rows = inputs[0].shape[0]
    let entropy = CrossEntropyKernel(inputs[0], labelSmoothing, ignoredLabel)
    // The rows' log-sums are computed again: cheaper than carrying one more output through the graph.
    return Kernel("cross-entropy gradient", scratchBytes: 8 * rows) { p in
      let logSums = p[4].assumingMemoryBound(to: Float.self)
      entropy.with {
        kk_cross_entropy_forward($0, p[0], p[1], logSums + rows, logSums)
        kk_cross_entropy_backward($0, p[0], p[1], logSums, p[2].assumingMemoryBound(to: Float.self), 1, p[3])
      }
    }
  }
}

/// What the kernels know of a cross-entropy.
struct CrossEntropyKernel: Sendable {
  let rows: Int64, classes: Int64, type: kk_dtype, ignored: Int64, smoothing: Float

  init(rows: Int, classes: Int, type: DType, labelSmoothing: Double, ignoredLabel: Int?) {
    (self.rows, self.classes) = (Int64(rows), Int64(classes))
    self.type = type.kernelType
    // No label is ignored: a value that no int32 label has.
    ignored = ignoredLabel.map(Int64.init) ?? .min
    smoothing = Float(labelSmoothing)
  }

  fileprivate init(_ logits: Operand, _ smoothing: Double, _ ignored: Int?) {
    self.init(
      rows: logits.shape[0], classes: logits.shape[1], type: logits.dtype, labelSmoothing: smoothing,
      ignoredLabel: ignored)
  }

  /// Calls a kernel, on `rows` rows of the problem when given.
  func with(rows: Int64? = nil, _ body: (UnsafePointer<kk_cross_entropy>) -> Void) {
    var entropy = kk_cross_entropy()
    (entropy.rows, entropy.classes) = (rows ?? self.rows, classes)
    (entropy.type, entropy.label_type) = (type, KK_I32)
    (entropy.ignore_index, entropy.smoothing) = (ignored, smoothing)
    body(&entropy)
  }
}
