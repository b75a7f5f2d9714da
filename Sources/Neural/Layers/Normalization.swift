import KalsaeTensors

/// Group normalisation of (N, ..., C) with weight and bias (C) (arXiv 1803.08494).
public struct GroupNorm: Layer {
  public let weight: Parameter, bias: Parameter
  public let groups: Int
  public let epsilon: Double

  public init(groups: Int, channels: Int, epsilon: Double = 1e-5) {
    require(
      groups > 0 && channels % groups == 0,
      "GroupNorm: \(channels) channels do not divide into \(groups) groups")
    weight = Parameter(.ones([channels]))
    bias = Parameter(.zeros([channels]))
    (self.groups, self.epsilon) = (groups, epsilon)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { self(x, activation: nil) }

  /// Normalises and then applies `activation`, in one pass over the data.
  public func callAsFunction(_ x: Tensor, activation: Activation.Kind?) -> Tensor {
    groupNorm(
      x, groups: groups, weight: weight.value, bias: bias.value, epsilon: epsilon, activation: activation)
  }
}

/// Layer normalisation of (..., C) over its last axis with weight and bias (C) (arXiv 1607.06450; "Formal Algorithms for
/// Transformers", algorithm 6, layer_norm).
public struct LayerNorm: Layer {
  public let weight: Parameter
  public let bias: Parameter?
  public let epsilon: Double

  public init(_ features: Int, epsilon: Double = 1e-5, bias: Bool = true) {
    weight = Parameter(.ones([features]))
    self.bias = bias ? Parameter(.zeros([features])) : nil
    self.epsilon = epsilon
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    layerNorm(x, weight: weight.value, bias: bias?.value, epsilon: epsilon)
  }
}

/// Root-mean-square normalisation of (..., C) over its last axis with weight (C) (arXiv 1910.07467).
public struct RMSNorm: Layer {
  public let weight: Parameter
  public let epsilon: Double

  public init(_ features: Int, epsilon: Double = 1e-6) {
    weight = Parameter(.ones([features]))
    self.epsilon = epsilon
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { rmsNorm(x, weight: weight.value, epsilon: epsilon) }
}

/// Batch normalisation of (..., C) with weight and bias (C) (arXiv 1502.03167).
///
/// In training mode a batch is normalised by its own statistics, and the running ones move towards them; evaluate the
/// module's slots to commit that. Otherwise the running statistics are used.
public struct BatchNorm: Layer {
  public let weight: Parameter, bias: Parameter
  public let running_mean: State, running_var: State
  /// Batches seen, int64; kept because checkpoints have it.
  public let num_batches_tracked: State
  public let epsilon: Double
  /// The weight of the newest batch in the running statistics.
  public let momentum: Double

  public init(_ channels: Int, epsilon: Double = 1e-5, momentum: Double = 0.1) {
    weight = Parameter(.ones([channels]))
    bias = Parameter(.zeros([channels]))
    running_mean = State(.zeros([channels]))
    running_var = State(.ones([channels]))
    num_batches_tracked = State(Tensor([Int64(0)], []))
    (self.epsilon, self.momentum) = (epsilon, momentum)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    guard Mode.isTraining else {
      return batchNorm(
        x, mean: running_mean.value, variance: running_var.value, weight: weight.value, bias: bias.value,
        epsilon: epsilon)
    }
    let (y, mean, variance) = batchNorm(x, weight: weight.value, bias: bias.value, epsilon: epsilon)
    // Running variances are unbiased: n / (n - 1) of the one that normalises.
    let n = Double(x.count / Swift.max(x.shape[-1], 1))
    move(running_mean, towards: mean)
    move(running_var, towards: variance * (n / Swift.max(n - 1, 1)))
    num_batches_tracked.value = num_batches_tracked.value + 1
    return y
  }

  private func move(_ state: State, towards statistic: Tensor) {
    state.value = state.value * (1 - momentum) + stopGradient(statistic) * momentum
  }
}
