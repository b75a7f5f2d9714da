import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

/// One of the lists of `count` addresses among a kernel's operands.
private func list(
  _ p: UnsafePointer<UnsafeMutableRawPointer>, from start: Int
) -> UnsafeRawPointer { UnsafeRawPointer(p + start) }

private func floats(_ list: UnsafeRawPointer) -> UnsafePointer<UnsafePointer<Float>?> {
  list.assumingMemoryBound(to: UnsafePointer<Float>?.self)
}

private func mutableFloats(_ list: UnsafeRawPointer) -> UnsafePointer<UnsafeMutablePointer<Float>?> {
  list.assumingMemoryBound(to: UnsafeMutablePointer<Float>?.self)
}

private func scalar(_ p: UnsafePointer<UnsafeMutableRawPointer>, _ index: Int) -> UnsafePointer<Float> {
  UnsafePointer(p[index].assumingMemoryBound(to: Float.self))
}

/// Copies each aliased input to its output, where the plan did not let them share memory.
private func copyAliases(
  _ p: UnsafePointer<UnsafeMutableRawPointer>, _ aliases: [(output: Int, input: Int)], inputCount: Int,
  _ bytes: [Int]
) {
  for alias in aliases where p[inputCount + alias.output] != p[alias.input] {
    p[inputCount + alias.output].copyMemory(from: p[alias.input], byteCount: bytes[alias.output])
  }
}

extension SumOfSquares: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { inputs.allSatisfy { $0.dtype == .float32 } }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel { squares(inputs) }
}

extension SquaresOfOne: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel { squares(inputs) }
}

extension SumOfSquaresAndTerms: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    squares(Array(inputs.dropLast(termCount)), termCount: termCount)
  }
}

/// The sum of squares of these inputs, and of `termCount` scalars behind them as they are.
private func squares(_ inputs: [Operand], termCount: Int = 0) -> Kernel {
  let sizes = inputs.map { Int64($0.shape.count) }
  return Kernel("sum of squares") { p in
    let result = p[sizes.count + termCount].assumingMemoryBound(to: Float.self)
    kk_sum_of_squares(Int32(sizes.count), floats(list(p, from: 0)), sizes, 1, result)
    var sum = Double(result.pointee)
    for term in sizes.count..<sizes.count + termCount { sum += Double(scalar(p, term).pointee) }
    result.pointee = Float(sum)
  }
}

extension AdamUpdate: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { true }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    adamKernel(self, inputs, outputs, aliases(inputCount: inputs.count))
  }
}

extension AveragedAdamUpdate: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    adamKernel(adam, inputs, outputs, aliases(inputCount: inputs.count), averages: (firstInput, firstOutput))
  }
}

/// `averages`: where they begin among the inputs, behind their decay, and among the outputs.
private func adamKernel(
  _ op: AdamUpdate, _ inputs: [Operand], _ outputs: [Operand], _ aliases: [(output: Int, input: Int)],
  averages: (input: Int, output: Int)? = nil
) -> Kernel {
  let count = op.count, isDecoupled = op.isDecoupled, first = AdamUpdate.scalarCount,
    inputCount = inputs.count
  let sizes = outputs[..<count].map { Int64($0.shape.count) }, bytes = outputs.map(\.spec.byteCount)
  return Kernel("Adam") { p in
    copyAliases(p, aliases, inputCount: inputCount, bytes)
    var adam = kk_adam()
    adam.learning_rate = scalar(p, 0)
    adam.beta1 = scalar(p, 1)
    adam.beta2 = scalar(p, 2)
    adam.epsilon = scalar(p, 3)
    adam.weight_decay = scalar(p, 4)
    adam.correction1 = scalar(p, 5)
    adam.correction2 = scalar(p, 6)
    adam.gradient_scale = scalar(p, 7)
    adam.finite = UnsafePointer(p[AdamUpdate.conditionIndex].assumingMemoryBound(to: UInt8.self))
    adam.decoupled = isDecoupled
    if let averages {
      adam.average_decay = scalar(p, averages.input - 1)
      adam.averages = mutableFloats(list(p, from: inputCount + averages.output))
    }
    kk_adam_update(
      &adam, Int32(count), mutableFloats(list(p, from: inputCount)), floats(list(p, from: first + count)),
      mutableFloats(list(p, from: inputCount + count)),
      mutableFloats(list(p, from: inputCount + 2 * count)), sizes)
  }
}

extension SGDUpdate: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { true }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let count = count, isNesterov = isNesterov, first = Self.scalarCount, inputCount = inputs.count
    let sizes = outputs[..<count].map { Int64($0.shape.count) }, bytes = outputs.map(\.spec.byteCount)
    let aliases = aliases(inputCount: inputCount)
    return Kernel("SGD") { p in
      copyAliases(p, aliases, inputCount: inputCount, bytes)
      var sgd = kk_sgd()
      sgd.learning_rate = scalar(p, 0)
      sgd.momentum = scalar(p, 1)
      sgd.weight_decay = scalar(p, 2)
      sgd.gradient_scale = scalar(p, 3)
      sgd.finite = UnsafePointer(p[4].assumingMemoryBound(to: UInt8.self))
      sgd.nesterov = isNesterov
      kk_sgd_update(
        &sgd, Int32(count), mutableFloats(list(p, from: inputCount)), floats(list(p, from: first + count)),
        mutableFloats(list(p, from: inputCount + count)), sizes)
    }
  }
}

extension AverageUpdate: CPUComposite {
  func isClaimed(_ inputs: [Spec]) -> Bool { true }

  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let count = count, first = Self.scalarCount, inputCount = inputs.count
    let sizes = outputs.map { Int64($0.shape.count) }, bytes = outputs.map(\.spec.byteCount)
    let aliases = aliases(inputCount: inputCount)
    return Kernel("moving average") { p in
      copyAliases(p, aliases, inputCount: inputCount, bytes)
      kk_ema_update(
        scalar(p, 0), UnsafePointer(p[1].assumingMemoryBound(to: UInt8.self)), Int32(count),
        mutableFloats(list(p, from: inputCount)), floats(list(p, from: first + count)), sizes)
    }
  }
}
