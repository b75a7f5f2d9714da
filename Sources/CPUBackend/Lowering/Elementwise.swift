import CKernels
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors

extension FusedElementwise {
  /// A chain of one step, for an elementwise op that was not joined with others.
  init?(single op: any Op, inputs: [Spec], output: Spec) {
    if op is FusedElementwise { return nil }
    guard let code = Self.code(of: op) else { return nil }
    let step = Step(code: code, operands: Array(inputs.indices), dtype: output.dtype)
    func isInteger(_ dtype: DType) -> Bool { !dtype.isFloatingPoint && dtype != .bool }
    let integer =
      if case .cast = code {
        !inputs[0].dtype.isFloatingPoint && !output.dtype.isFloatingPoint
      } else {
        isInteger(output.dtype) || inputs.contains { isInteger($0.dtype) }
      }
    self.init(inputCount: inputs.count, steps: [step], shape: output.shape, isInteger: integer)
  }
}

extension FusedElementwise: CPUOp {
  func lowered(_ inputs: [Operand], _ outputs: [Operand]) -> Kernel {
    let program = ElementwiseProgram(self, inputs, outputs[0])
    let isInteger = isInteger
    return Kernel("elementwise \(steps.count)") { pointers in program.run(pointers, isInteger: isInteger) }
  }
}

/// The chain in the C kernel's terms: one register for each input, and registers for steps reused after their last
/// reader.
private struct ElementwiseProgram: Sendable {
  let shape: [Int64]
  let inputs: [(type: kk_dtype, strides: [Int64])]
  let output: (type: kk_dtype, register: Int32, strides: [Int64])
  let instructions: [kk_instruction]

  init(_ op: FusedElementwise, _ operands: [Operand], _ result: Operand) {
    let layouts = operands.map { Self.strides(of: $0.layout, in: op.shape) }
    let collapsed = Self.collapsed(op.shape.dimensions, layouts + [result.layout.strides])
    shape = collapsed.shape.int64
    inputs = zip(operands, collapsed.strides).map { ($0.dtype.kernelType, $1.int64) }

    var lastUse = [Int](repeating: -1, count: op.inputCount + op.steps.count)
    for (index, step) in op.steps.enumerated() {
      for operand in step.operands { lastUse[operand] = index }
    }
    var registers = (0..<op.inputCount).map(Int32.init)
    var free: [Int32] = []
    var next = Int32(op.inputCount)
    var code: [kk_instruction] = []
    for (index, step) in op.steps.enumerated() {
      let sources = step.operands.map { registers[$0] }
      for operand in Set(step.operands) where lastUse[operand] == index { free.append(registers[operand]) }
      let target: Int32
      if let reused = free.popLast() {
        target = reused
      } else {
        target = next
        next += 1
      }
      registers.append(target)
      code.append(
        kk_instruction(
          op: step.code.opcode, dst: target, a: sources[0], b: sources.count > 1 ? sources[1] : 0,
          c: sources.count > 2 ? sources[2] : 0))
    }
    require(next <= KK_MAX_REGISTERS, "elementwise: \(next) registers")
    instructions = code
    output = (result.dtype.kernelType, registers.last!, collapsed.strides.last!.int64)
  }

  func run(_ pointers: UnsafePointer<UnsafeMutableRawPointer>, isInteger: Bool) {
    withUnsafeTemporaryAllocation(of: kk_operand.self, capacity: inputs.count + 1) { operands in
      let rank = Int32(shape.count)
      for (index, input) in inputs.enumerated() {
        operands[index] = kk_operand_make(pointers[index], input.type, Int32(index), rank, input.strides)
      }
      operands[inputs.count] = kk_operand_make(
        pointers[inputs.count], output.type, output.register, rank, output.strides)
      instructions.withUnsafeBufferPointer { code in
        var program = kk_elementwise()
        program.rank = rank
        program.input_count = Int32(inputs.count)
        program.output_count = 1
        program.instruction_count = Int32(code.count)
        withUnsafeMutableBytes(of: &program.shape) { target in
          shape.withUnsafeBytes { target.copyMemory(from: $0) }
        }
        program.inputs = UnsafePointer(operands.baseAddress!)
        program.outputs = UnsafePointer(operands.baseAddress! + inputs.count)
        program.instructions = code.baseAddress!
        if isInteger { kk_elementwise_i64(&program) } else { kk_elementwise_f32(&program) }
      }
    }
  }

