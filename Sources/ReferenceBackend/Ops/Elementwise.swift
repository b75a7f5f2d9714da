import KalsaeTensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension Unary: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0]
    return [NDArray(x.shape, kind == .isFinite ? .bool : x.dtype, x.values.map(function))]
  }

  private var function: (Double) -> Double {
    switch kind {
    case .negate: { -$0 }
    case .absolute: { $0.magnitude }
    case .sign: { $0 > 0 ? 1 : $0 < 0 ? -1 : $0 }
    case .exp: { exp($0) }
    case .expm1: { expm1($0) }
    case .log: { log($0) }
    case .log1p: { log1p($0) }
    case .squareRoot: { $0.squareRoot() }
    case .reciprocalSquareRoot: { 1 / $0.squareRoot() }
    case .reciprocal: { 1 / $0 }
    case .sin: { sin($0) }
    case .cos: { cos($0) }
    case .tanh: { tanh($0) }
    case .erf: { erf($0) }
    case .sigmoid: { 1 / (1 + exp(-$0)) }
    case .relu: { $0 < 0 ? 0 : $0 }
    case .floor: { $0.rounded(.down) }
    case .ceil: { $0.rounded(.up) }
    case .round: { $0.rounded(.toNearestOrEven) }
    case .not: { $0 == 0 ? 1 : 0 }
    case .isFinite: { $0.isFinite ? 1 : 0 }
    case .square: { $0 * $0 }
    }
  }
}

extension GatedScale: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let g = inputs[0], zero = NDArray([], g.dtype, [0])
    let scaled = NDArray(g.shape, g.dtype, g.values.map { $0 * scale })
    return Select().evaluate(Binary(.greater).evaluate([inputs[1], zero]) + [scaled, zero])
  }
}

extension Binary: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let a = inputs[0], b = inputs[1]
    let shape = Shape.broadcast(a.shape, b.shape)!
    let f = function(a.dtype)
    let places = zip(
      shape.offsets(strides: a.shape.strides(broadcastTo: shape)),
      shape.offsets(strides: b.shape.strides(broadcastTo: shape)))
    return [NDArray(shape, resultType(a.dtype), places.map { f(a.values[$0], b.values[$1]) })]
  }

  private func resultType(_ operand: DType) -> DType {
    switch kind {
    case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual: .bool
    default: operand
    }
  }

  /// Integer quotients truncate; dividing an integer by zero gives 0, and so does its remainder.
  private func function(_ dtype: DType) -> (Double, Double) -> Double {
    switch kind {
    case .add: return { $0 + $1 }
    case .subtract: return { $0 - $1 }
    case .multiply: return { $0 * $1 }
    case .divide:
      if dtype.isFloatingPoint { return { $0 / $1 } }
      return { $1 == 0 ? 0 : ($0 / $1).rounded(.towardZero) }
    case .maximum: return { $0.isNaN || $0 > $1 ? $0 : $1 }
    case .minimum: return { $0.isNaN || $0 < $1 ? $0 : $1 }
    case .power: return { pow($0, $1) }
    case .remainder:
      if dtype.isFloatingPoint { return flooredRemainder }
      return { $1 == 0 ? 0 : flooredRemainder($0, $1) }
    case .equal: return { $0 == $1 ? 1 : 0 }
    case .notEqual: return { $0 != $1 ? 1 : 0 }
    case .less: return { $0 < $1 ? 1 : 0 }
    case .lessOrEqual: return { $0 <= $1 ? 1 : 0 }
    case .greater: return { $0 > $1 ? 1 : 0 }
    case .greaterOrEqual: return { $0 >= $1 ? 1 : 0 }
    case .and: return { $0 != 0 && $1 != 0 ? 1 : 0 }
    case .or: return { $0 != 0 || $1 != 0 ? 1 : 0 }
    case .xor: return { ($0 != 0) != ($1 != 0) ? 1 : 0 }
    }
  }
}

/// `a - b floor(a / b)`, exactly: the truncated remainder moved to the sign of the divisor.
private func flooredRemainder(_ a: Double, _ b: Double) -> Double {
  let r = fmod(a, b)
  return r != 0 && (r < 0) != (b < 0) ? r + b : r
}

extension Select: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let shape = inputs.dropFirst().reduce(inputs[0].shape) { Shape.broadcast($0, $1.shape)! }
    let places = inputs.map { shape.offsets(strides: $0.shape.strides(broadcastTo: shape)) }
    let values = (0..<shape.count).map { i in
      let chosen = inputs[0].values[places[0][i]] != 0 ? 1 : 2
      return inputs[chosen].values[places[chosen][i]]
    }
    return [NDArray(shape, inputs[1].dtype, values)]
  }
}

extension Cast: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0]
    let convert: (Double) -> Double =
      x.dtype.isFloatingPoint
      ? { dtype.converted(fromFloat: $0) } : dtype.isFloatingPoint ? { $0 } : { dtype.rounded($0) }
    return [NDArray(x.shape, dtype, x.values.map(convert))]
  }
}
