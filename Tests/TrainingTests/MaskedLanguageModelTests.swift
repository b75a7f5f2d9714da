import Foundation
import Kalsae
import Testing

/// Pre-training of an encoder: what it learns, what it leaves, and what it refuses.
@Suite(.serialized) struct MaskedLanguageModelTests {
  let place: TemporaryFolder

  init() throws { place = try TemporaryFolder() }

  static let sentences = [
    "the swift flies over the sea", "a cat sleeps on the sofa", "my dog runs in the park",
    "two fish swim under water",
  ]

  /// A model of 32 features on the sentences, each many times.
  func configuration(_ text: String? = nil, steps: Int) throws -> MaskedLanguageModelConfiguration {
    let lines = (0..<40).flatMap { _ in Self.sentences }
    try place.write(text ?? lines.joined(separator: "\n"), "text.txt")
    var trainer = TokenizerTrainer(vocabularySize: 150)
    trainer.minimumFrequency = 1
    try trainer.train(.wordPiece, files: [place("text.txt")]).save(to: place("tokenizer.json"))
    var model = BertConfig()
    (model.hidden_size, model.intermediate_size, model.num_hidden_layers) = (32, 64, 2)
    (model.num_attention_heads, model.max_position_embeddings) = (2, 16)
    (model.hidden_dropout_prob, model.attention_probs_dropout_prob) = (0, 0)
    var c = MaskedLanguageModelConfiguration()
    (c.text, c.tokenizer) = ([place("text.txt")], place("tokenizer.json"))
    (c.steps, c.batchSize, c.contextLength, c.evaluateEvery) = (steps, 16, 16, 1000)
    (c.learningRate, c.warmup, c.ema, c.validationFraction) = (1e-2, 10, 0.9, 0.2)
    c.model = model
    return c
  }

  func trainer(
    _ configuration: MaskedLanguageModelConfiguration, resuming: Bool = false
  ) throws -> Trainer<MaskedLanguageModelTask> {
    try Trainer(configuration, in: RunFolder(place("run")), resuming: resuming, threads: 1) { _ in }
  }

  @Test func learnsToFillInWords() throws {
    try Backends.with(.cpu(threads: 1)) {
      var losses: [Double] = [], measured: [String: Double] = [:]
      let trainer = try trainer(configuration(steps: 150))
      _ = try trainer.train(progress: { progress in
        losses.append(progress.loss)
        for (name, value) in progress.measured { measured[name] = value }
      })
      #expect(trainer.graphCount < 10)
      let (first, last) = (losses.prefix(10).reduce(0, +) / 10, losses.suffix(10).reduce(0, +) / 10)
      #expect(last < 0.3 * first, "\(first) at first, \(last) at last")
      #expect(try #require(measured["validation_loss"]) < 0.3 * first, "\(measured)")
      #expect(try #require(measured["validation_accuracy"]) > 0.8, "\(measured)")
      #expect(measured["validation_next_sentence_accuracy"] == nil)

      let filler = try MaskFiller(runOrModel: place("run"))
      let dog = try filler.fill("my dog [MASK] in the park", top: 3)
      #expect(dog.count == 1 && dog[0].count == 3)
      #expect(dog[0][0].token == "runs" && dog[0][0].text == "my dog runs in the park", "\(dog)")
      #expect(dog[0][0].probability > dog[0][1].probability && dog[0].allSatisfy { $0.probability <= 1 })
      let two = try filler.fill("[MASK] cat sleeps on the [MASK]", top: 1)
      #expect(two.count == 2 && two[0][0].text == "a cat sleeps on the [MASK]", "\(two)")
      #expect(two[1][0].text == "[MASK] cat sleeps on the " + two[1][0].token, "\(two)")
    }
  }

