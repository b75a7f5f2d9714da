/// `y[..., i, ...] = x[..., indices[i], ...]` along `axis`, which the axes of `indices` replace.
///
/// Indices (int32 or int64) must lie in the axis.
public struct Gather: Op {
  public let axis: Int

  public init(axis: Int) {
    self.axis = axis
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = inputs[0].shape
    guard inputs[1].dtype == .int32 || inputs[1].dtype == .int64 else {
      throw ShapeError("indices must be int32 or int64, not \(inputs[1])")
    }
    let shape = x.dimensions[..<axis] + inputs[1].shape.dimensions + x.dimensions[(axis + 1)...]
    return [Spec(Shape(Array(shape)), inputs[0].dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil, nil] }
    return [Tensor(ScatterAdd(axis: axis, extent: inputs[0].shape[axis]), dy, inputs[1]), nil]
  }
}

/// The transpose of `Gather`: adds each slice of `updates` to place `indices[i]` of a zero tensor, or of a third input
/// with `hasBase`.
public struct ScatterAdd: Op {
  public let axis: Int, extent: Int
  package let hasBase: Bool

  public init(axis: Int, extent: Int) { self.init(axis: axis, extent: extent, hasBase: false) }

  package init(axis: Int, extent: Int, hasBase: Bool) {
    (self.axis, self.extent, self.hasBase) = (axis, extent, hasBase)
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let updates = inputs[0].shape.dimensions, indices = inputs[1].shape.dimensions
    guard inputs[1].dtype == .int32 || inputs[1].dtype == .int64 else {
      throw ShapeError("indices must be int32 or int64, not \(inputs[1])")
    }
    guard updates.count >= axis + indices.count, Array(updates[axis..<axis + indices.count]) == indices else {
      throw ShapeError("updates \(inputs[0].shape) do not fit indices \(inputs[1].shape) at axis \(axis)")
    }
    let shape = updates[..<axis] + [extent] + updates[(axis + indices.count)...]
    let result = Spec(Shape(Array(shape)), inputs[0].dtype)
    if hasBase, inputs[2] != result { throw ShapeError("cannot add to \(inputs[2]), only to \(result)") }
    return [result]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0].map { Tensor(Gather(axis: axis), $0, inputs[1]) }, nil] + (hasBase ? [cotangents[0]] : [])
  }
}

/// `y[..., i, ...] = x[..., indices[..., i, ...], ...]`: one index for each element of the result.
public struct GatherAlong: Op {
  public let axis: Int

  public init(axis: Int) {
    self.axis = axis
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    try checkAlong(inputs, axis)
    return [Spec(inputs[1].shape, inputs[0].dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil, nil] }
    return [Tensor(ScatterAddAlong(axis: axis, extent: inputs[0].shape[axis]), dy, inputs[1]), nil]
  }
}

/// The transpose of `GatherAlong`.
public struct ScatterAddAlong: Op {
  public let axis: Int, extent: Int

  public init(axis: Int, extent: Int) {
    self.axis = axis
    self.extent = extent
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    try checkAlong(inputs, axis)
    guard inputs[0].shape == inputs[1].shape else {
      throw ShapeError("updates \(inputs[0].shape) and indices \(inputs[1].shape) differ")
    }
    var shape = inputs[0].shape
    shape.dimensions[axis] = extent
    return [Spec(shape, inputs[0].dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0].map { Tensor(GatherAlong(axis: axis), $0, inputs[1]) }, nil]
  }
}

private func checkAlong(_ inputs: [Spec], _ axis: Int) throws(ShapeError) {
  let x = inputs[0].shape, indices = inputs[1].shape
  guard inputs[1].dtype == .int32 || inputs[1].dtype == .int64 else {
    throw ShapeError("indices must be int32 or int64, not \(inputs[1])")
  }
  guard x.rank == indices.rank, x.dimensions.indices.allSatisfy({ $0 == axis || x[$0] == indices[$0] }) else {
    throw ShapeError("\(x) and indices \(indices) differ outside axis \(axis)")
  }
}

