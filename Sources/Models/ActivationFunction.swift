import KalsaeCheckpoints
import KalsaeNeural
import KalsaeTensors

/// An activation by the name it has in configurations.
public enum ActivationFunction: String, CaseIterable, ConfigField {
  case silu, swish, gelu, relu, mish

  /// The form that normalisations can apply themselves.
  private var fused: Activation.Kind? {
    switch self {
    case .silu, .swish: .silu
    case .gelu: .gelu
    case .relu, .mish: nil
    }
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    switch self {
    case .silu, .swish: KalsaeTensors.silu(x)
    case .gelu: KalsaeTensors.gelu(x)
    case .relu: KalsaeTensors.relu(x)
    // x tanh(log(1 + exp(x))) (arXiv 1908.08681), the logarithm without overflow.
    case .mish: x * tanh(KalsaeTensors.relu(x) + log1p(exp(-abs(x))))
    }
  }

  /// The activation of the normalised x.
  public func callAsFunction(_ norm: GroupNorm, _ x: Tensor) -> Tensor {
    guard let fused else { return self(norm(x)) }
    return norm(x, activation: fused)
  }
}
