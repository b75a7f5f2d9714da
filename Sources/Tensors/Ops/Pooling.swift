/// The mean or the maximum over windows of x (N, H, W, C) -> (N, H', W', C).
///
/// out = (in + 2 padding - window) / stride + 1. Padding never wins a maximum; it counts as zeros of a mean when
/// `countsPadding`, and not at all otherwise. The gradient of a maximum goes to the first place of the window that has it.
public struct Pool: CompositeOp {
  public enum Kind: UInt8, Hashable, Sendable, CaseIterable { case average, maximum }
  public let kind: Kind
  public let window: Int, stride: Int, padding: Int
  public let countsPadding: Bool

  public init(kind: Kind, window: Int, stride: Int, padding: Int, countsPadding: Bool) {
    self.kind = kind
    self.window = window
    self.stride = stride
    self.padding = padding
    self.countsPadding = countsPadding
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let x = inputs[0]
    guard x.shape.rank == 4, x.dtype.isFloatingPoint, window > 0, stride > 0, padding >= 0,
      padding * 2 <= window
    else { throw ShapeError("needs (N, H, W, C) floats, window and stride > 0, 2 padding <= window: \(x)") }
    guard x.shape[1] + 2 * padding >= window, x.shape[2] + 2 * padding >= window else {
      throw ShapeError("the window \(window) is larger than the padded input \(x)")
    }
    return [Spec([x.shape[0], extent(x.shape[1]), extent(x.shape[2]), x.shape[3]], x.dtype)]
  }

  private func extent(_ n: Int) -> Int { (n + 2 * padding - window) / stride + 1 }

  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    guard let dy = cotangents[0] else { return [nil] }
    let gradient = PoolGradient(self, rows: inputs[0].shape[1], columns: inputs[0].shape[2])
    return [kind == .maximum ? Tensor(gradient, dy, inputs[0]) : Tensor(gradient, dy)]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let x = inputs[0], parts = places(x)
    switch kind {
    case .maximum: return [parts.dropFirst().reduce(parts[0], maximum)]
    case .average:
      let total = parts.dropFirst().reduce(parts[0], +)
      if countsPadding || padding == 0 { return [total * (1 / Double(window * window))] }
      let ones = Tensor.ones([1, x.shape[1], x.shape[2], 1], dtype: x.dtype)
        .padded(low: [0, padding, padding, 0], high: [0, padding, padding, 0])
      let counts = shifted(ones, x.shape)
      return [total / counts.dropFirst().reduce(counts[0], +)]
    }
  }

  /// The window's places in row-major order, each as a strided view of the padded input.
  fileprivate func places(_ x: Tensor) -> [Tensor] {
    let outside = kind == .maximum ? -Double.infinity : 0
    return shifted(
      x.padded(low: [0, padding, padding, 0], high: [0, padding, padding, 0], value: outside), x.shape)
  }

  private func shifted(_ padded: Tensor, _ shape: Shape) -> [Tensor] {
    let rows = (extent(shape[1]) - 1) * stride + 1, columns = (extent(shape[2]) - 1) * stride + 1
    return (0..<window * window).map { place in
      let (u, v) = (place / window, place % window)
      return padded.sliced(1, u..<u + rows, by: stride).sliced(2, v..<v + columns, by: stride)
    }
  }
}

/// The gradient of `Pool`: dy (N, H', W', C) and, of a maximum, x (N, H, W, C) -> dx (N, H, W, C).
public struct PoolGradient: CompositeOp {
  public let pool: Pool
  /// H and W.
  public let rows: Int, columns: Int

  public init(_ pool: Pool, rows: Int, columns: Int) {
    (self.pool, self.rows, self.columns) = (pool, rows, columns)
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] {
    let dy = inputs[0]
    guard dy.shape.rank == 4, inputs.count == (pool.kind == .maximum ? 2 : 1) else {
      throw ShapeError("needs dy (N, H', W', C) and, of a maximum, x, not \(inputs)")
    }
    let x = Spec([dy.shape[0], rows, columns, dy.shape[3]], dy.dtype)
    guard inputs.dropFirst().allSatisfy({ $0 == x }), try pool.outputs([x]) == [dy] else {
      throw ShapeError("dy \(dy) is not of a pool of \(inputs.dropFirst().first ?? x)")
    }
    return [x]
  }

