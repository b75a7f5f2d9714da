import KalsaeTensors

/// An op that only passes make: it exists in plans, where nobody asks for gradients.
package protocol FusedOp: Op {}

extension FusedOp {
  package func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    fatalError("a fused op exists only in plans")
  }
}

/// A chain of elementwise ops computed in one pass: each element goes through all steps in registers.
package struct FusedElementwise: FusedOp, ElementwiseOp {
  package enum Code: Hashable, Sendable {
    case unary(Unary.Kind)
    case binary(Binary.Kind)
    case select
    case cast(DType)
    case activation(Activation.Kind)
    case activationGradient(Activation.Kind)
    /// Operands x and the key.
    case dropout(RandomDropout)
    /// Operands g and d.
    case gate(GatedScale)
  }

  /// One op on inputs (numbers below `inputCount`) and results of earlier steps (from `inputCount` on).
  package struct Step: Hashable, Sendable {
    package let code: Code
    package let operands: [Int]
    package let dtype: DType

    package init(code: Code, operands: [Int], dtype: DType) {
      self.code = code
      self.operands = operands
      self.dtype = dtype
    }
  }

  package let inputCount: Int
  package let steps: [Step]
  package let shape: Shape
  /// Whether the chain computes in integers rather than float32.
  package let isInteger: Bool

  package init(inputCount: Int, steps: [Step], shape: Shape, isInteger: Bool) {
    self.inputCount = inputCount
    self.steps = steps
    self.shape = shape
    self.isInteger = isInteger
  }

  /// The inputs that are keys of random numbers, not elements.
  package var keys: Set<Int> {
    Set(steps.compactMap { if case .dropout = $0.code { $0.operands[1] } else { nil } })
  }

  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [Spec(shape, steps.last!.dtype)] }
  /// The step that a single elementwise op makes, or nil when it is none.
  package static func code(of op: any Op) -> Code? {
    switch op {
    case let op as Unary: .unary(op.kind)
    case let op as Binary: .binary(op.kind)
    case is Select: .select
    case let op as Cast: .cast(op.dtype)
    case let op as Activation: .activation(op.kind)
    case let op as ActivationGradient: .activationGradient(op.kind)
    case let op as RandomDropout: .dropout(op)
    case let op as GatedScale: .gate(op)
    default: nil
    }
  }
}

/// `y = f(conv(x, w) + bias + residual)`; inputs x, w, then bias and residual where present.
package struct FusedConvolution: FusedOp {
  package let geometry: ConvolutionGeometry
  package let hasBias: Bool
  package let activation: Epilogue?
  package let hasResidual: Bool

  package init(geometry: ConvolutionGeometry, hasBias: Bool, activation: Epilogue?, hasResidual: Bool) {
    self.geometry = geometry
    self.hasBias = hasBias
    self.activation = activation
    self.hasResidual = hasResidual
  }

  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    try Convolution(geometry).outputs(Array(inputs[..<2]))
  }
}

/// `y = f(a b + bias + residual)`; inputs a, b, then bias (of the last axis) and residual where present.
package struct FusedMatMul: FusedOp {
  package let result: DType?
  package let hasBias: Bool
  package let activation: Epilogue?
  package let hasResidual: Bool

  package init(result: DType?, hasBias: Bool, activation: Epilogue?, hasResidual: Bool) {
    self.result = result
    self.hasBias = hasBias
    self.activation = activation
    self.hasResidual = hasResidual
  }

  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    try MatMul(result: result).outputs(Array(inputs[..<2]))
  }
}

/// A `FusedMatMul` of (m, k) with a matrix of `columns` columns that comes from `PackedWeights`.
package struct PackedMatMul: FusedOp {
  package let product: FusedMatMul
  package let columns: Int
  /// What the right operand has been arranged as.
  package let packing: Packing

  package init(product: FusedMatMul, columns: Int, packing: Packing) {
    (self.product, self.columns, self.packing) = (product, columns, packing)
  }

  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    [Spec([inputs[0].shape[0], columns], product.result ?? inputs[0].dtype)]
  }
}

