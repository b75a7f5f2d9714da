import KalsaeTensors

/// A graph as the passes see it: instructions in execution order over numbered values.
package struct Graph: Sendable {
  /// One application of an op.
  package struct Instruction: Sendable {
    package var op: any Op
    package var inputs: [Int]
    package var outputs: [Int]
  }

  /// Where a value that no instruction computes comes from.
  package enum Source: Sendable {
    /// The n-th tensor bound at run time.
    case argument(Int)
    /// A number known when the plan is made.
    case constant(Double)
    /// Memory known when the plan is made.
    case buffer(Buffer)
    /// The n-th of the values that are kept with a slot.
    case kept(Int)
  }

  /// A value that is computed from a slot alone, and again only when the slot has changed.
  package struct Kept: Sendable {
    package let op: any Op
    package let argument: Int
    package let input: Spec, output: Spec
  }

  /// The spec of each value.
  package var specs: [Spec] = []
  /// The values that no instruction computes.
  package var sources: [Int: Source] = [:]
  package var instructions: [Instruction] = []
  /// The wanted values.
  package var outputs: [Int] = []
  /// For each output the argument whose memory it replaces, when that is a slot read by this graph.
  package var replacedArguments: [Int?] = []
  /// The arguments that are slots.
  package var slotArguments: Set<Int> = []
  package var kept: [Kept] = []

  package init() {}

  package mutating func addValue(_ spec: Spec) -> Int {
    specs.append(spec)
    return specs.count - 1
  }

  package mutating func addSource(_ source: Source, _ spec: Spec) -> Int {
    let value = addValue(spec)
    sources[value] = source
    return value
  }

  /// Appends an instruction and returns its values.
  @discardableResult
  package mutating func append(_ op: any Op, _ inputs: [Int], _ specs: [Spec]) -> [Int] {
    let outputs = specs.map { addValue($0) }
    instructions.append(Instruction(op: op, inputs: inputs, outputs: outputs))
    return outputs
  }

  /// The instructions that read each value.
  package func users() -> [[Int]] {
    var users = [[Int]](repeating: [], count: specs.count)
    for (index, instruction) in instructions.enumerated() {
      for input in Set(instruction.inputs) { users[input].append(index) }
    }
    return users
  }

  /// The instruction that computes each value.
  package func producers() -> [Int?] {
    var producers = [Int?](repeating: nil, count: specs.count)
    for (index, instruction) in instructions.enumerated() {
      for output in instruction.outputs { producers[output] = index }
    }
    return producers
  }

  /// Drops instructions that nothing wanted depends on.
  package mutating func removeDeadInstructions() {
    var live = Set(outputs)
    var kept: [Instruction] = []
    for instruction in instructions.reversed() where instruction.outputs.contains(where: live.contains) {
      live.formUnion(instruction.inputs)
      kept.append(instruction)
    }
    instructions = kept.reversed()
    sources = sources.filter { live.contains($0.key) }
  }

  /// Replaces reads of values by others, following chains.
  package mutating func substitute(_ replacements: [Int: Int]) {
    guard !replacements.isEmpty else { return }
    func resolve(_ value: Int) -> Int {
      var value = value
      while let next = replacements[value] { value = next }
      return value
    }
    for index in instructions.indices {
      instructions[index].inputs = instructions[index].inputs.map(resolve)
    }
    outputs = outputs.map(resolve)
  }

  /// Traps unless every value is defined once, before its readers, with the spec its op gives.
  package func verify(after pass: String) {
    var defined = Set(sources.keys)
    for instruction in instructions {
      for input in instruction.inputs {
        require(
          defined.contains(input), "after \(pass): value \(input) of \(instruction.op) is undefined")
      }
      if let specs = try? instruction.op.outputs(instruction.inputs.map { self.specs[$0] }) {
        for (output, spec) in zip(instruction.outputs, specs) {
          require(
            self.specs[output] == spec,
            "after \(pass): \(instruction.op) gives \(spec), not \(self.specs[output])")
        }
      } else {
        fatalError("after \(pass): \(instruction.op) rejects its operands")
      }
      for output in instruction.outputs {
        require(defined.insert(output).inserted, "after \(pass): value \(output) is defined twice")
      }
    }
    for output in outputs {
      require(defined.contains(output), "after \(pass): wanted value \(output) is undefined")
    }
  }
}
