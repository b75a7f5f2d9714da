import Foundation
import Kalsae
import Testing

/// Classifiers as a library: what they learn, how they go on, what they start from.
@Suite(.serialized) struct ClassifierTests {
  let place: TemporaryFolder

  init() throws { place = try TemporaryFolder() }

  // MARK: What is learned

  /// Grey pictures of 16 x 16 by class: noise that is brighter above, or below.
  func writePictures(_ count: Int = 40) throws {
    var generator = SplitMix64(seed: 1)
    for (number, name) in ["above", "below"].enumerated() {
      try FileManager.default.createDirectory(
        atPath: place("pictures/" + name), withIntermediateDirectories: true)
      for i in 0..<count {
        let pixels = (0..<256).map { place -> UInt8 in
          UInt8(generator.below(100)) + ((place < 128) == (number == 0) ? 100 : 0)
        }
        try Image(width: 16, height: 16, channels: 1, pixels: pixels)
          .writePNG(to: place("pictures/\(name)/\(i).png"))
      }
    }
  }

  /// Texts of a few words, one of which tells the class.
  func writeTexts(_ name: String = "texts.tsv", _ count: Int = 80) throws {
    var generator = SplitMix64(seed: 2), text = "id\ttext\tlabel\n"
    for i in 0..<count {
      let word = i % 2 == 0 ? ["good", "fine"] : ["bad", "dull"]
      var words = (0..<3).map { _ in ["the", "film", "is", "so"][Int(generator.below(4))] }
      words.insert(word[Int(generator.below(2))], at: Int(generator.below(4)))
      text += "\(i)\t\(words.joined(separator: " "))\t\(i % 2 == 0 ? "praise" : "blame")\n"
    }
    try place.write(text, name)
  }

  /// A tokenizer of these words.
  func writeTokenizer() throws {
    let words = (0..<3).map { _ in "the film is so good fine bad dull" }
    try TokenizerTrainer(vocabularySize: 60).train(.wordPiece, texts: words).save(to: place("tokenizer.json"))
  }

  func configuration(_ kind: ClassifierKind, steps: Int) -> ClassifierConfiguration {
    var c = ClassifierConfiguration(kind)
    (c.steps, c.batchSize, c.warmup, c.learningRate, c.ema) = (steps, 16, 2, 3e-3, 0.5)
    c.evaluateEvery = 20
    c.data = kind.readsPictures ? place("pictures") : place("texts.tsv")
    switch kind {
    case .vit:
      var vit = ViTConfig()
      (vit.image_size, vit.patch_size, vit.num_channels) = (ImageSize(16), ImageSize(8), 1)
      (vit.hidden_size, vit.num_hidden_layers, vit.num_attention_heads, vit.intermediate_size) = (
        16, 1, 2, 32
      )
      c.model = .vit(vit)
    case .bert:
      c.tokenizer = place("tokenizer.json")
      c.contextLength = 8
      c.model = .bert(bert)
    case .alexnet: c.imageSize = 64
    }
    return c
  }

  var bert: BertConfig {
    var bert = BertConfig()
    (bert.vocab_size, bert.max_position_embeddings) = (60, 8)
    (bert.hidden_size, bert.num_hidden_layers, bert.num_attention_heads) = (16, 1, 2)
    bert.intermediate_size = 32
    return bert
  }

  func picturesTrainer(_ c: ClassifierConfiguration, _ run: String = "run", resuming: Bool = false) throws
    -> Trainer<ImageClassifierTask>
  {
    try Trainer(c, in: RunFolder(place(run)), resuming: resuming, threads: 1) { _ in }
  }

  func textsTrainer(_ c: ClassifierConfiguration, _ run: String = "run", resuming: Bool = false) throws
    -> Trainer<TextClassifierTask>
  {
    try Trainer(c, in: RunFolder(place(run)), resuming: resuming, threads: 1) { _ in }
  }