  public func decomposed(_ inputs: [Tensor]) -> [Tensor] {
    let dy = inputs[0], shape = Shape([dy.shape[0], rows, columns, dy.shape[3]])
    guard pool.kind == .maximum else {
      // The mean is linear: where it is differentiated changes nothing.
      let x = Tensor.zeros(shape, dtype: dy.dtype)
      return [vectorJacobianProduct(of: pool.decomposed([x]), [dy], withRespectTo: [x])[0]]
    }
    let x = stopGradient(inputs[1])
    let largest = pool.decomposed([x])[0], places = pool.places(x)
    var shares: [Tensor] = [], isFree: Tensor?
    for place in places {
      let isLargest = place .== largest
      shares.append(select(isFree.map { isLargest .& $0 } ?? isLargest, dy, 0))
      isFree = isFree.map { $0 .& .!isLargest } ?? .!isLargest
    }
    return [vectorJacobianProduct(of: places, shares, withRespectTo: [x])[0]]
  }
}

/// The mean over windows of x (N, H, W, C).
public func averagePool2d(
  _ x: Tensor, window: Int, stride: Int? = nil, padding: Int = 0, countsPadding: Bool = true
) -> Tensor {
  Tensor(
    Pool(
      kind: .average, window: window, stride: stride ?? window, padding: padding, countsPadding: countsPadding
    ),
    x)
}

/// The maximum over windows of x (N, H, W, C).
public func maxPool2d(_ x: Tensor, window: Int, stride: Int? = nil, padding: Int = 0) -> Tensor {
  Tensor(
    Pool(kind: .maximum, window: window, stride: stride ?? window, padding: padding, countsPadding: true), x)
}

/// The mean over `rows` x `columns` windows that cover x (N, H, W, C): window i is floor(i H / rows) ..< ceil((i+1) H / rows).
public func adaptiveAveragePool2d(_ x: Tensor, rows: Int, columns: Int) -> Tensor {
  func weights(_ input: Int, _ output: Int) -> [[Float]] {
    (0..<output).map { i in
      let window = adaptiveWindow(i, input, output)
      return (0..<input).map { window.contains($0) ? 1 / Float(window.count) : 0 }
    }
  }
  return mixed(x, rows: weights(x.shape[1], rows), columns: weights(x.shape[2], columns))
}

/// The maximum over `rows` x `columns` windows that cover x (N, H, W, C), placed as for the mean.
public func adaptiveMaxPool2d(_ x: Tensor, rows: Int, columns: Int) -> Tensor {
  // Windows of unequal size: shorter ones repeat their last element, which changes no maximum.
  func maxima(_ x: Tensor, _ axis: Int, _ output: Int) -> Tensor {
    let windows = (0..<output).map { adaptiveWindow($0, x.shape[axis], output) }
    let widest = windows.map(\.count).max() ?? 1
    let places = windows.flatMap { window in
      (0..<widest).map { Int32(Swift.min(window.lowerBound + $0, window.upperBound - 1)) }
    }
    return x.gathered(Tensor(places, [output, widest]), axis: axis).max([axis + 1])
  }
  return maxima(maxima(x, 1, rows), 2, columns)
}

private func adaptiveWindow(_ i: Int, _ input: Int, _ output: Int) -> Range<Int> {
  i * input / output..<((i + 1) * input + output - 1) / output
}

/// `y[n,i,j,c] = sum_{h,w} rows[i][h] columns[j][w] x[n,h,w,c]`.
func mixed(_ x: Tensor, rows: [[Float]], columns: [[Float]]) -> Tensor {
  let (n, h, w, c) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
  func matrix(_ m: [[Float]], _ input: Int) -> Tensor {
    Tensor(m.flatMap { $0 }, [m.count, input]).cast(to: x.dtype)
  }
  let tall = Tensor(MatMul(), matrix(rows, h), x.reshaped(n, h, w * c))
  let wide = Tensor(MatMul(), matrix(columns, w), tall.reshaped(n * rows.count, w, c))
  return wide.reshaped(n, rows.count, columns.count, c)
}
