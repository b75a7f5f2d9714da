import KalsaeCheckpoints
import KalsaeModels
import KalsaeNeural
import KalsaeTensors

/// A network that puts pictures into classes: (N, H, W, channels) -> logits (N, classes).
public enum ImageClassifier: Module {
  case vit(ViTForImageClassification)
  case alexNet(AlexNet)

  /// `observe` sees the output of each block under its key.
  public func callAsFunction(_ pixels: Tensor, observe: (String, Tensor) -> Void = { _, _ in }) -> Tensor {
    switch self {
    case .vit(let model): model(pixels, observe: observe)
    case .alexNet(let model): model(pixels, observe: observe)
    }
  }

  /// Takes everything but the last layer from a file of the same architecture.
  public func loadBackbone(from file: SafetensorsFile) throws(LoadError) {
    switch self {
    case .vit(let model): try model.loadBackbone(from: file)
    case .alexNet(let model): try model.loadBackbone(from: file)
    }
  }
}
