/// The extents of a tensor's axes, outermost first.
public struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, CustomStringConvertible {
  public var dimensions: [Int]

  public init(_ dimensions: [Int]) { self.dimensions = dimensions }
  public init(arrayLiteral elements: Int...) { dimensions = elements }

  /// The number of axes.
  public var rank: Int { dimensions.count }

  /// The number of elements; 1 for a scalar.
  public var count: Int { dimensions.reduce(1, *) }

  public subscript(axis: Int) -> Int { dimensions[axis < 0 ? axis + dimensions.count : axis] }

  public var description: String { "(" + dimensions.map(String.init).joined(separator: ", ") + ")" }

  /// Row-major strides in elements.
  public var strides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      strides[axis] = strides[axis + 1] * dimensions[axis + 1]
    }
    return strides
  }

  /// The shape both operands broadcast to by NumPy's rule, or nil when they do not fit.
  public static func broadcast(_ a: Shape, _ b: Shape) -> Shape? {
    let rank = Swift.max(a.rank, b.rank)
    var result = [Int](repeating: 1, count: rank)
    for axis in 0..<rank {
      let x = axis - (rank - a.rank), y = axis - (rank - b.rank)
      let m = x < 0 ? 1 : a.dimensions[x], n = y < 0 ? 1 : b.dimensions[y]
      guard m == n || m == 1 || n == 1 else { return nil }
      result[axis] = m == 1 ? n : m
    }
    return Shape(result)
  }

  /// Whether a tensor of this shape can be read as one of `shape` by repeating axes of extent 1.
  public func broadcasts(to shape: Shape) -> Bool { Shape.broadcast(self, shape) == shape }

  /// `axis` counted from the front, trapping when there is no such axis.
  package func axis(_ axis: Int, _ op: StaticString) -> Int {
    let resolved = axis < 0 ? axis + rank : axis
    require(resolved >= 0 && resolved < rank, "\(op): axis \(axis) is outside a tensor of shape \(self)")
    return resolved
  }

  /// Distinct axes counted from the front in ascending order; nil means all of them.
  package func axes(_ axes: [Int]?, _ op: StaticString) -> [Int] {
    guard let axes else { return Array(0..<rank) }
    let resolved = axes.map { axis($0, op) }.sorted()
    require(Set(resolved).count == resolved.count, "\(op): axes \(axes) name one axis twice")
    return resolved
  }
}

/// The shape and element type of one tensor.
public struct Spec: Hashable, Sendable, CustomStringConvertible {
  public var shape: Shape
  public var dtype: DType

  public init(_ shape: Shape, _ dtype: DType) {
    self.shape = shape
    self.dtype = dtype
  }

  public var byteCount: Int { shape.count * dtype.byteCount }
  public var description: String { "\(dtype)\(shape)" }
}

/// Why an op does not accept its operands.
public struct ShapeError: Error, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