  /// Strides along the axes of `shape`; 0 where the operand repeats.
  static func strides(of layout: Layout, in shape: Shape) -> [Int] {
    let extra = shape.rank - layout.shape.rank
    return shape.dimensions.indices.map { axis in
      axis < extra || layout.shape.dimensions[axis - extra] == 1 ? 0 : layout.strides[axis - extra]
    }
  }

  /// Neighbouring axes joined where every operand runs through both with one stride.
  static func collapsed(_ shape: [Int], _ strides: [[Int]]) -> (shape: [Int], strides: [[Int]]) {
    var joined: [Int] = []
    var steps = strides.map { _ in [Int]() }
    for axis in shape.indices where shape[axis] != 1 {
      let follows =
        !joined.isEmpty && strides.indices.allSatisfy { steps[$0].last! == strides[$0][axis] * shape[axis] }
      if follows {
        joined[joined.count - 1] *= shape[axis]
        for index in strides.indices { steps[index][steps[index].count - 1] = strides[index][axis] }
      } else {
        joined.append(shape[axis])
        for index in strides.indices { steps[index].append(strides[index][axis]) }
      }
    }
    return (joined, steps)
  }
}

extension FusedElementwise.Code {
  fileprivate var opcode: kk_opcode {
    switch self {
    case .select: KK_OP_SELECT
    case .cast: KK_OP_COPY
    case .activation(.silu): KK_OP_SILU
    case .activation(.gelu): KK_OP_GELU_ERF
    case .activation(.geluTanh): KK_OP_GELU_TANH
    case .activationGradient(.silu): KK_OP_SILU_GRAD
    case .activationGradient(.gelu): KK_OP_GELU_ERF_GRAD
    case .activationGradient(.geluTanh): KK_OP_GELU_TANH_GRAD
    case .unary(let kind):
      switch kind {
      case .negate: KK_OP_NEG
      case .absolute: KK_OP_ABS
      case .sign: KK_OP_SIGN
      case .exp: KK_OP_EXP
      case .expm1: KK_OP_EXPM1
      case .log: KK_OP_LOG
      case .log1p: KK_OP_LOG1P
      case .squareRoot: KK_OP_SQRT
      case .reciprocalSquareRoot: KK_OP_RSQRT
      case .reciprocal: KK_OP_RECIPROCAL
      case .sin: KK_OP_SIN
      case .cos: KK_OP_COS
      case .tanh: KK_OP_TANH
      case .erf: KK_OP_ERF
      case .sigmoid: KK_OP_SIGMOID
      case .relu: KK_OP_RELU
      case .floor: KK_OP_FLOOR
      case .ceil: KK_OP_CEIL
      case .round: KK_OP_ROUND
      case .not: KK_OP_NOT
      case .isFinite: KK_OP_ISFINITE
      case .square: KK_OP_SQUARE
      }
    case .binary(let kind):
      switch kind {
      case .add: KK_OP_ADD
      case .subtract: KK_OP_SUB
      case .multiply: KK_OP_MUL
      case .divide: KK_OP_DIV
      case .maximum: KK_OP_MAX
      case .minimum: KK_OP_MIN
      case .power: KK_OP_POW
      case .remainder: KK_OP_MOD
      case .equal: KK_OP_EQ
      case .notEqual: KK_OP_NE
      case .less: KK_OP_LT
      case .lessOrEqual: KK_OP_LE
      case .greater: KK_OP_GT
      case .greaterOrEqual: KK_OP_GE
      case .and: KK_OP_AND
      case .or: KK_OP_OR
      case .xor: KK_OP_XOR
      }
    }
  }
}
