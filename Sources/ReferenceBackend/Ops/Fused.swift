import KalsaeCompiler
import KalsaeTensors

// The ops that the compiler's passes make, each as the ops that it was made from.

extension Copy: ReferenceOp {
  package func evaluate(_ inputs: [NDArray]) -> [NDArray] { inputs }
}

extension FusedElementwise: ReferenceOp {
  package func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    var values = inputs
    for step in steps {
      let operands = step.operands.map { values[$0] }
      let result =
        switch step.code {
        case .unary(let kind): Unary(kind).evaluate(operands)
        case .binary(let kind): Binary(kind).evaluate(operands)
        case .select: Select().evaluate(operands)
        case .cast(let dtype): Cast(dtype).evaluate(operands)
        case .activation(let kind): Activation(kind).evaluateDecomposed(operands)
        case .activationGradient(let kind): ActivationGradient(kind).evaluateDecomposed(operands)
        case .dropout(let op): op.evaluateDecomposed(operands)
        case .gate(let op): op.evaluate(operands)
        }
      values += result
    }
    return Broadcast(shape: shape).evaluate([values.last!])
  }
}

extension FusedConvolution: ReferenceOp {
  package func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    finished(
      Convolution(geometry).evaluate(Array(inputs[..<2])), inputs[2...], hasBias, activation, hasResidual)
  }
}

extension FusedMatMul: ReferenceOp {
  package func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    finished(
      MatMul(result: result).evaluate(Array(inputs[..<2])), inputs[2...], hasBias, activation, hasResidual)
  }
}

/// `f(y + bias) + residual`
private func finished(
  _ product: [NDArray], _ operands: ArraySlice<NDArray>, _ hasBias: Bool, _ activation: Epilogue?,
  _ hasResidual: Bool
) -> [NDArray] {
  var y = product[0]
  func add(_ operand: NDArray) {
    // The operands of an epilogue may be wider than the product.
    y = Binary(.add).evaluate([y, NDArray(operand.shape, y.dtype, operand.values)])[0]
  }
  if hasBias { add(operands.first!) }
  switch activation {
  case nil: break
  case .relu: y = Unary(.relu).evaluate([y])[0]
  case .silu: y = Activation(.silu).evaluateDecomposed([y])[0]
  case .gelu: y = Activation(.gelu).evaluateDecomposed([y])[0]
  case .geluTanh: y = Activation(.geluTanh).evaluateDecomposed([y])[0]
  }
  if hasResidual { add(operands.last!) }
  return [y]
}
