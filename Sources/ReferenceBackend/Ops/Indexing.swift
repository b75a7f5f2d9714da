import KalsaeTensors

extension Gather: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0], indices = inputs[1]
    let (outer, extent, inner) = x.shape.around(axis)
    var values: [Double] = []
    for o in 0..<outer {
      for index in indices.values {
        let first = (o * extent + place(index, in: extent, Self.name)) * inner
        values += x.values[first..<first + inner]
      }
    }
    let d = x.shape.dimensions
    return [
      NDArray(Shape(Array(d[..<axis] + indices.shape.dimensions + d[(axis + 1)...])), x.dtype, values)
    ]
  }
}

extension ScatterAdd: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let updates = inputs[0], indices = inputs[1]
    let d = updates.shape.dimensions
    let shape = Shape(Array(d[..<axis] + [extent] + d[(axis + indices.shape.rank)...]))
    var y = hasBase ? inputs[2] : NDArray(shape, updates.dtype, repeating: 0)
    let (outer, _, inner) = shape.around(axis)
    var source = 0
    for o in 0..<outer {
      for index in indices.values {
        let first = (o * extent + place(index, in: extent, Self.name)) * inner
        for i in 0..<inner { y.values[first + i] += updates.values[source + i] }
        source += inner
      }
    }
    return [y]
  }
}

extension GatherAlong: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0], indices = inputs[1]
    let places = placesAlong(axis, indices, extent: x.shape[axis], Self.name)
    return [x.picking(places, indices.shape)]
  }
}

extension ScatterAddAlong: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let updates = inputs[0], indices = inputs[1]
    var shape = updates.shape
    shape.dimensions[axis] = extent
    var y = NDArray(shape, updates.dtype, repeating: 0)
    for (value, place) in zip(updates.values, placesAlong(axis, indices, extent: extent, Self.name)) {
      y.values[place] += value
    }
    return [y]
  }
}

/// For each index, its place in a tensor whose `axis` has `extent` and whose other axes are those of `indices`.
private func placesAlong(_ axis: Int, _ indices: NDArray, extent: Int, _ op: String) -> [Int] {
  let (_, count, inner) = indices.shape.around(axis)
  return indices.values.enumerated().map { at, index in
    let (outer, i) = (at / (count * inner), at % inner)
    return (outer * extent + place(index, in: extent, op)) * inner + i
  }
}

private func place(_ index: Double, in extent: Int, _ op: String) -> Int {
  let place = Int(index)
  require(place >= 0 && place < extent, "\(op): index \(place) is outside an axis of extent \(extent)")
  return place
}

extension UpdateSlice: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    var y = inputs[0]
    let update = inputs[1], start = Int(inputs[2].values[0])
    let (outer, extent, inner) = y.shape.around(axis)
    let count = update.shape[axis]
    require(
      start >= 0 && start + count <= extent,
      "UpdateSlice: \(count) elements from \(start) on are outside an axis of extent \(extent)")
    for o in 0..<outer {
      let target = (o * extent + start) * inner, source = o * count * inner
      for i in 0..<count * inner { y.values[target + i] = update.values[source + i] }
    }
    return [y]
  }
}

extension Sort: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0]
    var sorted = x, indices = NDArray(x.shape, .int32, repeating: 0)
    let (outer, extent, inner) = x.shape.around(axis)
    for o in 0..<outer {
      for i in 0..<inner {
        func at(_ place: Int) -> Int { (o * extent + place) * inner + i }
        let order = (0..<extent).sorted { p, q in
          let a = x.values[at(p)], b = x.values[at(q)]
          if a.isNaN || b.isNaN { return !a.isNaN || (b.isNaN && p < q) }
          return a == b ? p < q : descending ? a > b : a < b
        }
        for (place, source) in order.enumerated() {
          sorted.values[at(place)] = x.values[at(source)]
          indices.values[at(place)] = Double(source)
        }
      }
    }
    return [sorted, indices]
  }
}

extension Iota: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let strides = (0..<shape.rank).map { $0 == axis ? 1 : 0 }
    return [NDArray(shape, dtype, shape.offsets(strides: strides).map(Double.init))]
  }
}
