/// `y = a b`: (..., n, k) x (..., k, m) -> (..., n, m).   da = dy b^T,  db = a^T dy.
///
/// Leading axes broadcast. The result has the operands' type, or `result` when the products of bfloat16 operands are
/// wanted in float32.
public struct MatMul: Op {
  public let result: DType?
  public init(result: DType? = nil) { self.result = result }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let a = inputs[0], b = inputs[1]
    guard a.dtype == b.dtype, a.dtype.isFloatingPoint else {
      throw ShapeError("needs two tensors of one floating-point type: \(a) x \(b)")
    }
    guard a.shape.rank >= 2, b.shape.rank >= 2 else {
      throw ShapeError("needs matrices: \(a.shape) x \(b.shape)")
    }
    guard a.shape[-1] == b.shape[-2] else { throw ShapeError("inner axes differ: \(a.shape) x \(b.shape)") }
    guard
      let batch = Shape.broadcast(
        Shape(a.shape.dimensions.dropLast(2)), Shape(b.shape.dimensions.dropLast(2)))
    else { throw ShapeError("leading axes do not broadcast: \(a.shape) x \(b.shape)") }
    return [Spec(Shape(batch.dimensions + [a.shape[-2], b.shape[-1]]), result ?? a.dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    let a = inputs[0], b = inputs[1]
    guard let dy = cotangents[0]?.cast(to: a.dtype) else { return [nil, nil] }
    return [product(dy, b.mT), product(a.mT, dy)]
  }
}

/// The matrix product over the last two axes; leading axes broadcast. Computed in the autocast precision, if any.
public func matmul(_ a: Tensor, _ b: Tensor) -> Tensor {
  product(Autocast.apply(a), Autocast.apply(b))
}

/// The matrix product in the operands' own type: gradients keep it, whatever autocast says where they are taken.
private func product(_ a: Tensor, _ b: Tensor) -> Tensor {
  // A matrix on the right makes one large product of all rows.
  guard b.rank == 2, a.rank > 2, a.shape[-1] == b.shape[0] else { return Tensor(MatMul(), a, b) }
  let rows = a.shape.dimensions.dropLast()
  let flat = a.reshaped(rows.reduce(1, *), a.shape[-1])
  return Tensor(MatMul(), flat, b).reshaped(Shape(rows + [b.shape[-1]]))
}
