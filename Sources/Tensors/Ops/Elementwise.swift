/// An op that computes each output element from the elements at the same place of its broadcast inputs.
///
/// All such ops can be chained into one fused kernel.
public protocol ElementwiseOp: Op {}

extension ElementwiseOp {
  /// The common shape, when every floating-point operand has the same element type.
  func broadcast(_ inputs: [Spec]) throws(ShapeError) -> Shape {
    var shape = inputs[0].shape
    for input in inputs.dropFirst() {
      guard let joined = Shape.broadcast(shape, input.shape) else {
        throw ShapeError(
          "shapes do not broadcast: \(inputs.map { "\($0.shape)" }.joined(separator: " and "))")
      }
      shape = joined
    }
    return shape
  }
}

/// `y = f(x)`, element by element.
public struct Unary: ElementwiseOp {
  public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
    case negate, absolute, sign, exp, expm1, log, log1p, squareRoot, reciprocalSquareRoot, reciprocal
    case sin, cos, tanh, erf, sigmoid, relu, floor, ceil, round, not, isFinite, square
  }
  public let kind: Kind
  public init(_ kind: Kind) { self.kind = kind }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = inputs[0]
    switch kind {
    case .isFinite: return [Spec(x.shape, .bool)]
    case .not:
      guard x.dtype == .bool else { throw ShapeError("not needs bool, not \(x)") }
      return [x]
    case .negate, .absolute, .sign, .square, .relu:
      guard x.dtype != .bool else { throw ShapeError("\(kind) needs numbers, not \(x)") }
      return [x]
    default:
      guard x.dtype.isFloatingPoint else { throw ShapeError("\(kind) needs floating point, not \(x)") }
      return [x]
    }
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil] }
    let x = inputs[0], y = outputs[0]
    switch kind {
    case .negate: return [-dy]
    case .absolute: return [dy * sign(x)]
    case .exp: return [dy * y]
    case .expm1: return [dy * (y + 1)]
    case .log: return [dy / x]
    case .log1p: return [dy / (x + 1)]
    case .squareRoot: return [dy * 0.5 / y]
    case .reciprocalSquareRoot: return [dy * -0.5 * y / x]
    case .reciprocal: return [-dy * square(y)]
    case .sin: return [dy * cos(x)]
    case .cos: return [-dy * sin(x)]
    case .tanh: return [dy * (1 - square(y))]
    case .erf: return [dy * exp(-square(x)) * 1.1283791670955126]  // 2 / sqrt(pi)
    case .sigmoid: return [dy * y * (1 - y)]
    // By the result, so that x need not be kept.
    case .relu: return [Tensor(GatedScale(scale: 1), dy, y)]
    case .square: return [dy * x * 2]
    case .sign, .floor, .ceil, .round, .not, .isFinite: return [nil]
    }
  }
}

/// `y = f(a, b)`, element by element with broadcasting.
public struct Binary: ElementwiseOp {
  public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
    case add, subtract, multiply, divide, maximum, minimum, power, remainder
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual
    case and, or, xor
  }
  public let kind: Kind
  public init(_ kind: Kind) { self.kind = kind }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let a = inputs[0], b = inputs[1]
    guard a.dtype == b.dtype else { throw ShapeError("element types differ, cast one: \(a) and \(b)") }
    let shape = try broadcast(inputs)
    switch kind {
    case .add, .subtract, .multiply, .divide, .maximum, .minimum, .remainder:
      guard a.dtype != .bool else { throw ShapeError("\(kind) needs numbers, not \(a)") }
      return [Spec(shape, a.dtype)]
    case .power:
      guard a.dtype.isFloatingPoint else { throw ShapeError("power needs floating point, not \(a)") }
      return [Spec(shape, a.dtype)]
    case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual:
      return [Spec(shape, .bool)]
    case .and, .or, .xor:
      guard a.dtype == .bool else { throw ShapeError("\(kind) needs bool, not \(a)") }
      return [Spec(shape, .bool)]
    }
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil, nil] }
    let a = inputs[0], b = inputs[1], y = outputs[0]
    switch kind {
    case .add: return [dy, dy]
    case .subtract: return [dy, -dy]
    case .multiply: return [dy * b, dy * a]
    case .divide: return [dy / b, -dy * y / b]
    // The gradient of a tie is shared.
    case .maximum: return [dy * tieWeight(a, b), dy * tieWeight(b, a)]
    case .minimum: return [dy * tieWeight(b, a), dy * tieWeight(a, b)]
    // At a = b = 0 the first rule would be 0 * inf, and at a = 0 the second 0 * -inf; the limits are 0.
    case .power:
      let exponent = select((a .== 0) .& (b .== 0), 1, b - 1)
      return [dy * b * pow(a, exponent), select(a .> 0, dy * y * log(select(a .> 0, a, 1)), 0)]
    case .remainder: return [dy, -dy * floor(a / b)]
    case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual, .and, .or, .xor:
      return [nil, nil]
    }
  }

  /// 1 where a > b, 1/2 where equal, 0 elsewhere; infinities may be equal too.
  private func tieWeight(_ a: Tensor, _ b: Tensor) -> Tensor {
    ((a .> b).cast(to: a.dtype) + (a .>= b).cast(to: a.dtype)) * 0.5
  }
}

