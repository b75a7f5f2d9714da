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
      if case .dropout = code {
        false
      } else if case .cast = code {
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

/// The chain in the C kernel's terms: one register for each input and for each operand that a step brings itself, and
/// registers for steps reused after their last reader.
private struct ElementwiseProgram: Sendable {
  /// An operand of the kernel that is no input of the op: the mask of a dropout, the factor of a gate.
  enum Extra: Sendable {
    case mask(bound: UInt32, scale: Float, stream: UInt32, key: Int)
    case factor(Float)
  }

  let shape: [Int64]
  let inputs: [(index: Int, type: kk_dtype, strides: [Int64])]
  let output: (index: Int, type: kk_dtype, register: Int32, strides: [Int64])
  let extras: [(extra: Extra, register: Int32)]
  /// The strides of a dense tensor of the shape, which number the elements.
  let places: [Int64]
  let instructions: [kk_instruction]

  init(_ op: FusedElementwise, _ operands: [Operand], _ result: Operand) {
    let keys = op.keys, elements = operands.indices.filter { !keys.contains($0) }
    let layouts = elements.map { Self.strides(of: operands[$0].layout, in: op.shape) }
    let collapsed = Self.collapsed(op.shape.dimensions, layouts + [result.layout.strides, op.shape.strides])
    shape = collapsed.shape.int64
    inputs = zip(elements, collapsed.strides).map { ($0, operands[$0].dtype.kernelType, $1.int64) }
    places = collapsed.strides.last!.int64

    // Registers have one type: a cast is its operand, converted when that is loaded or the result is stored.
    var root = Array(0..<op.inputCount)
    for (index, step) in op.steps.enumerated() {
      if case .cast = step.code {
        root.append(root[step.operands[0]])
      } else {
        root.append(op.inputCount + index)
      }
    }
    var lastUse = [Int](repeating: -1, count: root.count)
    for (index, step) in op.steps.enumerated() {
      for operand in step.operands { lastUse[root[operand]] = index }
    }
    lastUse[root.last!] = op.steps.count
    var registers = (0..<op.inputCount).map(Int32.init)
    var free: [Int32] = []
    var next = Int32(op.inputCount)
    func unused() -> Int32 {
      defer { next += 1 }
      return next
    }
    let extras = op.steps.map { step in step.code.extra(step.operands).map { ($0, unused()) } }
    var code: [kk_instruction] = []
    for (index, step) in op.steps.enumerated() {
      if case .cast = step.code {
        registers.append(registers[step.operands[0]])
        continue
      }
      var sources = step.operands.map { registers[$0] }
      if let (extra, register) = extras[index] {
        if case .mask = extra { sources[1] = register } else { sources.append(register) }
      }
      for operand in Set(step.operands.map { root[$0] }) where lastUse[operand] == index {
        free.append(registers[operand])
      }
      let target = free.popLast() ?? unused()
      registers.append(target)
      code.append(
        kk_instruction(
          op: step.code.opcode, dst: target, a: sources[0], b: sources.count > 1 ? sources[1] : 0,
          c: sources.count > 2 ? sources[2] : 0))
    }
    require(next <= KK_MAX_REGISTERS, "elementwise: \(next) registers")
    instructions = code
    self.extras = extras.compactMap { $0 }
    output = (
      operands.count, result.dtype.kernelType, registers.last!, collapsed.strides[elements.count].int64
    )
  }

  func run(_ pointers: UnsafePointer<UnsafeMutableRawPointer>, isInteger: Bool) {
    let count = inputs.count + extras.count
    withUnsafeTemporaryAllocation(of: kk_operand.self, capacity: count + 1) { operands in
      withUnsafeTemporaryAllocation(of: kk_keep.self, capacity: max(extras.count, 1)) { made in
        let rank = Int32(shape.count)
        for (place, input) in inputs.enumerated() {
          operands[place] = kk_operand_make(
            pointers[input.index], input.type, Int32(input.index), rank, input.strides)
        }
        for (index, (extra, register)) in extras.enumerated() {
          let memory = UnsafeMutableRawPointer(made.baseAddress! + index)
          switch extra {
          case .mask(let bound, let scale, let stream, let key):
            let key = pointers[key].assumingMemoryBound(to: UInt32.self)
            made[index] = kk_keep(
              random: kk_random(key: (key[0], key[1]), stream: (stream, 0)), bound: bound, value: scale)
            operands[inputs.count + index] = kk_operand_make(memory, KK_KEEP, register, rank, places)
          case .factor(let factor):
            made[index] = kk_keep(random: kk_random(), bound: 0, value: factor)
            operands[inputs.count + index] = kk_operand_make(
              memory + MemoryLayout<kk_keep>.offset(of: \.value)!, KK_F32, register, rank,
              [Int64](repeating: 0, count: shape.count))
          }
        }
        operands[count] = kk_operand_make(
          pointers[output.index], output.type, output.register, rank, output.strides)
        instructions.withUnsafeBufferPointer { code in
          var program = kk_elementwise()
          program.rank = rank
          program.input_count = Int32(count)
          program.output_count = 1
          program.instruction_count = Int32(code.count)
          withUnsafeMutableBytes(of: &program.shape) { target in
            shape.withUnsafeBytes { target.copyMemory(from: $0) }
          }
          program.inputs = UnsafePointer(operands.baseAddress!)
          program.outputs = UnsafePointer(operands.baseAddress! + count)
          program.instructions = code.baseAddress!
          if isInteger { kk_elementwise_i64(&program) } else { kk_elementwise_f32(&program) }
        }
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
  /// The operand that a step with these operands brings itself.
  fileprivate func extra(_ operands: [Int]) -> ElementwiseProgram.Extra? {
    switch self {
    case .dropout(let op):
      .mask(
        bound: kk_keep_bound(1 - op.probability), scale: Float(op.scale), stream: op.stream, key: operands[1])
    case .gate(let op): .factor(Float(op.scale))
    default: nil
    }
  }

  fileprivate var opcode: kk_opcode {
    switch self {
    case .dropout: KK_OP_KEEP
    case .gate: KK_OP_GATE
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