  @Test func learnsWhetherOneTextFollowsAnother() throws {
    // Sentences of a document are of one kind, and so are those that follow.
    let kinds = ["red blue green pink", "one two three four"]
    let documents = (0..<40).map { number in
      Array(repeating: kinds[number % 2], count: 2).joined(separator: "\n")
    }
    try Backends.with(.cpu(threads: 1)) {
      var c = try configuration(documents.joined(separator: "\n\n"), steps: 200)
      (c.nextSentence, c.learningRate) = (true, 3e-3)
      var losses: [Double] = [], measured: [String: Double] = [:]
      let trainer = try trainer(c)
      _ = try trainer.train(progress: { progress in
        losses.append(progress.loss)
        for (name, value) in progress.measured { measured[name] = value }
      })
      #expect(trainer.graphCount < 10)
      let accuracy = try #require(measured["validation_next_sentence_accuracy"])
      // Random texts are of the same kind in about half of the cases: three of four pairs can be told.
      #expect(accuracy >= 0.6 && accuracy <= 1, "\(measured)")
      let (first, last) = (losses.prefix(5).reduce(0, +) / 5, losses.suffix(20).reduce(0, +) / 20)
      #expect(last < 0.5 * first, "\(first) at first, \(last) at last")
      // The head of the next sentence is set aside when masks are filled.
      let filler = try MaskFiller(runOrModel: place("run"))
      #expect(try filler.fill("red [MASK] green pink", top: 1)[0][0].token == "blue")
    }
  }

  @Test func leavesWhatTransformersCallsIt() throws {
    try Backends.with(.cpu(threads: 1)) {
      var c = try configuration(steps: 2)
      _ = try trainer(c).train()
      let run = RunFolder(place("run"))
      let stored: MaskedLanguageModelConfiguration = try run.configuration()
      let model = try #require(stored.model), tokenizer = try Tokenizer(path: run.tokenizerPath)
      #expect(model.vocab_size == tokenizer.vocabularySize && model.pad_token_id == 0)
      #expect(model.architectures == ["BertForMaskedLM"])
      let file = try SafetensorsFile(path: run.checkpointPath(2) + "/ema.safetensors")
      let expected = BertForMaskedLM(model).contents.parameters.map(\.path)
      #expect(file.names.sorted() == expected.sorted())
      #expect(expected.contains("cls.predictions.transform.dense.weight"))
      #expect(file.names.contains("bert.encoder.layer.1.attention.self.query.weight"))
      // As a model folder of transformers it fills the same.
      let folder = place("model")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try Data(JSON.object(model.json).text.utf8).write(to: URL(fileURLWithPath: folder + "/config.json"))
      for (from, to) in [
        (run.checkpointPath(2) + "/ema.safetensors", "/model.safetensors"),
        (run.tokenizerPath, "/tokenizer.json"),
      ] { try FileManager.default.copyItem(atPath: from, toPath: folder + to) }
      let text = "a [MASK] sleeps"
      let fromRun = try MaskFiller(runOrModel: place("run")).fill(text)
      #expect(try MaskFiller(runOrModel: folder).fill(text) == fromRun)
      c.nextSentence = true
      c.packing = true
      #expect(c.problem?.key == "packing")
    }
  }

  @Test func aLostCheckpointIsRepeatedBitForBit() throws {
    try Backends.with(.cpu(threads: 1)) {
      var c = try configuration(steps: 24)
      (c.checkpointEvery, c.dropout) = (12, 0.1)
      c.model?.hidden_dropout_prob = 0.1
      c.packing = true
      _ = try trainer(c).train()
      let files = ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"]
      let expected = try files.map { try place.read("run/checkpoints/step-24/" + $0) }
      try FileManager.default.removeItem(atPath: place("run/checkpoints/step-24"))
      let stored: MaskedLanguageModelConfiguration = try RunFolder(place("run")).configuration()
      #expect(try trainer(stored, resuming: true).train() == .finished)
      #expect(try files.map { try place.read("run/checkpoints/step-24/" + $0) } == expected)
    }
  }

  @Test func longTextsAreCutAndShortOnesPacked() throws {
    let text = "one two three four five six seven eight nine ten\neleven twelve\n\nx y"
    var c = try configuration(text, steps: 1)
    (c.contextLength, c.validationFraction) = (6, 0)
    let lines = try MaskedLanguageModelTask(c) { _ in }
    func lengths(_ task: MaskedLanguageModelTask) -> [Int] {
      (0..<task.training.count).map { task.training.sequence($0, epoch: 0, seed: 0).tokens.count }
    }
    #expect(lengths(lines) == [6, 6, 4, 4, 4] && lines.training.tokenCount == 14)
    c.packing = true
    #expect(lengths(try MaskedLanguageModelTask(c) { _ in }) == [6, 6, 6, 4])
    #expect(lines.validation == nil)
  }