/// The matrix that lies in the input as `view` says, as `dtype`, in a backend's own arrangement.
package struct PackedWeights: FusedOp {
  package let view: Layout
  package let dtype: DType
  package let packing: Packing

  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [Spec([packing.byteCount], .uint8)] }
}

/// A `FusedConvolution` with a kernel of shape `kernel` that comes from `PackedKernel`.
package struct PackedConvolution: FusedOp {
  package let convolution: FusedConvolution
  package let kernel: Shape
  /// What the kernel has been arranged as.
  package let packing: Packing

  package init(convolution: FusedConvolution, kernel: Shape, packing: Packing) {
    (self.convolution, self.kernel, self.packing) = (convolution, kernel, packing)
  }

  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    try convolution.outputs([inputs[0], Spec(kernel, inputs[0].dtype)])
  }
}

/// A convolution's kernel in a backend's own arrangement, as `convolution` of `map` wants it; another one that wants the
/// same arrangement shares it.
package struct PackedKernel: FusedOp {
  package let convolution: FusedConvolution
  package let map: Spec, kernel: Spec
  package let packing: Packing

  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [Spec([packing.byteCount], .uint8)] }
  package static func == (a: Self, b: Self) -> Bool { a.kernel == b.kernel && a.packing == b.packing }
  package func hash(into hasher: inout Hasher) {
    hasher.combine(kernel)
    hasher.combine(packing)
  }
}

/// An `AttentionGradient` whose dk and dv are the parts (B, S, K D) and (B, S, K E) of one array, perhaps behind dq as
/// (B, T, H D): the gradient of a joint projection. Gives dq where it is not included, and that array.
package struct JoinedAttentionGradient: FusedOp {
  package let gradient: AttentionGradient
  package let includesQueries: Bool

  package init(gradient: AttentionGradient, includesQueries: Bool) {
    (self.gradient, self.includesQueries) = (gradient, includesQueries)
  }

  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let gradients = try gradient.outputs(inputs), apart = includesQueries ? 0 : 1
    let parts = gradients[apart...].map(\.shape), rows = parts[0]
    guard parts.allSatisfy({ $0.dimensions[..<2] == rows.dimensions[..<2] }) else {
      throw ShapeError("as many queries as keys are joined, not \(parts)")
    }
    let width = parts.reduce(0) { $0 + $1[2] * $1[3] }
    return gradients[..<apart] + [Spec([rows[0], rows[1], width], gradients[0].dtype)]
  }
}

/// The sum of the squares of one gradient, float32 (): a term of `SumOfSquaresAndTerms`.
package struct SquaresOfOne: FusedOp {
  package init() {}
  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [Spec([], .float32)] }
}

/// `SumOfSquares` of what stands before the last `termCount` inputs, and those, float32 (), added.
package struct SumOfSquaresAndTerms: FusedOp {
  package let termCount: Int

  package init(termCount: Int) { self.termCount = termCount }
  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [Spec([], .float32)] }
}

/// An `AdamUpdate` that also takes its parameters into their moving averages, under the same condition: its inputs, then the
/// averages' decay and `count` averages; its outputs, then the averages.
package struct AveragedAdamUpdate: FusedOp, InPlaceOp {
  package let adam: AdamUpdate

  package init(adam: AdamUpdate) { self.adam = adam }

  /// Where the averages begin.
  package var firstInput: Int { AdamUpdate.scalarCount + 4 * adam.count + 1 }
  package var firstOutput: Int { 3 * adam.count }

  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    try adam.outputs(Array(inputs[..<(firstInput - 1)])) + inputs[firstInput...]
  }

  package func aliases(inputCount: Int) -> [(output: Int, input: Int)] {
    adam.aliases(inputCount: firstInput - 1)
      + (0..<adam.count).map { (output: firstOutput + $0, input: firstInput + $0) }
  }
}

/// A function applied to a product before it is stored.
package enum Epilogue: UInt8, Hashable, Sendable { case relu, silu, gelu, geluTanh }

/// The dense copy of a value that is read through a view.
package struct Copy: Op {
  package init() {}
  package func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { inputs }
  package func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] { cotangents }
}
