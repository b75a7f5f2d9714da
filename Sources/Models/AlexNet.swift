import KalsaeCheckpoints
import KalsaeNeural
import KalsaeTensors

// AlexNet as in "One weird trick for parallelizing convolutional neural networks" (Krizhevsky 2014, arXiv 1404.5997), the
// single-column form of "ImageNet Classification with Deep Convolutional Neural Networks" (Krizhevsky et al. 2012), with
// the names, keys and numbers of torchvision's `AlexNet`.
//
// N pictures, H x W pixels.

/// `config.json` of AlexNet: the arguments of torchvision's class.
public struct AlexNetConfig: ModelConfig, Equatable {
  public static let identity = (key: "model_type", name: "alexnet")
  public static let unusedKeys: Set<String> = ["architectures"]

  public var num_classes = 1000
  public var dropout = 0.5
  /// torchvision's network is for 3.
  public var num_channels = 3
  /// What the classes are called, as in the configurations of transformers; torchvision's class has no such argument.
  public var id2label: LabelNames? = nil

  public init() {}

  public mutating func fields(_ field: inout ConfigFields) throws(ConfigError) {
    try field("num_classes", &num_classes)
    try field("dropout", &dropout)
    try field("num_channels", &num_channels)
    try field("id2label", &id2label)
  }

  public var problem: (key: String, reason: String)? {
    if let found = firstNotPositive(["num_classes": num_classes, "num_channels": num_channels])
      ?? firstNoProbability(["dropout": dropout])
    {
      return found
    }
    guard let names = id2label?.names, names.count != num_classes else { return nil }
    return ("id2label", "names \(names.count) class(es), but num_classes is \(num_classes)")
  }
}

/// Pictures (N, H, W, channels) of at least 63 x 63 pixels -> logits (N, classes).
public struct AlexNet: PretrainedModel {
  public let config: AlexNetConfig
  /// Convolutions, activations and pools; 224 x 224 pixels become 6 x 6.
  public let features: [any Layer]
  public let classifier: [any Layer]

  /// The smallest height and width.
  public static let smallestSize = 63

  /// Traps when the configuration contradicts itself; one that was read from a file has been checked.
  public init(_ config: AlexNetConfig) {
    if let problem = config.problem { fatalError("AlexNet: '\(problem.key)' \(problem.reason)") }
    self.config = config
    features = [
      Conv2d(config.num_channels, 64, kernel: 11, stride: 4, padding: 2),  // (N, 55, 55, 64)
      ReLU(),
      MaxPool2d(window: 3, stride: 2),  // (N, 27, 27, 64)
      Conv2d(64, 192, kernel: 5, padding: 2),  // (N, 27, 27, 192)
      ReLU(),
      MaxPool2d(window: 3, stride: 2),  // (N, 13, 13, 192)
      Conv2d(192, 384, kernel: 3, padding: 1),  // (N, 13, 13, 384)
      ReLU(),
      Conv2d(384, 256, kernel: 3, padding: 1),  // (N, 13, 13, 256)
      ReLU(),
      Conv2d(256, 256, kernel: 3, padding: 1),
      ReLU(),
      MaxPool2d(window: 3, stride: 2),  // (N, 6, 6, 256)
    ]
    classifier = [
      Dropout(config.dropout),
      Linear(256 * 6 * 6, 4096),
      ReLU(),
      Dropout(config.dropout),
      Linear(4096, 4096),
      ReLU(),
      Linear(4096, config.num_classes),
    ]
  }

  /// `observe` sees the output of each layer under its key.
  public func callAsFunction(_ pixels: Tensor, observe: (String, Tensor) -> Void = { _, _ in }) -> Tensor {
    require(
      pixels.rank == 4 && pixels.shape[3] == config.num_channels && pixels.shape[1] >= Self.smallestSize
        && pixels.shape[2] >= Self.smallestSize,
      "AlexNet: needs pictures (N, H, W, \(config.num_channels)) of at least \(Self.smallestSize) x "
        + "\(Self.smallestSize) pixels, not \(pixels.shape)")
    var x = pixels
    for (i, layer) in features.enumerated() {
      x = layer(x)
      observe("features.\(i)", x)
    }
    x = adaptiveAveragePool2d(x, rows: 6, columns: 6)
    observe("avgpool", x)
    // The linear layer's weights count channels first.
    x = x.transposed(0, 3, 1, 2).flattened(from: 1)  // (N, 256 6 6)
    for (i, layer) in classifier.enumerated() {
      x = layer(x)
      observe("classifier.\(i)", x)
    }
    return x
  }
}

extension AlexNet {
  /// Takes all layers but the last one from a file; the last one stays as it is.
  public func loadBackbone(from file: SafetensorsFile) throws(LoadError) {
    try loadParameters(
      into: contents.filter { !$0.hasPrefix("classifier.6.") }, from: file, keyMap: ["classifier.6.*": nil])
  }
}