/// `y = condition ? a : b`, element by element with broadcasting.
public struct Select: ElementwiseOp {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    guard inputs[0].dtype == .bool else { throw ShapeError("the condition must be bool, not \(inputs[0])") }
    guard inputs[1].dtype == inputs[2].dtype else {
      throw ShapeError("element types differ, cast one: \(inputs[1]) and \(inputs[2])")
    }
    return [Spec(try broadcast(inputs), inputs[1].dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil, nil, nil] }
    return [nil, select(inputs[0], dy, 0), select(inputs[0], 0, dy)]
  }
}

/// `y = scale g` where d > 0, else 0; inputs g and d. With scale 1 the gradient of d = relu(x), with that of dropout the
/// gradient of d = dropout(relu(x)).
public struct GatedScale: ElementwiseOp {
  public let scale: Double

  public init(scale: Double) { self.scale = scale }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    guard inputs[0].dtype == inputs[1].dtype, inputs[0].dtype.isFloatingPoint else {
      throw ShapeError("needs floating point of one type, not \(inputs[0]) and \(inputs[1])")
    }
    return [Spec(try broadcast(inputs), inputs[0].dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0].map { Tensor(self, $0, inputs[1]) }, nil]
  }
}

/// The same numbers in another element type: rounds to nearest even, truncates towards zero to an integer.
public struct Cast: ElementwiseOp {
  public let dtype: DType
  public init(_ dtype: DType) { self.dtype = dtype }
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [Spec(inputs[0].shape, dtype)] }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0]?.cast(to: inputs[0].dtype)]
  }
}

extension Tensor {
  /// The same numbers as elements of another type.
  public func cast(to dtype: DType) -> Tensor { dtype == self.dtype ? self : Tensor(Cast(dtype), self) }

  /// A scalar that adopts this tensor's element type.
  package func literal(_ value: Double) -> Tensor { Tensor(value, dtype) }

  public static func + (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.add), a, b) }
  public static func + (a: Tensor, b: Double) -> Tensor { a + a.literal(b) }
  public static func + (a: Double, b: Tensor) -> Tensor { b.literal(a) + b }
  public static func - (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.subtract), a, b) }
  public static func - (a: Tensor, b: Double) -> Tensor { a - a.literal(b) }
  public static func - (a: Double, b: Tensor) -> Tensor { b.literal(a) - b }
  public static func * (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.multiply), a, b) }
  public static func * (a: Tensor, b: Double) -> Tensor { a * a.literal(b) }
  public static func * (a: Double, b: Tensor) -> Tensor { b.literal(a) * b }
  public static func / (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.divide), a, b) }
  public static func / (a: Tensor, b: Double) -> Tensor { a / a.literal(b) }
  public static func / (a: Double, b: Tensor) -> Tensor { b.literal(a) / b }
  public static prefix func - (a: Tensor) -> Tensor { Tensor(Unary(.negate), a) }

  public static func .== (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.equal), a, b) }
  public static func .== (a: Tensor, b: Double) -> Tensor { a .== a.literal(b) }
  public static func .!= (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.notEqual), a, b) }
  public static func .!= (a: Tensor, b: Double) -> Tensor { a .!= a.literal(b) }
  public static func .< (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.less), a, b) }
  public static func .< (a: Tensor, b: Double) -> Tensor { a .< a.literal(b) }
  public static func .<= (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.lessOrEqual), a, b) }
  public static func .<= (a: Tensor, b: Double) -> Tensor { a .<= a.literal(b) }
  public static func .> (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.greater), a, b) }
  public static func .> (a: Tensor, b: Double) -> Tensor { a .> a.literal(b) }
  public static func .>= (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.greaterOrEqual), a, b) }
  public static func .>= (a: Tensor, b: Double) -> Tensor { a .>= a.literal(b) }
  public static func .& (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.and), a, b) }
  public static func .| (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.or), a, b) }
  public static func .^ (a: Tensor, b: Tensor) -> Tensor { Tensor(Binary(.xor), a, b) }
  public static prefix func .! (a: Tensor) -> Tensor { Tensor(Unary(.not), a) }
}

