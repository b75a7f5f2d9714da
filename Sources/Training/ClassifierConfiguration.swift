import KalsaeCheckpoints
import KalsaeModels

/// A run that trains a classifier of pictures or of texts; `model` has the keys of `ViTConfig`, `AlexNetConfig` or
/// `BertConfig`, or is one of the names vit, alexnet and bert.
public struct ClassifierConfiguration: EvaluatedConfiguration {
  public static let task = "classifier"

  /// Of pictures: what `DataSource` names. Of texts: a table with tabs.
  public var data = ""
  /// What is tested on, of the same kind; nil: the data's own test part, or a fraction.
  public var validationData: String? = nil
  /// The fraction held out for tests where there is no other test part.
  public var validationFraction = 0.1
  /// How many of the examples are learned from, chosen by the seed; all when nil.
  public var trainExamples: Int? = nil
  public var model = ClassifierModel.vit(nil)
  /// A run or model folder whose weights are the first ones, except for the last layer.
  public var from: String? = nil
  /// Height and width of pictures; their own when nil, for AlexNet 64.
  public var imageSize: Int? = nil
  /// What is subtracted from each channel of samples in [0, 1], and what it is divided by; nil: as usual for the model.
  public var imageMean: [Double]? = nil, imageStd: [Double]? = nil
  /// Whether pictures are mirrored at random.
  public var flip = false
  /// By how many pixels they are moved at random, each way.
  public var shift = 0
  /// A tokenizer's file or folder.
  public var tokenizer: String? = nil
  /// The most tokens of a text; the rest is cut off.
  public var contextLength = 128
  public var labelSmoothing = 0.0
  public var evaluateEvery = 500
  public var steps = 5000
  public var batchSize = 128
  public var learningRate = 1e-3
  public var warmup = 200
  public var finalLearningRate = 0.0
  public var weightDecay = 0.05
  public var beta2 = 0.999
  public var precision = Precision.float32
  public var recompute = false
  public var ema = 0.99
  public var gradientClip = 1.0
  public var dropout = 0.0
  public var seed: UInt64 = 0
  public var threads: Int? = nil
  public var checkpointEvery = 1000
  public var keep = 2

  public init() {}

  /// What suits a network that starts from nothing.
  public init(_ kind: ClassifierKind) {
    model = ClassifierModel(kind)
    switch kind {
    case .vit: break
    case .alexnet: (learningRate, dropout, steps, weightDecay) = (3e-4, 0.5, 2000, 0.01)
    case .bert: (learningRate, dropout, steps, batchSize) = (2e-4, 0.1, 2000, 32)
    }
  }
}

extension ClassifierConfiguration {
  public init(_ c: ConfigJSON, over standard: ClassifierConfiguration = .init()) throws(ConfigError) {
    self = standard
    try readEvaluated(c)
    data = try c("data", or: data)
    validationData = try c("validation_data", or: validationData)
    validationFraction = try c("validation_fraction", or: validationFraction)
    trainExamples = try c("train_examples", or: trainExamples)
    if case .string? = c.object["model"] {
      model = ClassifierModel(try c.option("model", or: model.kind))
    } else if let nested = try c.nested("model") {
      model = try ClassifierModel(nested)
    }
    from = try c("from", or: from)
    imageSize = try c("image_size", or: imageSize)
    imageMean = try c("image_mean", or: imageMean)
    imageStd = try c("image_std", or: imageStd)
    flip = try c("flip", or: flip)
    shift = try c("shift", or: shift)
    tokenizer = try c("tokenizer", or: tokenizer)
    contextLength = try c("context_length", or: contextLength)
    labelSmoothing = try c("label_smoothing", or: labelSmoothing)
    try c.finish()
    if let problem { throw c.invalid(problem.key, problem.reason) }
  }

  public var json: JSONObject {
    var object = evaluatedJSON
    func list(_ values: [Double]?) -> JSON { values.map { .array($0.map { .double($0) }) } ?? .null }
    object["data"] = .string(data)
    object["validation_data"] = validationData.json
    object["validation_fraction"] = .double(validationFraction)
    object["train_examples"] = trainExamples.json
    object["model"] = model.json
    object["from"] = from.json
    object["image_size"] = imageSize.json
    object["image_mean"] = list(imageMean)
    object["image_std"] = list(imageStd)
    object["flip"] = .bool(flip)
    object["shift"] = .integer(shift)
    object["tokenizer"] = tokenizer.json
    object["context_length"] = .integer(contextLength)
    object["label_smoothing"] = .double(labelSmoothing)
    return object
  }

  public var problem: (key: String, reason: String)? {
    if let evaluatedProblem { return evaluatedProblem }
    if let trainExamples, trainExamples < 1 {
      return ("train_examples", "must be at least 1, not \(trainExamples)")
    }
    if contextLength < 1 { return ("context_length", "must be at least 1, not \(contextLength)") }
    if let imageSize, !(8...4096).contains(imageSize) {
      return ("image_size", "must be from 8 to 4096 pixels, not \(imageSize)")
    }
    if shift < 0 { return ("shift", "must not be negative, but is \(shift)") }
    for (key, value) in [("validation_fraction", validationFraction), ("label_smoothing", labelSmoothing)]
    where !(0..<1).contains(value) {
      return (key, "must be in [0, 1), not \(value)")
    }
    if recompute, model.kind == .alexnet {
      return ("recompute", "is for networks of blocks; AlexNet has none: leave it out")
    }
    if let imageStd, imageStd.contains(where: { !($0 > 0) }) { return ("image_std", "must be positive") }
    return nil
  }
}