/// `y = x` but for `y[..., start + i, ...] = update[..., i, ...]` along `axis`.
///
/// Inputs: x, update (x's shape but for `axis`), and start, an int32 scalar: an input, so that one plan serves all
/// places. The update must lie inside the axis. A slot is updated in place.
public struct UpdateSlice: InPlaceOp {
  public let axis: Int

  public init(axis: Int) {
    self.axis = axis
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = inputs[0], update = inputs[1]
    guard inputs[2] == Spec([], .int32) else {
      throw ShapeError("the start must be an int32 scalar, not \(inputs[2])")
    }
    var extents = x.shape
    if update.shape.rank == x.shape.rank { extents.dimensions[axis] = update.shape[axis] }
    guard update == Spec(extents, x.dtype), update.shape[axis] <= x.shape[axis] else {
      throw ShapeError("\(update) is no part of \(x) along axis \(axis)")
    }
    return [x]
  }

  public func aliases(inputCount: Int) -> [(output: Int, input: Int)] { [(output: 0, input: 0)] }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil, nil, nil] }
    let update = inputs[1], start = inputs[2]
    let places = Tensor.iota(update.shape[axis]) + start
    return [
      Tensor(self, dy, .zeros(update.shape, dtype: update.dtype), start), dy.gathered(places, axis: axis),
      nil,
    ]
  }
}

/// The elements in order along `axis`, and their old positions (int32). Stable; NaN last.
public struct Sort: Op {
  public let axis: Int, descending: Bool

  public init(axis: Int, descending: Bool) {
    self.axis = axis
    self.descending = descending
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    [inputs[0], Spec(inputs[0].shape, .int32)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [
      cotangents[0].map {
        Tensor(ScatterAddAlong(axis: axis, extent: inputs[0].shape[axis]), $0, outputs[1])
      }
    ]
  }
}

/// `0, 1, 2, ...` along `axis` of a tensor of `shape`.
public struct Iota: Op {
  public let shape: Shape, axis: Int, dtype: DType

  public init(shape: Shape, axis: Int, dtype: DType) {
    self.shape = shape
    self.axis = axis
    self.dtype = dtype
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [Spec(shape, dtype)] }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] { [] }
}

extension Tensor {
  /// Slices of `axis` at `indices` (int32 or int64, any shape, whose axes replace `axis`).
  public func gathered(_ indices: Tensor, axis: Int = 0) -> Tensor {
    Tensor(Gather(axis: shape.axis(axis, "gathered")), self, indices)
  }

  /// One element of `axis` for each index: `indices` has this tensor's shape but for `axis`.
  public func gathered(along axis: Int, _ indices: Tensor) -> Tensor {
    Tensor(GatherAlong(axis: shape.axis(axis, "gathered")), self, indices)
  }

  /// With `update` in place of the elements from `start` (an int32 scalar) on along `axis`.
  public func updated(_ update: Tensor, at start: Tensor, axis: Int) -> Tensor {
    Tensor(UpdateSlice(axis: shape.axis(axis, "updated")), self, update, start)
  }

  /// Adds these slices at `indices` of `axis` of a zero tensor whose axis has `extent`.
  public func scatterAdded(_ indices: Tensor, axis: Int = 0, extent: Int) -> Tensor {
    Tensor(ScatterAdd(axis: axis, extent: extent), self, indices)
  }

  /// The elements in order along `axis` and their old positions, int32.
  public func sorted(_ axis: Int = -1, descending: Bool = false) -> (values: Tensor, indices: Tensor) {
    let result = apply(Sort(axis: shape.axis(axis, "sorted"), descending: descending), [self])
    return (result[0], result[1])
  }

  /// The `k` largest elements along `axis`, largest first, and their positions, int32.
  public func topK(_ k: Int, axis: Int = -1) -> (values: Tensor, indices: Tensor) {
    require(k >= 0 && k <= shape[axis], "topK: \(k) of \(shape[axis])")
    let (values, indices) = sorted(axis, descending: true)
    return (values.sliced(axis, 0..<k), indices.sliced(axis, 0..<k))
  }

  /// `0, 1, ..., count - 1`.
  public static func iota(_ count: Int, dtype: DType = .int32) -> Tensor {
    Tensor(Iota(shape: [count], axis: 0, dtype: dtype))
  }
}
