import KalsaeTensors

/// A dense array of Doubles in row-major order: a value of the reference implementation.
///
/// Integers up to 2^53 are exact; truth is 1 and 0.
public struct NDArray: Sendable, Equatable {
  public var shape: Shape
  public var dtype: DType
  public var values: [Double]

  public init(_ shape: Shape, _ dtype: DType, _ values: [Double]) {
    require(values.count == shape.count, "NDArray: \(values.count) values do not fill \(shape)")
    self.shape = shape
    self.dtype = dtype
    self.values = values
  }

  public init(_ shape: Shape, _ dtype: DType, repeating value: Double) {
    self.init(shape, dtype, [Double](repeating: value, count: shape.count))
  }

  public var spec: Spec { Spec(shape, dtype) }

  /// The elements at `offsets` under a new shape.
  func picking(_ offsets: [Int], _ shape: Shape) -> NDArray {
    NDArray(shape, dtype, offsets.map { values[$0] })
  }
}

extension Shape {
  /// The place in memory of each index of this shape, in row-major order, for the given `strides` and first place.
  func offsets(strides: [Int], start: Int = 0) -> [Int] {
    var offsets = [start]
    for (extent, stride) in zip(dimensions, strides) {
      var next: [Int] = []
      next.reserveCapacity(offsets.count * extent)
      for offset in offsets {
        for i in 0..<extent { next.append(offset + i * stride) }
      }
      offsets = next
    }
    return offsets
  }

  /// Strides that read a tensor of this shape as one of `shape`: 0 along repeated axes.
  func strides(broadcastTo shape: Shape) -> [Int] {
    let own = strides
    return (0..<shape.rank).map { axis in
      let source = axis - (shape.rank - rank)
      return source < 0 || dimensions[source] == 1 ? 0 : own[source]
    }
  }

  /// Extents before, of and after `axis`, as if the tensor had three axes.
  func around(_ axis: Int) -> (outer: Int, extent: Int, inner: Int) {
    (
      dimensions[..<axis].reduce(1, *), dimensions[axis], dimensions[(axis + 1)...].reduce(1, *)
    )
  }
}
