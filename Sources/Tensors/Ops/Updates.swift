/// An op that may write an output over an input of the same spec, for slots that are updated in place.
public protocol InPlaceOp: Op {
  /// Pairs of output and input indices that may share memory.
  func aliases(inputCount: Int) -> [(output: Int, input: Int)]
}

/// The sum of the squares of all elements of all inputs, float32.
public struct SumOfSquares: CompositeOp {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [Spec([], .float32)] }
  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let sums = inputs.map { square($0.cast(to: .float32)).sum() }
    return [sums.dropFirst().reduce(sums.first ?? Tensor(0), +)]
  }
}

/// One step of Adam (arXiv 1412.6980, algorithm 1) or AdamW (arXiv 1711.05101) for `count` parameters at once.
///
/// Inputs: the scalars learning rate, beta1, beta2, epsilon, weight decay, 1 - beta1^t, 1 - beta2^t, gradient scale
/// (float32) and whether to update at all (bool); then `count` each of p, g, m, v. Outputs: `count` each of p, m, v.
public struct AdamUpdate: CompositeOp, InPlaceOp {
  public static let scalarCount = 9
  /// Where the inputs say whether to update at all.
  package static let conditionIndex = 8
  public let count: Int
  /// Weight decay acts on the parameter (AdamW) rather than on the gradient (Adam with L2 penalty).
  public let isDecoupled: Bool

  public init(count: Int, isDecoupled: Bool) {
    self.count = count
    self.isDecoupled = isDecoupled
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let p = try updateGroups(inputs, scalars: Self.scalarCount, groups: 4, count: count)[0]
    return Array(p) + Array(p) + Array(p)
  }

  public func aliases(inputCount: Int) -> [(output: Int, input: Int)] {
    // p, m and v are the lists 0, 2 and 3 of the inputs.
    [0, 2, 3].enumerated().flatMap { list, source in
      (0..<count).map { (output: list * count + $0, input: Self.scalarCount + source * count + $0) }
    }
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let (rate, beta1, beta2) = (inputs[0], inputs[1], inputs[2])
    let (epsilon, decay, correction1, correction2) = (inputs[3], inputs[4], inputs[5], inputs[6])
    let (scale, update) = (inputs[7], inputs[8])
    let lists = (0..<4).map { g in (0..<count).map { inputs[Self.scalarCount + g * count + $0] } }
    var p: [Tensor] = [], m: [Tensor] = [], v: [Tensor] = []
    for i in 0..<count {
      let old = lists[0][i]
      var g = lists[1][i] * scale
      if !isDecoupled { g = g + old * decay }
      let first = lists[2][i] * beta1 + g * (1 - beta1)
      let second = lists[3][i] * beta2 + square(g) * (1 - beta2)
      let step = first / correction1 / (sqrt(second / correction2) + epsilon)
      let decayed = isDecoupled ? old - old * (rate * decay) : old
      p.append(select(update, decayed - step * rate, old))
      m.append(select(update, first, lists[2][i]))
      v.append(select(update, second, lists[3][i]))
    }
    return p + m + v
  }
}

/// One step of stochastic gradient descent with momentum, as PyTorch's `SGD`, for `count` parameters at once.
///
/// Inputs: the scalars learning rate, momentum, weight decay, gradient scale (float32), whether to update (bool); then
/// `count` each of p, g, velocity. Outputs: `count` each of p, velocity. velocity' = momentum velocity + g.
public struct SGDUpdate: CompositeOp, InPlaceOp {
  public static let scalarCount = 5
  public let count: Int
  public let isNesterov: Bool

  public init(count: Int, isNesterov: Bool) {
    self.count = count
    self.isNesterov = isNesterov
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let p = try updateGroups(inputs, scalars: Self.scalarCount, groups: 3, count: count)[0]
    return Array(p) + Array(p)
  }

  public func aliases(inputCount: Int) -> [(output: Int, input: Int)] {
    [0, 2].enumerated().flatMap { list, source in
      (0..<count).map { (output: list * count + $0, input: Self.scalarCount + source * count + $0) }
    }
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let (rate, momentum, decay, scale, update) = (inputs[0], inputs[1], inputs[2], inputs[3], inputs[4])
    let lists = (0..<3).map { g in (0..<count).map { inputs[Self.scalarCount + g * count + $0] } }
    var p: [Tensor] = [], velocities: [Tensor] = []
    for i in 0..<count {
      let old = lists[0][i]
      let g = lists[1][i] * scale + old * decay
      let velocity = lists[2][i] * momentum + g
      let step = isNesterov ? g + velocity * momentum : velocity
      p.append(select(update, old - step * rate, old))
      velocities.append(select(update, velocity, lists[2][i]))
    }
    return p + velocities
  }
}

/// `average' = decay average + (1 - decay) value` for `count` tensors at once.
///
/// Inputs: the scalars decay (float32) and whether to update (bool); then `count` each of average and value.
public struct AverageUpdate: CompositeOp, InPlaceOp {
  public static let scalarCount = 2
  public let count: Int
  public init(count: Int) { self.count = count }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    Array(try updateGroups(inputs, scalars: Self.scalarCount, groups: 2, count: count)[0])
  }

  public func aliases(inputCount: Int) -> [(output: Int, input: Int)] {
    (0..<count).map { (output: $0, input: Self.scalarCount + $0) }
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    (0..<count).map { i in
      let average = inputs[Self.scalarCount + i], value = inputs[Self.scalarCount + count + i]
      return select(inputs[1], average + (value - average) * (1 - inputs[0]), average)
    }
  }
}

/// The inputs after the scalars in `groups` lists of equal specs.
private func updateGroups(
  _ inputs: [Spec], scalars: Int, groups: Int, count: Int
) throws(ShapeError) -> [ArraySlice<Spec>] {
  guard inputs.count == scalars + groups * count else {
    throw ShapeError("\(inputs.count) inputs for \(groups) lists of \(count) and \(scalars) scalars")
  }
  let lists = (0..<groups).map { inputs[scalars + $0 * count..<scalars + ($0 + 1) * count] }
  for list in lists {
    for (a, b) in zip(lists[0], list) {
      guard a == b, a.dtype == .float32 else {
        throw ShapeError("\(a) and \(b) in one update; float32 needed")
      }
    }
  }
  return lists
}
