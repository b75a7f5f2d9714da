import KalsaeCheckpoints
import KalsaeData
import KalsaeModels
import KalsaeNeural
import KalsaePipelines
import KalsaeTensors
import KalsaeTokenizers

// What a classifier's configuration leaves open, from its data and from the model that it starts from.

extension ClassifierConfiguration {
  /// The network as configured, or else that of the model to start from, with this run's dropout.
  func pretrainedModel() throws -> ClassifierModel {
    guard let from, !model.isComplete else { return model }
    let config = try ModelSource(from).config
    var known: ClassifierModel =
      switch model.kind {
      case .vit: .vit(try ViTConfig(config))
      case .alexnet: .alexnet(try AlexNetConfig(config))
      case .bert: .bert(try BertConfig(config))
      }
    known.setDropout(dropout)
    return known
  }

  /// The network for `pictures`; throws when it cannot take them.
  func completed(_ known: ClassifierModel, for pictures: LabelledPictures) throws -> ClassifierModel {
    let size = pictures.training.size, channels = pictures.training.channels
    func check(_ expected: Int) throws {
      guard channels == expected || channels == 1 else {
        throw RunError(
          "the pictures have \(channels) channels, but model.num_channels is \(expected): change num_channels"
        )
      }
    }
    switch known {
    case .vit(let given):
      var vit = given ?? .standard(size: size, channels: channels, dropout: dropout)
      try check(vit.num_channels)
      let (image, patch) = (vit.image_size, vit.patch_size)
      guard image == ImageSize(size) else {
        throw RunError(
          "the pictures have \(size) x \(size) pixels, but model.image_size is \(image.rows) x \(image.columns): "
            + "give another --image-size or change image_size")
      }
      guard size % patch.rows == 0, size % patch.columns == 0 else {
        throw RunError(
          "pictures of \(size) x \(size) pixels do not divide into patches of \(patch.rows) x \(patch.columns): "
            + "choose an --image-size that is a multiple, or another patch_size")
      }
      (vit.id2label, vit.architectures) = (LabelNames(pictures.classNames), ["ViTForImageClassification"])
      if let problem = vit.problem { throw RunError("model.\(problem.key) \(problem.reason)") }
      return .vit(vit)
    case .alexnet(let given):
      var alexNet = given ?? AlexNetConfig()
      if given == nil { alexNet.dropout = dropout }
      try check(alexNet.num_channels)
      guard size >= AlexNet.smallestSize else {
        throw RunError(
          "AlexNet needs pictures of at least \(AlexNet.smallestSize) x \(AlexNet.smallestSize) pixels, not "
            + "\(size) x \(size): give a larger --image-size, such as 64")
      }
      (alexNet.id2label, alexNet.num_classes) = (LabelNames(pictures.classNames), pictures.classNames.count)
      if let problem = alexNet.problem { throw RunError("model.\(problem.key) \(problem.reason)") }
      return .alexnet(alexNet)
    case .bert: fatalError("pictures for BERT")
    }
  }

  /// BERT for texts of these classes; throws when it does not go with the tokenizer.
  func completed(
    _ known: ClassifierModel, for classNames: [String], _ tokenizer: Tokenizer
  ) throws -> BertConfig {
    guard case .bert(let given) = known else { fatalError("texts for a network of pictures") }
    let padding = tokenizer.id(of: "[PAD]").map(Int.init)
    var bert =
      given
      ?? .standard(
        vocabulary: tokenizer.vocabularySize, padding: padding, context: contextLength, dropout: dropout)
    // Left out, the size of the vocabulary follows from the tokenizer.
    if from == nil, bert.vocab_size == BertConfig().vocab_size { bert.vocab_size = tokenizer.vocabularySize }
    guard bert.vocab_size >= tokenizer.vocabularySize else {
      throw RunError(
        "the tokenizer has \(tokenizer.vocabularySize) tokens, but model.vocab_size is \(bert.vocab_size): it is "
          + "not this model's")
    }
    guard bert.max_position_embeddings >= contextLength else {
      throw RunError(
        "context_length is \(contextLength), but model.max_position_embeddings is "
          + "\(bert.max_position_embeddings): give --context-length")
    }
    (bert.id2label, bert.architectures) = (LabelNames(classNames), ["BertForSequenceClassification"])
    if let problem = bert.problem { throw RunError("model.\(problem.key) \(problem.reason)") }
    return bert
  }

  /// How pictures become the input of a complete configuration's network.
  func imageProcessor() throws -> ImageProcessor {
    let size = model.imageSize ?? imageSize ?? 64, channels = model.channels
    var standard = ImageProcessor.standard(model.kind, size: ImageSize(size), channels: channels)
    if let from, imageMean == nil || imageStd == nil {
      standard = try ModelSource(from).imageProcessor(over: standard)
    }
    func perChannel(_ key: String, _ values: [Double]) throws -> [Double] {
      guard values.count == channels || values.count == 1 else {
        throw RunError("\(key) has \(values.count) numbers, but the model takes \(channels) channel(s)")
      }
      return values.count == channels ? values : Array(repeating: values[0], count: channels)
    }
    return ImageProcessor(
      size: ImageSize(size), channels: channels,
      mean: try perChannel("image_mean", imageMean ?? standard.mean),
      deviation: try perChannel("image_std", imageStd ?? standard.deviation))
  }
}

extension ClassifierModel {
  var isComplete: Bool {
    switch self {
    case .vit(let config): config != nil
    case .alexnet(let config): config != nil
    case .bert(let config): config != nil
    }
  }

  /// Height and width of the pictures, where the network fixes them.
  var imageSize: Int? {
    guard case .vit(let config?) = self else { return nil }
    return config.image_size.rows
  }

  /// Channels of the pictures.
  var channels: Int {
    switch self {
    case .vit(let config): config?.num_channels ?? 3
    case .alexnet(let config): config?.num_channels ?? 3
    case .bert: 0
    }
  }
}

extension ImageProcessor {
  /// As usual for a network: the mean and deviation of ImageNet for AlexNet, the middle of the range for ViT.
  public static func standard(_ kind: ClassifierKind, size: ImageSize, channels: Int) -> ImageProcessor {
    if kind == .alexnet, channels == 3 {
      return ImageProcessor(
        size: size, channels: 3, mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225])
    }
    let half = Array(repeating: 0.5, count: channels)
    return ImageProcessor(size: size, channels: channels, mean: half, deviation: half)
  }
}

extension ModelSource {
  /// How the network's pictures are prepared; `standard` counts for what it does not say.
  public func imageProcessor(over standard: ImageProcessor) throws -> ImageProcessor {
    guard let run else { return try ImageProcessor(folder: path, over: standard) }
    return try run.configuration(ClassifierConfiguration.self).imageProcessor()
  }
}