  @Test func vitLearnsPictures() throws {
    try writePictures()
    try Backends.with(.cpu(threads: 1)) {
      var measured: [[String: Double]] = []
      let trainer = try picturesTrainer(configuration(.vit, steps: 60))
      _ = try trainer.train(progress: {
        if !$0.measured.isEmpty { measured.append(Dictionary(uniqueKeysWithValues: $0.measured)) }
      })
      #expect(trainer.graphCount == 2)
      #expect(measured.count == 3)
      #expect(measured.last?["validation_accuracy"] == 1 && measured.last?["validation_macro_f1"] == 1)
      #expect(try #require(measured.last?["validation_loss"]) < 0.3)

      let classifier = try Classifier(runOrModel: place("run"))
      #expect(classifier.classNames == ["above", "below"] && classifier.readsPictures)
      let answers = try classifier.classify([place("pictures/below/3.png"), place("pictures/above/7.png")])
      #expect(answers.map { $0[0].name } == ["below", "above"])
      for answer in answers {
        #expect(answer.count == 2 && abs(answer[0].probability + answer[1].probability - 1) < 1e-9)
        #expect(answer[0].probability > answer[1].probability)
      }
      let score = try classifier.evaluate(place("pictures"))
      #expect(score.count == 80 && score.accuracy == 1)
    }
  }

  @Test func bertLearnsTexts() throws {
    try writeTexts()
    try writeTokenizer()
    try Backends.with(.cpu(threads: 1)) {
      var accuracy = 0.0
      let trainer = try textsTrainer(configuration(.bert, steps: 80))
      _ = try trainer.train(progress: {
        for value in $0.measured where value.name == "validation_accuracy" { accuracy = value.value }
      })
      #expect(trainer.graphCount < 10)
      #expect(accuracy == 1)
      let classifier = try Classifier(runOrModel: place("run"))
      #expect(classifier.classNames == ["blame", "praise"] && !classifier.readsPictures)
      let texts = ["the film is dull", "good", "so is the film the fine the film is so", ""]
      let answers = try classifier.classify(texts)
      #expect(answers.prefix(3).map { $0[0].name } == ["blame", "praise", "praise"])
      #expect(answers[3].count == 2)
      // One by one as all together.
      for (text, answer) in zip(texts, answers) {
        let alone = try classifier.classify([text])[0]
        #expect(alone.map(\.name) == answer.map(\.name))
        #expect(abs(alone[0].probability - answer[0].probability) < 1e-5)
      }
      #expect(try classifier.evaluate(place("texts.tsv")).accuracy > 0.95)
    }
  }

  @Test func alexNetTakesGreyPictures() throws {
    try writePictures(8)
    try Backends.with(.cpu(threads: 2)) {
      var c = configuration(.alexnet, steps: 1)
      (c.batchSize, c.validationFraction) = (2, 0.25)
      _ = try picturesTrainer(c).train()
      let stored: ClassifierConfiguration = try RunFolder(place("run")).configuration()
      #expect(stored.imageMean == [0.485, 0.456, 0.406])
      guard case .alexnet(let alexNet?) = stored.model else {
        Issue.record("no AlexNet: \(stored.model)")
        return
      }
      #expect(alexNet.num_channels == 3 && alexNet.num_classes == 2)
      let answer = try Classifier(runOrModel: place("run")).classify([place("pictures/above/0.png")])[0]
      #expect(Set(answer.map(\.name)) == ["above", "below"])
    }
  }

  // MARK: How runs go on

  private static let files = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"]

  /// Dropout, mirrored and moved pictures, order: every random number is drawn.
  @Test func aRunOnPicturesThatLostItsLastStepsRepeatsThem() throws {
    try writePictures()
    try Backends.with(.cpu(threads: 1)) {
      var c = configuration(.vit, steps: 12)
      (c.flip, c.shift, c.labelSmoothing, c.checkpointEvery) = (true, 2, 0.1, 6)
      c.model.setDropout(0.2)
      _ = try picturesTrainer(c).train()
      let expected = try Self.files.map { try place.read("run/checkpoints/step-12/" + $0) }
      try FileManager.default.removeItem(atPath: place("run/checkpoints/step-12"))
      let stored: ClassifierConfiguration = try RunFolder(place("run")).configuration()
      _ = try picturesTrainer(stored, resuming: true).train()
      #expect(try Self.files.map { try place.read("run/checkpoints/step-12/" + $0) } == expected)
    }
  }

