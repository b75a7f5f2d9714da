import KalsaeTensors

extension Reduce: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0], strides = x.shape.strides
    let kept = (0..<x.shape.rank).filter { !axes.contains($0) }
    let shape = Shape(kept.map { x.shape[$0] })
    let window = Shape(axes.map { x.shape[$0] }).offsets(strides: axes.map { strides[$0] })
    let values = shape.offsets(strides: kept.map { strides[$0] }).map { first in
      combined(window.lazy.map { x.values[first + $0] })
    }
    return [NDArray(shape, result ?? x.dtype, values)]
  }

  private func combined(_ values: some Sequence<Double>) -> Double {
    switch kind {
    case .sum: values.reduce(0, +)
    case .product: values.reduce(1, *)
    case .maximum: values.reduce(-.infinity) { $0.isNaN || $0 > $1 ? $0 : $1 }
    case .minimum: values.reduce(.infinity) { $0.isNaN || $0 < $1 ? $0 : $1 }
    }
  }
}

extension ArgReduce: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0]
    var shape = x.shape
    shape.dimensions.remove(at: axis)
    let (outer, extent, inner) = x.shape.around(axis)
    var values: [Double] = []
    for o in 0..<outer {
      for i in 0..<inner {
        func element(_ place: Int) -> Double { x.values[(o * extent + place) * inner + i] }
        // A NaN wins, as it does in the maximum itself.
        let best = (1..<extent).reduce(0) { best, place in
          let a = element(best), b = element(place)
          return !a.isNaN && (b.isNaN || (kind == .maximum ? b > a : b < a)) ? place : best
        }
        values.append(Double(best))
      }
    }
    return [NDArray(shape, .int32, values)]
  }
}

extension CumulativeSum: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    var y = inputs[0]
    let (outer, extent, inner) = y.shape.around(axis)
    let places = reverse ? Array((0..<extent).reversed()) : Array(0..<extent)
    for o in 0..<outer {
      for i in 0..<inner {
        var sum = 0.0
        for place in places.map({ (o * extent + $0) * inner + i }) {
          let value = y.values[place]
          y.values[place] = exclusive ? sum : sum + value
          sum += value
        }
      }
    }
    return [y]
  }
}
