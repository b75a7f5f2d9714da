/// The same elements in row-major order under another shape.
public struct Reshape: Op {
  public let shape: Shape

  public init(shape: Shape) {
    self.shape = shape
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    guard inputs[0].shape.count == shape.count else {
      throw ShapeError(
        "\(inputs[0].shape) has \(inputs[0].shape.count) elements, \(shape) has \(shape.count)")
    }
    return [Spec(shape, inputs[0].dtype)]
  }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0]?.reshaped(inputs[0].shape)]
  }
}

/// Axis `i` of the result is axis `permutation[i]` of the input.
public struct Transpose: Op {
  public let permutation: [Int]

  public init(permutation: [Int]) {
    self.permutation = permutation
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let shape = inputs[0].shape
    guard permutation.sorted() == Array(0..<shape.rank) else {
      throw ShapeError("\(permutation) is not a permutation of the axes of \(shape)")
    }
    return [Spec(Shape(permutation.map { shape.dimensions[$0] }), inputs[0].dtype)]
  }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    var inverse = permutation
    for (axis, source) in permutation.enumerated() { inverse[source] = axis }
    return [cotangents[0]?.transposed(inverse)]
  }
}

/// Repeats axes of extent 1, and new leading axes, to `shape`.
public struct Broadcast: Op {
  public let shape: Shape

  public init(shape: Shape) {
    self.shape = shape
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    guard inputs[0].shape.broadcasts(to: shape) else {
      throw ShapeError("\(inputs[0].shape) does not broadcast to \(shape)")
    }
    return [Spec(shape, inputs[0].dtype)]
  }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] { cotangents }
}

/// Elements `start, start + step, ... < end` of each axis.
public struct Slice: Op {
  public let start: [Int], end: [Int], step: [Int]

  public init(start: [Int], end: [Int], step: [Int]) {
    self.start = start
    self.end = end
    self.step = step
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let shape = inputs[0].shape
    guard start.count == shape.rank, end.count == shape.rank, step.count == shape.rank else {
      throw ShapeError("\(start.count) ranges for \(shape)")
    }
    var result: [Int] = []
    for axis in 0..<shape.rank {
      guard start[axis] >= 0, start[axis] <= end[axis], end[axis] <= shape.dimensions[axis], step[axis] > 0
      else {
        throw ShapeError("\(start[axis])..<\(end[axis]) by \(step[axis]) on axis \(axis) of \(shape)")
      }
      result.append((end[axis] - start[axis] + step[axis] - 1) / step[axis])
    }
    return [Spec(Shape(result), inputs[0].dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil] }
    let extents = inputs[0].shape.dimensions
    let interior = step.map { $0 - 1 }
    let high = extents.indices.map { axis -> Int in
      let taken = dy.shape.dimensions[axis]
      let used = taken == 0 ? 0 : (taken - 1) * step[axis] + 1
      return extents[axis] - start[axis] - used
    }
    return [dy.padded(low: start, high: high, interior: interior)]
  }
}

/// Puts a value around the elements of each axis (`low`, `high`) and between them (`interior`).
///
/// Inputs: x and the scalar value, or x alone for zeros.
public struct Pad: Op {
  public let low: [Int], high: [Int], interior: [Int]
  public let hasValue: Bool

