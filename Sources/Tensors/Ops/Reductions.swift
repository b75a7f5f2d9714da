/// Sums, products or extremes over `axes`, which disappear. Floating-point sums accumulate in float32 or better.
public struct Reduce: Op {
  public enum Kind: UInt8, Hashable, Sendable, CaseIterable { case sum, product, maximum, minimum }
  public let kind: Kind
  /// Ascending, from the front.
  public let axes: [Int]
  /// float32 when the sums of bfloat16 numbers are wanted unrounded.
  public let result: DType?

  public init(kind: Kind, axes: [Int], result: DType? = nil) {
    self.kind = kind
    self.axes = axes
    self.result = result
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let shape = inputs[0].shape
    guard inputs[0].dtype != .bool else { throw ShapeError("\(kind) needs numbers, cast \(inputs[0]) first") }
    if kind == .maximum || kind == .minimum {
      guard axes.allSatisfy({ shape.dimensions[$0] > 0 }) else {
        throw ShapeError("\(kind) over an axis of extent 0 of \(shape)")
      }
    }
    let kept = shape.dimensions.indices.filter { !axes.contains($0) }
    return [Spec(Shape(kept.map { shape.dimensions[$0] }), result ?? inputs[0].dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    let x = inputs[0]
    guard let dy = cotangents[0]?.cast(to: x.dtype) else { return [nil] }
    let kept = Shape(x.shape.dimensions.enumerated().map { axes.contains($0.offset) ? 1 : $0.element })
    let dyKept = dy.reshaped(kept), yKept = outputs[0].reshaped(kept)
    switch kind {
    case .sum: return [dyKept.broadcast(to: x.shape)]
    case .product:
      // The product of the others: without dividing, so that zeros are exact.
      return [dyKept * productOfOthers(x)]
    case .maximum, .minimum:
      let winners = (x .== yKept).cast(to: x.dtype)
      return [dyKept * winners / winners.sum(axes, keepingAxes: true)]
    }
  }

  /// Exclusive products from both ends along the reduced axes.
  private func productOfOthers(_ x: Tensor) -> Tensor {
    let kept = (0..<x.rank).filter { !axes.contains($0) }
    let order = kept + axes
    let rows = x.transposed(order).reshaped(
      Shape(kept.map { x.shape.dimensions[$0] } + [axes.map { x.shape.dimensions[$0] }.reduce(1, *)]))
    let n = rows.shape[-1]
    guard n > 0 else { return x }
    func shifted(_ t: Tensor) -> Tensor {  // 1, t0, t0 t1, ...
      var products: [Tensor] = [.ones(t.at(0, axis: -1).shape, dtype: t.dtype)]
      for i in 0..<(n - 1) { products.append(products[i] * t.at(i, axis: -1)) }
      return stacked(products, axis: -1)
    }
    let others = shifted(rows) * shifted(rows.reversed(rows.rank - 1)).reversed(rows.rank - 1)
    var inverse = order
    for (axis, source) in order.enumerated() { inverse[source] = axis }
    return others.reshaped(Shape(order.map { x.shape.dimensions[$0] })).transposed(inverse)
  }
}

/// The position (int32) of the first largest or smallest element along `axis`, which disappears.
public struct ArgReduce: Op {
  public enum Kind: UInt8, Hashable, Sendable, CaseIterable { case maximum, minimum }
  public let kind: Kind
  public let axis: Int

  public init(kind: Kind, axis: Int) {
    self.kind = kind
    self.axis = axis
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    var shape = inputs[0].shape
    guard shape.dimensions[axis] > 0 else { throw ShapeError("axis \(axis) of \(shape) is empty") }
    shape.dimensions.remove(at: axis)
    return [Spec(shape, .int32)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] { [nil] }
}

/// `y_i = x_0 + ... + x_i` along `axis`; from the other end if `reverse`; without `x_i` if `exclusive`.
public struct CumulativeSum: Op {
  public let axis: Int, exclusive: Bool, reverse: Bool

  public init(axis: Int, exclusive: Bool, reverse: Bool) {
    self.axis = axis
    self.exclusive = exclusive
    self.reverse = reverse
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    guard inputs[0].dtype != .bool else { throw ShapeError("needs numbers, cast \(inputs[0]) first") }
    return inputs
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0].map { Tensor(CumulativeSum(axis: axis, exclusive: exclusive, reverse: !reverse), $0) }]
  }
}

extension Tensor {
  private func reduced(_ kind: Reduce.Kind, _ axes: [Int]?, _ keepingAxes: Bool, _ name: StaticString)
    -> Tensor
  {
    let axes = shape.axes(axes, name)
    let result = axes.isEmpty ? self : Tensor(Reduce(kind: kind, axes: axes), self)
    guard keepingAxes else { return result }
    return result.reshaped(
      Shape(shape.dimensions.enumerated().map { axes.contains($0.offset) ? 1 : $0.element }))
  }

  /// The sum over `axes` (all when nil).
  public func sum(_ axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    reduced(.sum, axes, keepingAxes, "sum")
  }
  public func product(_ axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    reduced(.product, axes, keepingAxes, "product")
  }
  public func max(_ axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    reduced(.maximum, axes, keepingAxes, "max")
  }
  public func min(_ axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    reduced(.minimum, axes, keepingAxes, "min")
  }

  /// The arithmetic mean over `axes` (all when nil).
  public func mean(_ axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    let resolved = shape.axes(axes, "mean")
    let n = resolved.reduce(1) { $0 * shape.dimensions[$1] }
    return sum(resolved, keepingAxes: keepingAxes) * (1 / Double(n))
  }

  /// The biased variance over `axes`: the mean squared distance from the mean.
  public func variance(_ axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    square(self - mean(axes, keepingAxes: true)).mean(axes, keepingAxes: keepingAxes)
  }

  /// The index of the first largest element along `axis`, int32.
  public func argMax(_ axis: Int = -1) -> Tensor {
    Tensor(ArgReduce(kind: .maximum, axis: shape.axis(axis, "argMax")), self)
  }
  /// The index of the first smallest element along `axis`, int32.
  public func argMin(_ axis: Int = -1) -> Tensor {
    Tensor(ArgReduce(kind: .minimum, axis: shape.axis(axis, "argMin")), self)
  }

  public func cumulativeSum(_ axis: Int, exclusive: Bool = false, reverse: Bool = false) -> Tensor {
    Tensor(
      CumulativeSum(axis: shape.axis(axis, "cumulativeSum"), exclusive: exclusive, reverse: reverse), self)
  }
}