infix operator .!= : ComparisonPrecedence
infix operator .== : ComparisonPrecedence
infix operator .& : LogicalConjunctionPrecedence
infix operator .| : LogicalDisjunctionPrecedence
infix operator .^ : LogicalDisjunctionPrecedence
prefix operator .!

public func abs(_ x: Tensor) -> Tensor { Tensor(Unary(.absolute), x) }
/// -1, 0 or 1.
public func sign(_ x: Tensor) -> Tensor { Tensor(Unary(.sign), x) }
public func exp(_ x: Tensor) -> Tensor { Tensor(Unary(.exp), x) }
/// `exp(x) - 1`, exact near 0.
public func expm1(_ x: Tensor) -> Tensor { Tensor(Unary(.expm1), x) }
public func log(_ x: Tensor) -> Tensor { Tensor(Unary(.log), x) }
/// `log(1 + x)`, exact near 0.
public func log1p(_ x: Tensor) -> Tensor { Tensor(Unary(.log1p), x) }
public func sqrt(_ x: Tensor) -> Tensor { Tensor(Unary(.squareRoot), x) }
/// `1 / sqrt(x)`.
public func rsqrt(_ x: Tensor) -> Tensor { Tensor(Unary(.reciprocalSquareRoot), x) }
public func reciprocal(_ x: Tensor) -> Tensor { Tensor(Unary(.reciprocal), x) }
public func sin(_ x: Tensor) -> Tensor { Tensor(Unary(.sin), x) }
public func cos(_ x: Tensor) -> Tensor { Tensor(Unary(.cos), x) }
public func tanh(_ x: Tensor) -> Tensor { Tensor(Unary(.tanh), x) }
public func erf(_ x: Tensor) -> Tensor { Tensor(Unary(.erf), x) }
/// `1 / (1 + exp(-x))`.
public func sigmoid(_ x: Tensor) -> Tensor { Tensor(Unary(.sigmoid), x) }
/// `max(x, 0)`.
public func relu(_ x: Tensor) -> Tensor { Tensor(Unary(.relu), x) }
public func floor(_ x: Tensor) -> Tensor { Tensor(Unary(.floor), x) }
public func ceil(_ x: Tensor) -> Tensor { Tensor(Unary(.ceil), x) }
/// To the nearest integer, ties to even.
public func round(_ x: Tensor) -> Tensor { Tensor(Unary(.round), x) }
/// Neither infinite nor NaN, as bool.
public func isFinite(_ x: Tensor) -> Tensor { Tensor(Unary(.isFinite), x) }
public func square(_ x: Tensor) -> Tensor { Tensor(Unary(.square), x) }
public func maximum(_ a: Tensor, _ b: Tensor) -> Tensor { Tensor(Binary(.maximum), a, b) }
public func maximum(_ a: Tensor, _ b: Double) -> Tensor { maximum(a, a.literal(b)) }
public func minimum(_ a: Tensor, _ b: Tensor) -> Tensor { Tensor(Binary(.minimum), a, b) }
public func minimum(_ a: Tensor, _ b: Double) -> Tensor { minimum(a, a.literal(b)) }
public func pow(_ a: Tensor, _ b: Tensor) -> Tensor { Tensor(Binary(.power), a, b) }
public func pow(_ a: Tensor, _ b: Double) -> Tensor { pow(a, a.literal(b)) }
/// `a - b floor(a / b)`: the sign of the divisor.
public func remainder(_ a: Tensor, _ b: Tensor) -> Tensor { Tensor(Binary(.remainder), a, b) }
public func clamp(_ x: Tensor, _ low: Double, _ high: Double) -> Tensor { minimum(maximum(x, low), high) }

/// `condition ? a : b` element by element.
public func select(_ condition: Tensor, _ a: Tensor, _ b: Tensor) -> Tensor {
  Tensor(Select(), condition, a, b)
}
public func select(_ condition: Tensor, _ a: Tensor, _ b: Double) -> Tensor {
  select(condition, a, a.literal(b))
}
public func select(_ condition: Tensor, _ a: Double, _ b: Tensor) -> Tensor {
  select(condition, b.literal(a), b)
}