  public init(low: [Int], high: [Int], interior: [Int], hasValue: Bool = true) {
    self.low = low
    self.high = high
    self.interior = interior
    self.hasValue = hasValue
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let shape = inputs[0].shape
    guard !hasValue || inputs[1] == Spec([], inputs[0].dtype) else {
      throw ShapeError("the value must be a scalar of \(inputs[0].dtype), not \(inputs[1])")
    }
    guard low.count == shape.rank, high.count == shape.rank, interior.count == shape.rank,
      (low + high + interior).allSatisfy({ $0 >= 0 })
    else { throw ShapeError("low \(low), high \(high), interior \(interior) do not fit \(shape)") }
    return [
      Spec(
        Shape(
          shape.dimensions.enumerated().map { axis, extent in
            low[axis] + extent + Swift.max(extent - 1, 0) * interior[axis] + high[axis]
          }), inputs[0].dtype)
    ]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return inputs.map { _ in nil } }
    let extents = inputs[0].shape.dimensions
    let end = extents.indices.map { axis in
      extents[axis] == 0 ? low[axis] : low[axis] + (extents[axis] - 1) * (interior[axis] + 1) + 1
    }
    let dx = Tensor(Slice(start: low, end: end, step: interior.map { $0 + 1 }), dy)
    return hasValue ? [dx, dy.sum() - dx.sum()] : [dx]
  }
}

/// Reverses the order of the elements along `axes`.
public struct Reverse: Op {
  public let axes: [Int]

  public init(axes: [Int]) {
    self.axes = axes
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { inputs }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0].map { Tensor(self, $0) }]
  }
}

/// Joins tensors along `axis`.
public struct Concatenate: Op {
  public let axis: Int

  public init(axis: Int) {
    self.axis = axis
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    var shape = inputs[0].shape
    for input in inputs.dropFirst() {
      guard input.dtype == inputs[0].dtype, input.shape.rank == shape.rank,
        (0..<shape.rank).allSatisfy({ $0 == axis || input.shape.dimensions[$0] == shape.dimensions[$0] })
      else { throw ShapeError("\(inputs[0]) and \(input) do not join along axis \(axis)") }
      shape.dimensions[axis] += input.shape.dimensions[axis]
    }
    return [Spec(shape, inputs[0].dtype)]
  }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return inputs.map { _ in nil } }
    var start = 0
    return inputs.map { input in
      defer { start += input.shape.dimensions[axis] }
      return dy.sliced(axis, start..<start + input.shape.dimensions[axis])
    }
  }
}

extension Tensor {
  /// The same elements under another shape; one extent may be -1 and is inferred.
  public func reshaped(_ shape: Shape) -> Tensor {
    var shape = shape
    if let unknown = shape.dimensions.firstIndex(of: -1) {
      let known = shape.dimensions.enumerated().reduce(1) { $1.offset == unknown ? $0 : $0 * $1.element }
      require(known > 0 && count % known == 0, "reshaped: \(self.shape) does not divide into \(shape)")
      shape.dimensions[unknown] = count / known
    }
    return shape == self.shape ? self : Tensor(Reshape(shape: shape), self)
  }

  public func reshaped(_ dimensions: Int...) -> Tensor { reshaped(Shape(dimensions)) }

  /// Axis `i` of the result is axis `permutation[i]`.
  public func transposed(_ permutation: [Int]) -> Tensor {
    permutation == Array(0..<rank) ? self : Tensor(Transpose(permutation: permutation), self)
  }

  public func transposed(_ permutation: Int...) -> Tensor { transposed(permutation) }

  /// Two axes exchanged.
  public func swappingAxes(_ a: Int, _ b: Int) -> Tensor {
    var permutation = Array(0..<rank)
    permutation.swapAt(shape.axis(a, "swappingAxes"), shape.axis(b, "swappingAxes"))
    return transposed(permutation)
  }

  /// The matrix transpose: the last two axes exchanged.
  public var mT: Tensor { swappingAxes(-1, -2) }

  /// Repeated along axes of extent 1 to `shape`.
  public func broadcast(to shape: Shape) -> Tensor {
    shape == self.shape ? self : Tensor(Broadcast(shape: shape), self)
  }

  /// With a new axis of extent 1 before `axis` (of the result).
  public func expanded(_ axis: Int) -> Tensor {
    var dimensions = shape.dimensions
    dimensions.insert(1, at: axis < 0 ? axis + rank + 1 : axis)
    return reshaped(Shape(dimensions))
  }

