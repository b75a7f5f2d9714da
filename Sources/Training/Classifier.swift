import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeModels
import KalsaeNeural
import KalsaePipelines
import KalsaeRuntime
import KalsaeTensors
import KalsaeTokenizers

/// A trained classifier of pictures or of texts.
///
///     let classifier = try Classifier(runOrModel: "runs/fashion")
///     let classes = try classifier.classify(["shoe.png"])[0]
///     print(classes[0].name, classes[0].probability)
public struct Classifier {
  /// What a classifier says about a class.
  public struct Answer: Sendable, Equatable {
    /// The class's number and name.
    public let label: Int, name: String
    public let probability: Double
  }

  private enum Network {
    case pictures(ImageClassifier, ImageProcessor)
    case texts(BertForSequenceClassification, TextReader)
  }

  public let classNames: [String]
  private let network: Network

  /// Opens a run of `kalsae train classifier`, or a model folder of transformers: ViTForImageClassification or
  /// BertForSequenceClassification; or of torchvision's AlexNet.
  public init(runOrModel path: String, weights: RunWeights = .ema, step: Int? = nil) throws {
    let source = try ModelSource(path)
    if let task = source.task, task != ClassifierConfiguration.task {
      throw RunError("\(path) is a run of kalsae train \(task), which is no classifier")
    }
    let kind = try source.classifierKind()
    let file = try source.weights(weights, step: step)
    let model = try ClassifierModel(source.config)
    let head = [.vit: "ViTForImageClassification", .bert: "BertForSequenceClassification"][kind]
    if let head, case .array(let names)? = source.config.object["architectures"], let name = names.first,
      name != .string(head)
    {
      throw RunError(
        "\(path) holds \(String(name) ?? "another head"), which is no classifier: \(head) is needed")
    }
    classNames = model.classNames ?? []
    switch model {
    case .bert(let config?):
      let tokenizer = try Tokenizer(path: source.tokenizerPath)
      guard tokenizer.vocabularySize <= config.vocab_size else {
        throw RunError(
          "\(source.tokenizerPath) has \(tokenizer.vocabularySize) tokens, the model \(config.vocab_size): it is not "
            + "this model's tokenizer")
      }
      let length =
        try source.run?.configuration(ClassifierConfiguration.self).contextLength
        ?? config.max_position_embeddings
      let bert = BertForSequenceClassification(config)
      try loadParameters(
        into: bert.contents, from: file,
        keyMap: source.run == nil ? BertForSequenceClassification.keyMap : [:])
      network = .texts(bert, TextReader(tokenizer, config, length: length))
    default:
      let size = model.imageSize.map { ImageSize($0) } ?? ImageSize(224)
      let standard = ImageProcessor.standard(kind, size: size, channels: model.channels)
      let processor = try source.imageProcessor(over: standard)
      let images = ImageClassifier(model)
      try images.check(processor.size, path)
      try loadParameters(
        into: images.contents, from: file,
        keyMap: kind == .vit && source.run == nil ? ViTForImageClassification.keyMap : [:])
      network = .pictures(images, processor)
    }
  }

  /// Whether it takes pictures, or texts.
  public var readsPictures: Bool {
    guard case .pictures = network else { return false }
    return true
  }

  /// All classes of each input, the most probable first. An input is the path of a PNG or JPEG file, or a text.
  public func classify(_ inputs: [String]) throws -> [[Answer]] {
    var answers = [[Answer]](repeating: [], count: inputs.count)
    func note(_ logits: Tensor, _ places: some Sequence<Int>) {
      let classes = classNames.count, values = logits.cast(to: .float32).floats()
      for (row, place) in places.enumerated() {
        answers[place] = self.answers(values[row * classes..<(row + 1) * classes])
      }
    }
    switch network {
    case .pictures(let model, let processor):
      for start in stride(from: 0, to: inputs.count, by: 64) {
        let places = start..<min(start + 64, inputs.count)
        let pixels = try places.flatMap { try processor.picture(at: inputs[$0]).pixels }
        note(Mode.evaluation { model(processor(pixels, channels: processor.channels)) }, places)
      }
    case .texts(let model, let reader):
      guard !inputs.isEmpty else { break }
      let batches = try reader.batches(inputs, name: "the input", size: 64, isShuffled: false)
      for batch in try batches.batches() { note(Mode.evaluation { model.logits(batch) }, batch.examples) }
    }
    return answers
  }

  private func answers(_ logits: some Collection<Float>) -> [Answer] {
    let probabilities = logSoftmax(logits).map { exp($0) }
    let order = probabilities.indices.sorted {
      probabilities[$0] == probabilities[$1] ? $0 < $1 : probabilities[$0] > probabilities[$1]
    }
    return order.map { Answer(label: $0, name: classNames[$0], probability: probabilities[$0]) }
  }

  /// How well it does on a labelled set: what `DataSource` names, of which the test part counts, or a table of texts.
  public func evaluate(_ data: String) throws -> ClassificationScore {
    switch network {
    case .pictures(let model, let processor):
      let kind: ClassifierKind = if case .vit = model { .vit } else { .alexnet }
      guard processor.size.rows == processor.size.columns else {
        throw RunError("labelled sets are of square pictures, this model takes others")
      }
      let pictures = try DataSource(ofPictures: data, for: kind).testPart
        .openTest(size: processor.size.rows, channels: processor.channels)
      guard pictures.channels == 1 || pictures.channels == processor.channels else {
        throw RunError("\(data) has \(pictures.channels) channels, the model \(processor.channels)")
      }
      let named = try ImageSelection(pictures, classNames: classNames)
      return try model.score(on: named, processor, classes: classNames.count)!
    case .texts(let model, let reader):
      return try model.score(on: LabelledText.open(data, classNames: classNames), reader)!
    }
  }
}

extension ImageClassifier {
  /// Throws when the network cannot take pictures of this size.
  fileprivate func check(_ size: ImageSize, _ path: String) throws {
    switch self {
    case .vit(let model):
      let expected = model.config.image_size
      guard size == expected else {
        throw RunError(
          "\(path): preprocessor_config.json makes pictures of \(size.rows) x \(size.columns) pixels, the model takes "
            + "\(expected.rows) x \(expected.columns)")
      }
    case .alexNet:
      guard min(size.rows, size.columns) >= AlexNet.smallestSize else {
        throw RunError(
          "\(path): AlexNet needs pictures of at least \(AlexNet.smallestSize) x \(AlexNet.smallestSize) pixels, not "
            + "\(size.rows) x \(size.columns)")
      }
    }
  }
}
