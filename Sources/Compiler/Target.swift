import KalsaeTensors

/// Where a value's elements lie in memory: element (i, j, ...) at `offset + i strides[0] + j strides[1] + ...`.
package struct Layout: Hashable, Sendable {
  package var shape: Shape
  package var offset: Int
  package var strides: [Int]

  package init(_ shape: Shape, offset: Int = 0, strides: [Int]? = nil) {
    self.shape = shape
    self.offset = offset
    self.strides = strides ?? shape.strides
  }

  /// Row-major without gaps; strides of axes with one element do not matter.
  package var isDense: Bool {
    var expected = 1
    for axis in stride(from: shape.rank - 1, through: 0, by: -1) where shape.dimensions[axis] != 1 {
      if strides[axis] != expected { return shape.count == 0 }
      expected *= shape.dimensions[axis]
    }
    return true
  }

  /// The same elements in the same order under another shape, or nil when no strides lead to them.
  package func reshaped(_ target: Shape) -> Layout? {
    if isDense { return Layout(target, offset: offset) }
    let old = shape.dimensions.indices.filter { shape.dimensions[$0] != 1 }
    var steps = [Int](repeating: 1, count: target.rank)
    var next = 0, axis = 0
    while axis < target.rank {
      guard target.dimensions[axis] != 1 else {
        axis += 1
        continue
      }
      // The fewest axes from here on, of both shapes, that hold equally many elements.
      var end = axis + 1, last = next
      var wanted = target.dimensions[axis], held = shape.dimensions[old[next]]
      while wanted != held {
        if wanted < held {
          wanted *= target.dimensions[end]
          end += 1
        } else {
          let (outer, inner) = (old[last], old[last + 1])
          guard strides[outer] == strides[inner] * shape.dimensions[inner] else { return nil }
          last += 1
          held *= shape.dimensions[inner]
        }
      }
      var step = strides[old[last]]
      for place in (axis..<end).reversed() {
        steps[place] = step
        step *= target.dimensions[place]
      }
      (axis, next) = (end, last + 1)
    }
    return Layout(target, offset: offset, strides: steps)
  }
}

/// An operand of a kernel. A kernel receives the address of its first element.
package struct Operand: Sendable {
  package let spec: Spec
  package let layout: Layout
  /// The value, when it is a number known when the plan is made.
  package let constant: Double?

  package init(_ spec: Spec, _ layout: Layout? = nil, constant: Double? = nil) {
    self.spec = spec
    self.layout = layout ?? Layout(spec.shape)
    self.constant = constant
  }

  package var shape: Shape { spec.shape }
  package var dtype: DType { spec.dtype }
}

/// What the compiler must know of a backend.
package protocol Target: Sendable {
  /// Whether the backend has a kernel of its own for a composite op; otherwise it is decomposed.
  func claims(_ op: any CompositeOp, _ inputs: [Spec]) -> Bool

  /// Whether the kernel of `op` can read its input number `index` through `layout` instead of a dense copy.
  func reads(_ layout: Layout, input index: Int, of op: any Op, _ inputs: [Spec]) -> Bool

  /// Pairs of outputs and inputs that the kernel of `op` may keep in the same memory.
  func inPlace(_ op: any Op, _ inputs: [Spec]) -> [(output: Int, input: Int)]

  /// The form in which `product`, of these operands, wants to find its right operand, where that is arranged once and
  /// kept; nil when it is better read as it lies, which is as `weights` says.
  func packing(of product: FusedMatMul, _ inputs: [Spec], weights: Layout) -> Packing?

  /// The form in which `convolution`, of these operands, wants to find its kernel, where that is arranged once and kept.
  func packing(of convolution: FusedConvolution, _ inputs: [Spec]) -> Packing?

  /// The passes this backend profits from.
  var passes: OptionalPasses { get }
}

extension Target {
  package func packing(of product: FusedMatMul, _ inputs: [Spec], weights: Layout) -> Packing? { nil }
  package func packing(of convolution: FusedConvolution, _ inputs: [Spec]) -> Packing? { nil }
}

/// A backend's own arrangement of a matrix.
package struct Packing: Hashable, Sendable {
  /// Equal for arrangements that are the same.
  package let layout: UInt64
  package let byteCount: Int

  package init(layout: UInt64, byteCount: Int) {
    (self.layout, self.byteCount) = (layout, byteCount)
  }
}