  /// Without `axis`, which must have extent 1.
  public func squeezed(_ axis: Int) -> Tensor {
    let axis = shape.axis(axis, "squeezed")
    require(shape.dimensions[axis] == 1, "squeezed: axis \(axis) of \(shape) is not 1")
    var dimensions = shape.dimensions
    dimensions.remove(at: axis)
    return reshaped(Shape(dimensions))
  }

  /// All axes from `first` on joined into one.
  public func flattened(from first: Int = 0) -> Tensor {
    let first = first < 0 ? first + rank : first
    return reshaped(Shape(shape.dimensions[..<first] + [shape.dimensions[first...].reduce(1, *)]))
  }

  /// Elements `range` of `axis`, every `step`-th.
  public func sliced(_ axis: Int, _ range: Range<Int>, by step: Int = 1) -> Tensor {
    let axis = shape.axis(axis, "sliced")
    guard range != 0..<shape.dimensions[axis] || step != 1 else { return self }
    var start = [Int](repeating: 0, count: rank), end = shape.dimensions
    var steps = [Int](repeating: 1, count: rank)
    start[axis] = range.lowerBound
    end[axis] = range.upperBound
    steps[axis] = step
    return Tensor(Slice(start: start, end: end, step: steps), self)
  }

  /// The sub-tensor at `index` of `axis`, without that axis; a negative index counts from the end.
  public func at(_ index: Int, axis: Int = 0) -> Tensor {
    let axis = shape.axis(axis, "at")
    let index = index < 0 ? index + shape.dimensions[axis] : index
    return sliced(axis, index..<index + 1).squeezed(axis)
  }

  /// Parts of the given extents along `axis`.
  public func split(_ extents: [Int], axis: Int) -> [Tensor] {
    require(
      extents.reduce(0, +) == shape[axis], "split: \(extents) do not add up to axis \(axis) of \(shape)")
    var start = 0
    return extents.map { extent in
      defer { start += extent }
      return sliced(axis, start..<start + extent)
    }
  }

  /// `count` equal parts along `axis`.
  public func split(_ count: Int, axis: Int) -> [Tensor] {
    require(shape[axis] % count == 0, "split: axis \(axis) of \(shape) does not divide by \(count)")
    return split([Int](repeating: shape[axis] / count, count: count), axis: axis)
  }

  /// With `value` around (`low`, `high`) and between (`interior`) the elements of each axis.
  public func padded(low: [Int], high: [Int], interior: [Int]? = nil, value: Double = 0) -> Tensor {
    let interior = interior ?? [Int](repeating: 0, count: rank)
    guard (low + high + interior).contains(where: { $0 != 0 }) else { return self }
    let op = Pad(low: low, high: high, interior: interior, hasValue: value != 0)
    return value == 0 ? Tensor(op, self) : Tensor(op, self, literal(value))
  }

  /// The elements in the opposite order along `axes`.
  public func reversed(_ axes: Int...) -> Tensor { Tensor(Reverse(axes: shape.axes(axes, "reversed")), self) }

  /// A tensor filled with one value.
  public static func full(_ value: Double, _ shape: Shape, dtype: DType = .float32) -> Tensor {
    Tensor(value, dtype).broadcast(to: shape)
  }

  public static func zeros(_ shape: Shape, dtype: DType = .float32) -> Tensor { full(0, shape, dtype: dtype) }
  public static func ones(_ shape: Shape, dtype: DType = .float32) -> Tensor { full(1, shape, dtype: dtype) }
}

/// Tensors joined along an existing axis.
public func concatenated(_ tensors: [Tensor], axis: Int) -> Tensor {
  require(!tensors.isEmpty, "concatenated: no tensors")
  if tensors.count == 1 { return tensors[0] }
  return apply(Concatenate(axis: tensors[0].shape.axis(axis, "concatenated")), tensors)[0]
}

/// Tensors of one shape joined along a new axis.
public func stacked(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
  concatenated(tensors.map { $0.expanded(axis) }, axis: axis)
}
