import ArgumentParser
import Foundation
import Kalsae
import KalsaeTraining

struct TrainClassifier: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "classifier",
    abstract: "Train a classifier of pictures (vit, alexnet) or of texts (bert).",
    discussion: """
      Loss, accuracy and macro F1 on the test part are measured now and then with the averaged weights: Fashion-MNIST's \
      and CIFAR-10's own, a folder's test beside its train, --validation-data, or else a part that is held out.

        kalsae train classifier --data fashion-mnist --model vit --output runs/fashion
        kalsae train classifier --data reviews.tsv --from runs/bert --output runs/reviews
        kalsae classify runs/fashion shoe.png

      Defaults: \(standards); a test every \(standard.evaluateEvery) steps, ema \(standard.ema), validation fraction \
      \(standard.validationFraction), context \(standard.contextLength).
      """)
  private static let standard = ClassifierConfiguration()
  private static let standards = ClassifierKind.allCases.map {
    let c = ClassifierConfiguration($0)
    return
      "\($0.rawValue) \(c.steps) steps, batch size \(c.batchSize), learning rate \(c.learningRate), warm-up "
      + "\(c.warmup), weight decay \(c.weightDecay), dropout \(c.dropout)"
  }.joined(separator: "; ")

  @Option(
    help: ArgumentHelp(
      "Pictures: fashion-mnist, cifar10:FOLDER, or a folder with a sub-folder for each class. Texts: a table with tabs and the columns document (or sentence, text, review) and label.",
      valueName: "data"))
  var data: String?
  @Option(help: "The network; that of --from when not given.") var model: ClassifierKind?
  @OptionGroup var training: TrainingArguments
  @Option(help: ArgumentHelp("Test on this, of the same kind as --data.", valueName: "data"))
  var validationData: String?
  @Option(help: "Hold out this part where there is nothing else to test on; 0: none.")
  var validationFraction: Double?
  @Option(help: ArgumentHelp("Learn from n examples only, chosen by the seed.", valueName: "n"))
  var trainExamples: Int?
  @Option(
    help: ArgumentHelp(
      "Start from the weights of a run (of kalsae train masked-language-model, say) or model folder.",
      valueName: "run-or-model"))
  var from: String?
  @Option(help: "A tokenizer's file or folder, for texts.") var tokenizer: String?
  @Option(help: "The most tokens of a text.") var contextLength: Int?
  @Option(help: "Height and width in pixels; pictures are resized and cropped.") var imageSize: Int?
  @Flag(inversion: .prefixedNo, help: "Mirror pictures at random.") var flip: Bool?
  @Option(help: "Move pictures at random by up to this many pixels each way.") var shift: Int?
  @Option(help: "Label smoothing.") var labelSmoothing: Double?
  @OptionGroup var evaluation: EvaluationArguments
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    guard training.isFromNothing else { return }
    if data == nil {
      throw ValidationError(
        "--data is missing: fashion-mnist, cifar10:FOLDER, a folder of pictures by class, or a table of texts."
      )
    }
    if model == nil, from == nil { throw ValidationError("--model is missing: vit, alexnet or bert.") }
  }

  func run() throws {
    let c = try resolved()
    if c.model.kind.readsPictures {
      try training.train(ImageClassifierTask.self, c, outputOptions) { trainer in
        let task = trainer.task, size = task.training.size
        return "\(c.model.kind.rawValue), \(task.training.count) pictures of \(size) x \(size) x "
          + "\(task.training.channels) to learn from, \(task.test?.count ?? 0) to test on, "
          + "\(task.classNames.count) classes"
      }
    } else {
      try training.train(TextClassifierTask.self, c, outputOptions) { trainer in
        let task = trainer.task
        return
          "\(c.model.kind.rawValue), \(task.training.count) texts to learn from, \(task.test?.count ?? 0) to "
          + "test on, \(task.training.classes) classes, vocabulary \(task.tokenizer.vocabularySize)"
      }
    }
  }

  private func resolved() throws -> ClassifierConfiguration {
    var kind = model
    if kind == nil, training.isFromNothing, let from { kind = try ModelSource(from).classifierKind() }
    var c = try training.configuration(over: kind.map { ClassifierConfiguration($0) } ?? .init())
    func set<T>(_ path: WritableKeyPath<ClassifierConfiguration, T>, _ value: T?) {
      if let value { c[keyPath: path] = value }
    }
    if let kind, kind != c.model.kind {
      guard !training.resume else {
        throw ValidationError("the run trains \(c.model.kind.rawValue): leave out --model \(kind.rawValue)")
      }
      c.model = ClassifierModel(kind)
    }
    set(\.data, data)
    // These have no value of their own: what is not given must not take one away.
    if let validationData { c.validationData = validationData }
    if let trainExamples { c.trainExamples = trainExamples }
    if let from { c.from = from }
    if let tokenizer { c.tokenizer = tokenizer }
    if let imageSize { c.imageSize = imageSize }
    set(\.validationFraction, validationFraction)
    set(\.contextLength, contextLength)
    set(\.flip, flip)
    set(\.shift, shift)
    set(\.labelSmoothing, labelSmoothing)
    evaluation.apply(to: &c)
    if let dropout = training.dropout { c.model.setDropout(dropout) }
    return c
  }
}