  @Test func aRunOnTextsThatLostItsLastStepsRepeatsThem() throws {
    try writeTexts()
    try writeTokenizer()
    try Backends.with(.cpu(threads: 1)) {
      var c = configuration(.bert, steps: 12)
      (c.trainExamples, c.checkpointEvery) = (30, 6)
      _ = try textsTrainer(c).train()
      let expected = try Self.files.map { try place.read("run/checkpoints/step-12/" + $0) }
      try FileManager.default.removeItem(atPath: place("run/checkpoints/step-12"))
      let stored: ClassifierConfiguration = try RunFolder(place("run")).configuration()
      let trainer = try textsTrainer(stored, resuming: true)
      #expect(trainer.task.training.count == 30)
      _ = try trainer.train()
      #expect(try Self.files.map { try place.read("run/checkpoints/step-12/" + $0) } == expected)
    }
  }

  @Test func configurationsSurviveTheirFile() throws {
    var c = configuration(.bert, steps: 7)
    (c.from, c.validationData, c.trainExamples) = ("/from", "/test.tsv", 5)
    (c.imageMean, c.imageStd, c.imageSize) = ([0.5], [0.25], 32)
    let run = RunFolder(place("run"))
    try run.create(c)
    #expect(try run.configuration() == c)
    for kind in ClassifierKind.allCases {
      let json = JSON.object(ClassifierConfiguration(kind).json)
      #expect(try ClassifierConfiguration(ConfigJSON(json, file: "c")) == ClassifierConfiguration(kind))
    }
  }

  // MARK: What they start from

  /// One step at a rate of nearly nothing shows the first weights.
  @Test func bertStartsFromAPreTrainedModel() throws {
    try writeTexts()
    try writeTokenizer()
    try Backends.with(.cpu(threads: 1)) {
      let folder = place("pretrained")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      var config = bert
      config.architectures = ["BertForMaskedLM"]
      let pretrained = BertForMaskedLM(config)
      try AtomicFile.write(JSON.object(config.json).text.utf8, to: folder + "/config.json")
      try saveParameters(of: pretrained.contents, to: folder + "/model.safetensors")
      try Tokenizer(path: place("tokenizer.json")).save(to: folder + "/tokenizer.json")

      var c = ClassifierConfiguration(.bert)
      (c.data, c.from, c.contextLength) = (place("texts.tsv"), folder, 8)
      (c.steps, c.batchSize, c.learningRate, c.warmup, c.weightDecay) = (1, 8, 1e-30, 0, 0)
      _ = try textsTrainer(c).train()
      let file = try SafetensorsFile(path: place("run/checkpoints/step-1/model.safetensors"))
      for entry in pretrained.contents.parameters where entry.path.hasPrefix("bert.") {
        let (found, expected) = (try file.tensor(entry.path).floats(), entry.parameter.value.floats())
        #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-20 }, "\(entry.path)")
      }
      #expect(file["classifier.weight"]?.shape == [2, 16] && file["bert.pooler.dense.weight"] != nil)
      // The source may be gone when the run goes on, and the run itself may be a source.
      try FileManager.default.moveItem(atPath: folder, toPath: folder + "2")
      var more: ClassifierConfiguration = try RunFolder(place("run")).configuration()
      #expect(more.tokenizer == folder)
      (more.steps, more.tokenizer) = (2, place("run/tokenizer.json"))
      _ = try textsTrainer(more, resuming: true).train()
      var next = c
      next.from = place("run")
      _ = try textsTrainer(next, "next").train()
      let second = try SafetensorsFile(path: place("next/checkpoints/step-1/model.safetensors"))
      let pooler = "bert.pooler.dense.weight"
      #expect(try second.tensor(pooler).floats() == file.tensor(pooler).floats())
      let words = "bert.embeddings.word_embeddings.weight"
      #expect(try second.tensor(words).floats() == file.tensor(words).floats())
    }
  }

  @Test func vitStartsFromAnotherRun() throws {
    try writePictures()
    try Backends.with(.cpu(threads: 1)) {
      _ = try picturesTrainer(configuration(.vit, steps: 2)).train()
      var c = configuration(.vit, steps: 1)
      (c.model, c.from) = (.vit(nil), place("run"))
      (c.learningRate, c.warmup, c.weightDecay) = (1e-30, 0, 0)
      _ = try picturesTrainer(c, "next").train()
      let before = try SafetensorsFile(path: place("run/checkpoints/step-2/ema.safetensors"))
      let after = try SafetensorsFile(path: place("next/checkpoints/step-1/model.safetensors"))
      #expect(before.names == after.names)
      for name in before.names where !name.hasPrefix("classifier.") {
        #expect(try before.tensor(name).floats() == after.tensor(name).floats(), "\(name)")
      }
      let classifier = "classifier.weight"
      #expect(try before.tensor(classifier).floats() != after.tensor(classifier).floats())
    }
  }

