import KalsaeCompiler
import KalsaeTensors

/// A compiled graph: kernels in order, and where their operands lie.
package final class Plan: Sendable {
  /// Where an operand lies: the memory, and the offset in bytes.
  enum Place: Sendable {
    case argument(Int, offset: Int)
    case constant(Int, offset: Int)
    case output(Int, offset: Int)
    case kept(Int, offset: Int)
    case arena(Int)
  }

  /// A value that is kept with a slot, and how it is computed from it.
  struct Kept: Sendable {
    let argument: Int
    /// Equal for values that are the same function of their slots.
    let key: [Int]
    let kernel: Kernel
    let byteCount: Int

    /// The value for `slot`, whose memory is `source`.
    func buffer(of slot: Slot, _ source: UnsafeMutableRawPointer) -> Buffer {
      slot.kept(key) {
        let result = Buffer(byteCount: byteCount), scratch = Buffer(byteCount: max(kernel.scratchBytes, 1))
        withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer.self, capacity: 3) { pointers in
          _ = pointers.initialize(from: [source, result.pointer, scratch.pointer])
          kernel.body(UnsafePointer(pointers.baseAddress!))
        }
        return result
      }
    }
  }

  package struct Step: Sendable {
    package let op: any Op
    package let kernel: Kernel
    package let inputs: [Operand], outputs: [Operand]
    let places: [Place]
    package let flops: Double

    /// What the step reads and writes, each operand once.
    package var bytesMoved: Int {
      (inputs + outputs).reduce(0) { total, operand in
        // A broadcast operand is read once.
        let extent = zip(operand.layout.shape.dimensions, operand.layout.strides)
          .reduce(1) { $1.1 == 0 ? $0 : $0 * $1.0 }
        return total + extent * operand.dtype.byteCount
      }
    }
  }

  package let backendName: String
  package let steps: [Step]
  package let arenaBytes: Int
  let outputSpecs: [Spec]
  /// For each output the argument in whose memory it is written.
  let inPlaceArguments: [Int?]
  let kept: [Kept]
  private let constants: [Buffer]
  /// What runs for each step, and how many of `addresses` it takes.
  private let kernels: [(body: Kernel.Body, count: Int)]
  /// Which of the arena, the constants, the outputs, the kept values and the arguments, and the offset in it.
  private let addresses: [(base: Int, offset: Int)]

  package var flops: Double { steps.reduce(0) { $0 + $1.flops } }
  package var bytesMoved: Int { steps.reduce(0) { $0 + $1.bytesMoved } }

  /// What is kept with slots for this plan.
  package var keptBytes: Int { kept.reduce(0) { $0 + $1.byteCount } }

  /// What any plan for this graph reads and writes: each argument and each kept value once, and each result.
  package var operandBytes: Int {
    var arguments: [Int: Int] = [:], kept: [Int: Int] = [:]
    for step in steps {
      for (operand, place) in zip(step.inputs, step.places) {
        switch place {
        case .argument(let index, _):
          arguments[index] = max(arguments[index] ?? 0, operand.spec.byteCount)
        case .kept(let index, _): kept[index] = self.kept[index].byteCount
        default: continue
        }
      }
    }
    return arguments.values.reduce(0, +) + kept.values.reduce(0, +)
      + outputSpecs.reduce(0) { $0 + $1.byteCount }
  }

  init(_ graph: Graph, backend: some Backend, verifying: Bool, without excluded: OptionalPasses = []) {
    let laidOut = compile(graph, for: backend, verifying: verifying, without: excluded)
    let graph = laidOut.graph
    backendName = backend.name
    outputSpecs = graph.outputs.map { graph.specs[$0] }

    var constants: [Buffer] = []
    var constantOf: [Int: Int] = [:], argumentOf: [Int: Int] = [:], keptOf: [Int: Int] = [:]
    var numbers: [Int: Double] = [:]
    for (value, source) in graph.sources {
      switch source {
      case .argument(let index): argumentOf[value] = index
      case .kept(let index): keptOf[value] = index
      case .buffer(let buffer):
        constantOf[value] = constants.count
        constants.append(buffer)
      case .constant(let number):
        numbers[value] = number
        constantOf[value] = constants.count
        constants.append(scalarBuffer(number, graph.specs[value].dtype))
      }
    }
    self.constants = constants
    // What no instruction reads is not computed.
    let wanted = keptOf.values.sorted(),
      places = Dictionary(uniqueKeysWithValues: zip(wanted, wanted.indices))
    keptOf = keptOf.mapValues { places[$0]! }
    kept = wanted.map { graph.kept[$0] }.map { value in
      let kernel = backend.lower(value.op, [Operand(value.input)], [Operand(value.output)])
      return Kept(
        argument: value.argument, key: [Int(OpTable.shared.identifier(of: value.op))], kernel: kernel,
        byteCount: value.output.byteCount)
    }

    let outputOf = Dictionary(uniqueKeysWithValues: graph.outputs.enumerated().map { ($1, $0) })
    func operand(_ value: Int) -> Operand {
      Operand(graph.specs[value], laidOut.layout(of: value), constant: numbers[value])
    }
    let lowered = graph.instructions.map { instruction in
      let inputs = instruction.inputs.map(operand), outputs = instruction.outputs.map(operand)
      return (instruction, inputs, outputs, backend.lower(instruction.op, inputs, outputs))
    }

    inPlaceArguments = Self.inPlaceArguments(laidOut, argumentOf, backend)
    var byteCounts: [Int: Int] = [:]
    let memorySteps = lowered.map { instruction, inputs, outputs, kernel in
      for output in instruction.outputs where outputOf[output] == nil {
        byteCounts[output] = graph.specs[output].byteCount
      }
      let specs = inputs.map(\.spec)
      // Only an operand that is read exactly as it lies, perhaps in another shape, and once, may be overwritten.
      let bases = instruction.inputs.map(laidOut.base)
      let pairs = backend.inPlace(instruction.op, specs).compactMap { pair -> (output: Int, input: Int)? in
        let input = instruction.inputs[pair.input], base = bases[pair.input],
          layout = laidOut.layout(of: input)
        guard layout.isDense, layout.offset == 0, graph.specs[base].byteCount == specs[pair.input].byteCount,
          bases.filter({ $0 == base }).count == 1
        else { return nil }
        return (instruction.outputs[pair.output], base)
      }
      return MemoryPlan.Step(
        reads: instruction.inputs.map(laidOut.base), writes: instruction.outputs,
        scratchBytes: kernel.scratchBytes,
        inPlace: pairs)
    }
    let memory = MemoryPlan(memorySteps, byteCounts: byteCounts)
    if verifying { memory.verify() }
    arenaBytes = memory.byteCount

    func place(_ value: Int) -> Place {
      let base = laidOut.base(of: value)
      let offset = laidOut.layout(of: value).offset * graph.specs[value].dtype.byteCount
      if let argument = argumentOf[base] { return .argument(argument, offset: offset) }
      if let constant = constantOf[base] { return .constant(constant, offset: offset) }
      if let output = outputOf[base] { return .output(output, offset: offset) }
      if let kept = keptOf[base] { return .kept(kept, offset: offset) }
      return .arena(memory.offsets[base]! + offset)
    }
    steps = lowered.enumerated().map { index, step in
      let (instruction, inputs, outputs, kernel) = step
      var places = (instruction.inputs + instruction.outputs).map(place)
      if kernel.scratchBytes > 0 { places.append(.arena(memory.scratchOffsets[index])) }
      return Step(
        op: instruction.op, kernel: kernel, inputs: inputs, outputs: outputs, places: places,
        flops: floatingPointOperations(instruction.op, inputs.map(\.spec), outputs.map(\.spec)))
    }
    kernels = steps.map { ($0.kernel.body, $0.places.count) }
    let outputs = 1 + constants.count, keptValues = outputs + outputSpecs.count,
      arguments = keptValues + kept.count
    addresses = steps.flatMap(\.places).map { place in
      switch place {
      case .arena(let offset): (0, offset)
      case .constant(let index, let offset): (1 + index, offset)
      case .output(let index, let offset): (outputs + index, offset)
      case .kept(let index, let offset): (keptValues + index, offset)
      case .argument(let index, let offset): (arguments + index, offset)
      }
    }
  }

  /// The outputs that may be written over the slot they replace: everybody else has read it by then.
  private static func inPlaceArguments(
    _ laidOut: LaidOutGraph, _ argumentOf: [Int: Int], _ backend: some Backend
  ) -> [Int?] {
    let graph = laidOut.graph
    var lastRead: [Int: Int] = [:]
    for (index, instruction) in graph.instructions.enumerated() {
      for input in instruction.inputs {
        if let argument = argumentOf[laidOut.base(of: input)] { lastRead[argument] = index }
      }
    }
    let producers = graph.producers()
    return graph.outputs.enumerated().map { position, value in
      guard let argument = graph.replacedArguments[position], let producer = producers[value],
        let last = lastRead[argument], last <= producer
      else { return nil }
      if last < producer { return argument }
      let instruction = graph.instructions[producer]
      let specs = instruction.inputs.map { graph.specs[$0] }
      let uses = instruction.inputs.indices.filter {
        argumentOf[laidOut.base(of: instruction.inputs[$0])] == argument
      }
      let pairs =
        backend.inPlace(instruction.op, specs)
        + ((instruction.op as? any InPlaceOp)?.aliases(inputCount: specs.count) ?? [])
      let isSafe = uses.allSatisfy { use in
        laidOut.views[instruction.inputs[use]] == nil
          && pairs.contains { $0.input == use && instruction.outputs[$0.output] == value }
      }
      return isSafe ? argument : nil
    }
  }

  /// Runs the kernels; on the evaluation thread. `timed` hears the seconds that each step took.
  func run(
    arguments: [UnsafeMutableRawPointer], kept: [UnsafeMutableRawPointer],
    outputs: [UnsafeMutableRawPointer], arena: UnsafeMutableRawPointer,
    timed: ((_ step: Int, _ seconds: Double) -> Void)? = nil
  ) {
    let bases = [arena] + constants.map(\.pointer) + outputs + kept + arguments
    withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer.self, capacity: max(addresses.count, 1)) {
      pointers in
      _ = pointers.initialize(from: addresses.lazy.map { bases[$0.base] + $0.offset })
      var next = UnsafePointer(pointers.baseAddress!)
      for (index, kernel) in kernels.enumerated() {
        defer { next += kernel.count }
        guard let timed else {
          kernel.body(next)
          continue
        }
        let start = ContinuousClock.now
        kernel.body(next)
        timed(index, (ContinuousClock.now - start) / .seconds(1))
      }
    }
  }
}

/// A number as one element of a type.
func scalarBuffer(_ value: Double, _ dtype: DType) -> Buffer {
  let buffer = Buffer(byteCount: 8)
  writeScalar(value, dtype, to: buffer.pointer)
  return buffer
}

func writeScalar(_ value: Double, _ dtype: DType, to pointer: UnsafeMutableRawPointer) {
  switch dtype {
  case .float32: pointer.storeBytes(of: Float(value), as: Float.self)
  case .bfloat16: pointer.storeBytes(of: bfloat16Bits(Float(value)), as: UInt16.self)
  case .float16: pointer.storeBytes(of: float16Bits(Float(value)), as: UInt16.self)
  case .int32: pointer.storeBytes(of: Int32(value), as: Int32.self)
  case .int64: pointer.storeBytes(of: Int64(value), as: Int64.self)
  case .uint8: pointer.storeBytes(of: UInt8(value), as: UInt8.self)
  case .bool: pointer.storeBytes(of: value != 0, as: Bool.self)
  }
}
