import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeModels
import KalsaeNeural
import KalsaePipelines
import KalsaeRuntime
import KalsaeTensors

/// A network that learns to which class a picture belongs.
public struct ImageClassifierTask: TrainingTask {
  public static let unit = "images"
  public let configuration: ClassifierConfiguration
  /// What is learned from, at most as much of it as was asked for.
  public let training: any ImageDataset
  public let test: (any ImageDataset)?
  public let classNames: [String]
  private let processor: ImageProcessor

  public init(_ given: ClassifierConfiguration, report: @escaping @Sendable (String) -> Void) throws {
    var c = given
    let kind = c.model.kind
    guard kind.readsPictures else { throw RunError("\(kind.rawValue) reads texts, not pictures") }
    guard !c.data.isEmpty else { throw RunError("no data: give --data") }
    let source = try DataSource(ofPictures: c.data, for: kind)
    let given = try c.validationData.map { try DataSource(ofPictures: $0, for: kind) }
    // The run can then be continued from any folder.
    (c.data, c.validationData) = (source.description, given?.description)
    c.from = c.from.map { URL(fileURLWithPath: $0).standardizedFileURL.path }
    let known = try c.pretrainedModel()
    c.imageSize = c.imageSize ?? known.imageSize ?? (kind == .alexnet ? 64 : nil)
    let pictures = try LabelledPictures(
      source, imageSize: c.imageSize, test: given, fraction: c.validationFraction
    ) { report("skipped \($0.line)") }
    c.imageSize = pictures.training.size
    c.model = try c.completed(known, for: pictures)
    if let problem = c.problem { throw RunError("\(problem.key) \(problem.reason)") }
    var training = pictures.training
    if let count = c.trainExamples {
      guard count <= training.count else {
        throw RunError(
          "\(training.name) has \(training.count) picture(s) to learn from, fewer than train_examples \(count)"
        )
      }
      let chosen = EpochOrder.selection(count: training.count, seed: c.seed)[..<count]
      training = ImageSelection(training, indices: Array(chosen))
    }
    (self.training, test, classNames) = (training, pictures.test, pictures.classNames)
    processor = try c.imageProcessor()
    (c.imageMean, c.imageStd) = (processor.mean, processor.deviation)
    configuration = c
  }

  public func makeModel() -> ImageClassifier { ImageClassifier(configuration.model) }

  public func initialize(_ model: ImageClassifier) throws {
    if let from = configuration.from { try model.loadBackbone(from: ModelSource(from).weights()) }
  }

  public func makeOptimizer(_ contents: ModuleContents) -> any Optimizer {
    AdamW(contents, beta2: configuration.beta2, weightDecay: configuration.weightDecay)
  }

  public var learningRate: LearningRate { configuration.cosineLearningRate }

  public func makeLoader(
    at position: LoaderPosition
  ) throws -> () throws -> (batch: Batch, positionAfter: LoaderPosition) {
    let loader = try BatchLoader(
      dataset: training, batchSize: configuration.batchSize, seed: configuration.seed,
      flip: configuration.flip, shift: configuration.shift, position: position)
    return {
      let batch = try loader.next()
      return (batch, batch.positionAfter)
    }
  }

  public func count(_ batch: Batch) -> Int { configuration.batchSize }

  /// The network's numbers, (N, H, W, C), and classes, (N).
  public func inputs(_ batch: Batch) -> [Tensor] {
    let pixels = processor(batch.pixels, channels: training.channels)
    evaluate(pixels)
    return [pixels, Tensor(batch.labels!)]
  }

  public func loss(
    of model: ImageClassifier, on inputs: [Tensor], key: RandomKey,
    observe: @escaping (String, Tensor) -> Void
  ) -> Tensor {
    crossEntropy(
      model(inputs[0], observe: observe).cast(to: .float32), inputs[1],
      labelSmoothing: configuration.labelSmoothing)
  }

  public func inspect(
    _ model: ImageClassifier, step: Int, run: RunFolder, log: RunLog, shouldStop: () -> Bool
  ) throws -> [(name: String, value: Double)] {
    guard let test, configuration.isTimeToEvaluate(step) else { return [] }
    return try Autocast.with(configuration.precision.autocast) {
      try model.score(on: test, processor, classes: classNames.count, shouldStop: shouldStop)?.measured ?? []
    }
  }
}

extension ImageClassifier {
  /// The network of a complete configuration.
  init(_ model: ClassifierModel) {
    switch model {
    case .vit(let config?): self = .vit(ViTForImageClassification(config))
    case .alexnet(let config?): self = .alexNet(AlexNet(config))
    case .vit, .alexnet, .bert: fatalError("ImageClassifier: \(model.kind.rawValue) without a configuration")
    }
  }

  /// How well it does on labelled pictures; nil when it should stop meanwhile.
  func score(
    on pictures: any ImageDataset, _ processor: ImageProcessor, classes: Int,
    shouldStop: () -> Bool = { false }
  ) throws -> ClassificationScore? {
    var score = ClassificationScore(classes: classes)
    for start in stride(from: 0, to: pictures.count, by: 250) {
      if shouldStop() { return nil }
      let places = start..<min(start + 250, pictures.count)
      var labels: [Int] = [], pixels: [UInt8] = []
      pixels.reserveCapacity(places.count * pictures.pixelCount)
      for place in places {
        pixels += try pictures.image(place).pixels
        labels.append(pictures.label(place)!)
      }
      let logits = Mode.evaluation { self(processor(pixels, channels: pictures.channels)) }
      score.add(logits: logits.floats(), labels: labels)
    }
    return score
  }
}

extension DataSource {
  /// What `text` names, by its full path, where it can hold pictures.
  init(ofPictures text: String, for kind: ClassifierKind) throws {
    if text.hasSuffix(".tsv") || text.hasSuffix(".txt") {
      throw RunError("\(kind.rawValue) reads pictures, not texts such as \(text): choose --model bert")
    }
    self = try DataSource.parse(text).absolute
  }
}