  // MARK: Where they go

  @Test(arguments: [ClassifierKind.vit, .bert])
  func anExportedFolderAnswersAsTheRun(_ kind: ClassifierKind) throws {
    try writePictures()
    try writeTexts()
    try writeTokenizer()
    try Backends.with(.cpu(threads: 1)) {
      let inputs = kind == .vit ? [place("pictures/above/0.png")] : ["the film is bad"]
      if kind == .vit {
        _ = try picturesTrainer(configuration(kind, steps: 3)).train()
      } else {
        _ = try textsTrainer(configuration(kind, steps: 3)).train()
      }
      let run = RunFolder(place("run"))
      #expect(run.task == "classifier")
      try run.exportClassifier(to: place("model"))
      let expected = try Classifier(runOrModel: place("run")).classify(inputs)
      #expect(try Classifier(runOrModel: place("model")).classify(inputs) == expected)
      #expect(throws: (any Error).self) { try run.exportClassifier(to: place("model")) }
      // Files have the names that published models have.
      let file = try SafetensorsFile(path: place("model/model.safetensors"))
      #expect(
        file[
          kind == .vit
            ? "vit.encoder.layer.0.attention.attention.query.weight"
            : "bert.encoder.layer.0.attention.self.query.weight"] != nil)
      // Other runs, and folders with another head, are no classifiers.
      if kind == .bert {
        try place.write(
          place.text("model/config.json").replacing("BertForSequenceClassification", with: "BertForMaskedLM"),
          "model/config.json")
        #expect { try Classifier(runOrModel: place("model")) } throws: { "\($0)".contains("BertForMaskedLM") }
      }
    }
  }

  /// What a folder says of its pictures, beside what is usual.
  @Test func preprocessorsAreRead() throws {
    let standard = ImageProcessor(size: ImageSize(8), channels: 3, mean: [0, 0, 0], deviation: [1, 1, 1])
    #expect(try ImageProcessor(folder: place.path, over: standard) == standard)
    try place.write(
      """
      {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.25], "size": {"shortest_edge": 6}, "crop_size": 4,
       "do_center_crop": true, "resample": 3}
      """, "preprocessor_config.json")
    let read = try ImageProcessor(folder: place.path, over: standard)
    #expect(read.mean == [0.5, 0.4, 0.3] && read.deviation == [0.25, 0.25, 0.25])
    #expect(read.size == ImageSize(4) && read.fit == .shortestSide(6))
    // 12 x 6 pixels stay, and of these the 4 x 4 at the centre: (row, column) as red and green.
    let pixels = (0..<72).flatMap { (place: Int) -> [UInt8] in [UInt8(place / 12), UInt8(place % 12), 255] }
    try Image(width: 12, height: 6, channels: 3, pixels: pixels).writePNG(to: place("a.png"))
    let picture = try read.picture(at: place("a.png"))
    #expect(picture.width == 4 && picture.height == 4 && Array(picture[0, 0]) == [1, 4, 255])
    #expect(Array(picture[3, 3]) == [4, 7, 255])
    let numbers = Backends.with(.cpu(threads: 1)) { read(picture.pixels, channels: 3).floats() }
    #expect(abs(numbers[0] - (1 / 255 - 0.5) / 0.25) < 1e-6 && abs(numbers[2] - (1 - 0.3) / 0.25) < 1e-6)
    try place.write(#"{"image_mean": [0.5, 0.5]}"#, "preprocessor_config.json")
    #expect(throws: ConfigError.self) { try ImageProcessor(folder: place.path, over: standard) }
    try place.write(#"{"size": {"height": 0, "width": 4}}"#, "preprocessor_config.json")
    #expect(throws: ConfigError.self) { try ImageProcessor(folder: place.path, over: standard) }
  }
}
