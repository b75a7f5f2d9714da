import KalsaeTensors

/// Sets elements to zero with a probability and scales the others up, in training mode only (Srivastava et al. 2014).
public struct Dropout: Layer {
  public let probability: Double

  public init(_ probability: Double) {
    require(
      (0..<1).contains(probability), "Dropout: the probability must be in [0, 1), not \(probability)")
    self.probability = probability
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { dropout(x, probability: probability) }
}

/// (N, H, W, C) -> (N, factor H, factor W, C).
public struct Upsample2d: Layer {
  public enum Method: Sendable, Hashable { case nearest, bilinear }
  public let factor: Int
  public let method: Method

  public init(factor: Int = 2, method: Method = .nearest) {
    require(factor > 0, "Upsample2d: the factor must be positive, not \(factor)")
    (self.factor, self.method) = (factor, method)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    switch method {
    case .nearest: upsampleNearest2d(x, factor: factor)
    case .bilinear: resizeBilinear2d(x, rows: x.shape[1] * factor, columns: x.shape[2] * factor)
    }
  }
}

/// The maximum of each window x window part, every `stride` pixels: (N, H, W, C) -> (N, H', W', C).
public struct MaxPool2d: Layer {
  public let window: Int, stride: Int

  public init(window: Int, stride: Int) {
    require(window > 0 && stride > 0, "MaxPool2d: a window of \(window) every \(stride)")
    (self.window, self.stride) = (window, stride)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { maxPool2d(x, window: window, stride: stride) }
}

/// `max(x, 0)`, as an element of a sequence of layers.
public struct ReLU: Layer {
  public init() {}
  public func callAsFunction(_ x: Tensor) -> Tensor { relu(x) }
}

/// The mean of each factor x factor window: (N, H, W, C) -> (N, H / factor, W / factor, C), rounded down.
public struct Downsample2d: Layer {
  public let factor: Int

  public init(factor: Int = 2) {
    require(factor > 0, "Downsample2d: the factor must be positive, not \(factor)")
    self.factor = factor
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { averagePool2d(x, window: factor) }
}