  @Test func whatCannotWorkIsExplained() throws {
    func refuse(
      _ words: String..., change: (inout MaskedLanguageModelConfiguration) throws -> Void
    ) throws {
      var c = try configuration(steps: 1)
      try change(&c)
      #expect {
        _ = try MaskedLanguageModelTask(c) { _ in }
      } throws: { error in words.allSatisfy { "\(error)".contains($0) } }
    }
    try refuse("--tokenizer") { $0.tokenizer = "" }
    try refuse("nowhere.json") { $0.tokenizer = place("nowhere.json") }
    try refuse("tokenizer has", "vocab_size is 20") { $0.model?.vocab_size = 20 }
    try refuse("--text") { $0.text = [] }
    try refuse("gpt.json", "[CLS]") { c in
      c.tokenizer = place("gpt.json")
      try TokenizerTrainer(vocabularySize: 300).train(.bytePairs, files: c.text).save(to: c.tokenizer)
    }
    try refuse("latin.txt", "UTF-8") { c in
      try Data([0x61, 0xFF, 0x0A]).write(to: URL(fileURLWithPath: place("latin.txt")))
      c.text = [place("latin.txt")]
    }
    try refuse("blank.txt", "no text") { c in
      try place.write("\n \n", "blank.txt")
      c.text = [place("blank.txt")]
    }
    try refuse("at least 2 documents, not 1") { ($0.nextSentence, $0.validationFraction) = (true, 0) }
    try refuse("nothing is left to learn from", "--validation-fraction 0") { c in
      try place.write("one line", "line.txt")
      c.text = [place("line.txt")]
    }
    var c = MaskedLanguageModelConfiguration()
    c.model = MaskedLanguageModelConfiguration.standardModel(context: 32, dropout: 0)
    #expect(c.problem?.key == "context_length")
    (c.contextLength, c.maskProbability) = (32, 0)
    #expect(c.problem?.key == "mask_probability")
  }

  /// Model folders whose tokenizer is BERT's vocab.txt.
  @Test(arguments: ["bert-masked-lm", "bert-pretraining"])
  func fillsMasksWithModelsOfTransformers(_ name: String) throws {
    let fixture = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/" + name)
    let folder = place("model")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for file in ["config.json", "model.safetensors"] {
      try FileManager.default.copyItem(
        atPath: fixture.appending(path: file).path, toPath: folder + "/" + file)
    }
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "c"] + (8..<31).map { "w\($0)" }
    try place.write(words.joined(separator: "\n"), "model/vocab.txt")
    try Backends.with(.cpu(threads: 1)) {
      let filler = try MaskFiller(runOrModel: folder)
      let lists = try filler.fill("A [MASK] c [MASK]", top: 31)
      // [CLS] a [MASK] c [MASK] [SEP]
      let ids = Tensor([2, 5, 4, 7, 4, 3] as [Int32], [1, 6])
      let probabilities = softmax(Mode.evaluation { filler.model(ids) }.cast(to: .float32))
      for (list, position) in zip(lists, [2, 4]) {
        #expect(list.count == 31 && abs(list.reduce(0) { $0 + $1.probability } - 1) < 1e-5)
        let expected = probabilities.at(position, axis: 1).floats()
        for candidate in list {
          #expect(abs(candidate.probability - Double(expected[Int(candidate.id)])) < 1e-5)
        }
        #expect(zip(list, list.dropFirst()).allSatisfy { $0.probability >= $1.probability })
      }
      // A piece of a word joins what is before; other masks stay.
      let texts = lists.map { Set($0.map(\.text)) }
      #expect(texts[0].contains("Ab c [MASK]") && texts[0].contains("A c c [MASK]"))
      #expect(texts[1].contains("A [MASK] cb") && texts[1].contains("A [MASK] c w8"))

      #expect { try filler.fill("a c") } throws: { "\($0)".contains("write [MASK]") }
      #expect { try filler.fill("[MASK]" + String(repeating: " a", count: 10)) } throws: {
        "\($0)".contains("13 tokens") && "\($0)".contains("context of 12")
      }
    }
    try place.write((words + ["more"]).joined(separator: "\n"), "model/vocab.txt")
    #expect { try MaskFiller(runOrModel: folder) } throws: { "\($0)".contains("32 tokens") }
    try place.write(words.filter { $0 != "[MASK]" }.joined(separator: "\n"), "model/vocab.txt")
    #expect { try MaskFiller(runOrModel: folder) } throws: { "\($0)".contains("[MASK]") }
  }
}
