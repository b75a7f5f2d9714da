import KalsaeTensors

extension Reshape: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    [NDArray(shape, inputs[0].dtype, inputs[0].values)]
  }
}

extension Transpose: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0]
    let shape = Shape(permutation.map { x.shape[$0] })
    return [x.picking(shape.offsets(strides: permutation.map { x.shape.strides[$0] }), shape)]
  }
}

extension Broadcast: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    [inputs[0].picking(shape.offsets(strides: inputs[0].shape.strides(broadcastTo: shape)), shape)]
  }
}

extension Slice: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0], strides = x.shape.strides
    let shape = Shape(start.indices.map { (end[$0] - start[$0] + step[$0] - 1) / step[$0] })
    let first = zip(start, strides).reduce(0) { $0 + $1.0 * $1.1 }
    return [x.picking(shape.offsets(strides: zip(strides, step).map(*), start: first), shape)]
  }
}

extension Pad: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0]
    let shape = Shape(
      low.indices.map { axis in
        let extent = x.shape[axis]
        return low[axis] + extent + (extent > 0 ? (extent - 1) * interior[axis] : 0) + high[axis]
      })
    var y = NDArray(shape, x.dtype, repeating: hasValue ? inputs[1].values[0] : 0)
    let strides = shape.strides
    let first = zip(low, strides).reduce(0) { $0 + $1.0 * $1.1 }
    let steps = zip(strides, interior).map { $0 * ($1 + 1) }
    for (value, place) in zip(x.values, x.shape.offsets(strides: steps, start: first)) {
      y.values[place] = value
    }
    return [y]
  }
}

extension Reverse: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0]
    var strides = x.shape.strides, first = 0
    for axis in axes {
      first += (x.shape[axis] - 1) * strides[axis]
      strides[axis] = -strides[axis]
    }
    return [x.picking(x.shape.offsets(strides: strides, start: first), x.shape)]
  }
}

extension Concatenate: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    var shape = inputs[0].shape
    shape.dimensions[axis] = inputs.reduce(0) { $0 + $1.shape[axis] }
    let outer = shape.around(axis).outer
    var values: [Double] = []
    values.reserveCapacity(shape.count)
    for o in 0..<outer {
      for input in inputs {
        let run = input.values.count / outer
        values += input.values[o * run..<(o + 1) * run]
      }
    }
    return [NDArray(shape, inputs[0].dtype, values)]
  }
}
