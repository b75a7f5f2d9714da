import KalsaeTensors

/// Lets products and convolutions add the bias, apply the activation and add the residual that follow them. A product in
/// bfloat16 whose result goes on in float32, as in a residual stream, is not rounded in between.
package func fuseEpilogues(_ graph: Graph) -> Graph {
  var result = graph
  let users = graph.users(), producers = graph.producers(), wanted = Set(graph.outputs)
  /// The float32 value behind a bias that was only rounded to the product's type.
  func unrounded(_ value: Int) -> Int {
    guard let producer = producers[value], graph.instructions[producer].op is Cast else { return value }
    return graph.instructions[producer].inputs[0]
  }
  // What stands at each place afterwards; nil: what stood there before.
  var replaced: [Int: [Graph.Instruction]] = [:]
  for index in graph.instructions.indices where replaced[index] == nil {
    // An empty sum is no product: its zeros take no epilogue.
    guard graph.instructions[index].inputs.allSatisfy({ graph.specs[$0].shape.count > 0 }),
      var product = Product(graph.instructions[index])
    else { continue }
    var value = graph.instructions[index].outputs[0]
    let channels = graph.specs[value].shape[-1]
    var absorbed: [Int] = []
    // Follows the single reader as long as it is something the product's kernel can do while storing.
    while users[value].count == 1, !wanted.contains(value), replaced[users[value][0]] == nil {
      let reader = users[value][0], step = graph.instructions[reader]
      let output = graph.specs[step.outputs[0]]
      guard output.dtype == graph.specs[value].dtype || step.op is Cast, output.shape.rank > 0,
        output.shape[-1] == channels,
        output.shape.count == graph.specs[value].shape.count,
        product.absorb(step, reading: value, graph.specs, unrounded)
      else { break }
      value = step.outputs[0]
      absorbed.append(reader)
    }
    // A reshape alone is no gain.
    while let last = absorbed.last, graph.instructions[last].op is Reshape {
      value = graph.instructions[last].inputs[0]
      absorbed.removeLast()
    }
    guard let last = absorbed.last else { continue }
    // The fused op takes the last step's place: by then its residual is computed.
    for place in [index] + absorbed { replaced[place] = [] }
    replaced[last] = product.fused(value, &result)
  }
  result.instructions = graph.instructions.enumerated().flatMap { replaced[$0.offset] ?? [$0.element] }
  return result
}

/// With so many rows a product is bound by its matrix, and what happens to its result costs nothing.
private let mostRowsWithGELU = 4

/// A matrix product or convolution and what has been attached to it.
private struct Product {
  let instruction: Graph.Instruction
  var bias: Int?
  var activation: Epilogue?
  var residual: Int?
  /// Whether the result is stored in float32.
  var isWidened = false

  init?(_ instruction: Graph.Instruction) {
    guard instruction.op is MatMul || instruction.op is Convolution else { return nil }
    self.instruction = instruction
  }

  /// Attaches `step`, a reader of the product's `value`, if the kernel can do it while storing.
  mutating func absorb(
    _ step: Graph.Instruction, reading value: Int, _ specs: [Spec], _ unrounded: (Int) -> Int
  ) -> Bool {
    if step.op is Reshape { return true }
    if let cast = step.op as? Cast {
      // A residual lies in the memory of the result, in its type.
      guard instruction.op is MatMul, cast.dtype == .float32, specs[value].dtype == .bfloat16, residual == nil
      else { return false }
      isWidened = true
      return true
    }
    if let add = step.op as? Binary, add.kind == .add, step.inputs[0] != step.inputs[1] {
      let other = step.inputs[0] == value ? step.inputs[1] : step.inputs[0]
      let shape = specs[other].shape, channels = specs[value].shape[-1]
      if shape.rank > 0, shape[-1] == channels, shape.count == channels, bias == nil, activation == nil,
        residual == nil, specs[unrounded(other)].dtype == .float32
      {
        bias = unrounded(other)
        return true
      }
      guard specs[other] == specs[value], residual == nil, activation == nil else { return false }
      residual = other
      return true
    }
    guard let epilogue = Epilogue(step.op), activation == nil else { return false }
    // In bfloat16 oneDNN takes longer for a GELU behind its sums than a pass of its own over the result does: of
    // (3152, 768) x (768, 3072) 1.6 against 1.2 of 18 ms, and 0.28 against 0.13 of 3 ms where 512 rows stay in the caches.
    let rows = specs[value].shape.count / specs[value].shape[-1]
    if epilogue == .gelu || epilogue == .geluTanh, specs[value].dtype == .bfloat16, rows > mostRowsWithGELU {
      return false
    }
    activation = epilogue
    return true
  }

  /// The instructions that compute `value`.
  func fused(_ value: Int, _ graph: inout Graph) -> [Graph.Instruction] {
    let own = graph.specs[instruction.outputs[0]], final = graph.specs[value]
    var before: [Graph.Instruction] = [], after: [Graph.Instruction] = []
    func reshaped(_ operand: Int, _ shape: Shape) -> Int {
      guard graph.specs[operand].shape != shape else { return operand }
      let result = graph.addValue(Spec(shape, graph.specs[operand].dtype))
      before.append(.init(op: Reshape(shape: shape), inputs: [operand], outputs: [result]))
      return result
    }
    var inputs = instruction.inputs
    if let bias { inputs.append(reshaped(bias, [own.shape[-1]])) }
    if let residual { inputs.append(reshaped(residual, own.shape)) }
    var output = value
    if own.shape != final.shape {
      output = graph.addValue(Spec(own.shape, final.dtype))
      after.append(.init(op: Reshape(shape: final.shape), inputs: [output], outputs: [value]))
    }
    let op: any Op
    switch instruction.op {
    case let convolution as Convolution:
      op = FusedConvolution(
        geometry: convolution.geometry, hasBias: bias != nil, activation: activation,
        hasResidual: residual != nil)
    case let product as MatMul:
      op = FusedMatMul(
        result: isWidened ? .float32 : product.result, hasBias: bias != nil, activation: activation,
        hasResidual: residual != nil)
    default: fatalError("\(instruction.op) is no product")
    }
    return before + [.init(op: op, inputs: inputs, outputs: [output])] + after
  }
}

extension Epilogue {
  init?(_ op: any Op) {
    switch op {
    case let op as Unary where op.kind == .relu: self = .relu
    case let op as Activation:
      switch op.kind {
      case .silu: self = .silu
      case .gelu: self = .gelu
      case .geluTanh: self = .geluTanh
      }
    default: return nil
    }
  }
}
