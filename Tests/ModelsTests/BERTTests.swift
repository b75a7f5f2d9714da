import Kalsae
import Testing

@Suite struct BERTTests {
  private func inputs(_ golden: Golden) throws -> (tokens: Tensor, mask: Tensor, segments: Tensor) {
    (
      try golden("input.input_ids"), try golden("input.attention_mask"), try golden("input.token_type_ids")
    )
  }

  @Test func preTrainingIsPyTorchs() throws {
    let reference = ReferenceModel("bert-pretraining"), golden = try reference.golden(), blocks = Blocks()
    let model = BertForPreTraining(try reference.config(BertConfig.self))
    try loadParameters(into: model.contents, from: reference.weights(), keyMap: BertForPreTraining.keyMap)
    let (tokens, mask, segments) = try inputs(golden)
    let (words, relationship) = model(tokens, attentionMask: mask, segments: segments, observe: blocks.see)
    try golden.check(model.contents, outputs: [words, relationship], blocks: blocks.all)
  }

  @Test func maskedWordsArePyTorchs() throws {
    let reference = ReferenceModel("bert-masked-lm"), golden = try reference.golden(), blocks = Blocks()
    let model = BertForMaskedLM(try reference.config(BertConfig.self))
    try loadParameters(into: model.contents, from: reference.weights(), keyMap: BertForMaskedLM.keyMap)
    let (tokens, mask, segments) = try inputs(golden)
    let logits = model(tokens, attentionMask: mask, segments: segments, observe: blocks.see)
    try golden.check(model.contents, outputs: [logits], blocks: blocks.all)
  }

  /// The features at chosen places give the logits and the loss that all of them would.
  @Test(arguments: ["bert-pretraining", "bert-masked-lm"])
  func onlyChosenPlacesCount(_ folder: String) throws {
    let reference = ReferenceModel(folder), golden = try reference.golden()
    let isPaired = folder == "bert-pretraining", config = try reference.config(BertConfig.self)
    let model = BertPreTrainingModel(config, predictsNextSentence: isPaired)
    let keys = isPaired ? BertForPreTraining.keyMap : BertForMaskedLM.keyMap
    try loadParameters(into: model.contents, from: reference.weights(), keyMap: keys)
    let full = BertForPreTraining(config), words: Tensor
    if isPaired {
      try loadParameters(into: full.contents, from: reference.weights(), keyMap: keys)
    }
    let (tokens, mask, segments) = try inputs(golden)
    let (b, t) = (tokens.shape[0], tokens.shape[1])
    let places: [Int32] = [1, 3, Int32(b * t - 2), 0], labels: [Int32] = [7, 30, 0, -100]
    let output = Mode.evaluation {
      model(tokens, at: Tensor(places), attentionMask: mask, segments: segments)
    }
    if isPaired {
      let both = Mode.evaluation { full(tokens, attentionMask: mask, segments: segments) }
      words = both.words
      let difference = try (#require(output.relationship) - both.relationship).floats()
      #expect(difference.allSatisfy { abs($0) < 1e-5 })
    } else {
      #expect(output.relationship == nil)
      let single = BertForMaskedLM(config)
      try loadParameters(into: single.contents, from: reference.weights(), keyMap: keys)
      words = Mode.evaluation { single(tokens, attentionMask: mask, segments: segments) }
      let chosen = Mode.evaluation { single.logits(tokens, at: Tensor(places)) }
      let same = Mode.evaluation { single(tokens) }.reshaped(b * t, -1).gathered(Tensor(places))
      #expect((chosen - same).floats().allSatisfy { abs($0) < 1e-5 })
    }
    let rows = words.reshaped(b * t, -1).gathered(Tensor(places))
    #expect((model.wordLogits(output.features) - rows).floats().allSatisfy { abs($0) < 1e-5 })
    var all = [Int32](repeating: -100, count: b * t)
    for (place, label) in zip(places, labels) { all[Int(place)] = label }
    let expected = maskedTokenLoss(words, Tensor(all, [b, t])).item()
    #expect(abs(model.wordLoss(output.features, Tensor(labels)).item() - expected) < 1e-5 * abs(expected))
  }

  @Test func classesArePyTorchs() throws {
    let reference = ReferenceModel("bert-classification"), golden = try reference.golden(), blocks = Blocks()
    let model = BertForSequenceClassification(try reference.config(BertConfig.self))
    try loadParameters(
      into: model.contents, from: reference.weights(), keyMap: BertForSequenceClassification.keyMap)
    let (tokens, mask, segments) = try inputs(golden)
    let logits = model(tokens, attentionMask: mask, segments: segments, observe: blocks.see)
    try golden.check(model.contents, outputs: [logits], blocks: blocks.all)
  }

  @Test func keysAreThoseOfTheCheckpoint() throws {
    func paths(_ folder: String, _ model: (BertConfig) -> any Module) throws {
      let reference = ReferenceModel(folder)
      let contents = model(try reference.config(BertConfig.self)).contents
      #expect(contents.parameters.map(\.path).sorted() == (try reference.weights().names), "\(folder)")
    }
    try paths("bert-pretraining") { BertForPreTraining($0) }
    try paths("bert-masked-lm") { BertForMaskedLM($0) }
    try paths("bert-classification") { BertForSequenceClassification($0) }
  }

  @Test func namesOfOldCheckpointsLoad() throws {
    let reference = ReferenceModel("bert-pretraining"), config = try reference.config(BertConfig.self)
    let file = try reference.weights("legacy_names.safetensors")
    let new = BertForPreTraining(config), old = BertForPreTraining(config)
    try loadParameters(into: new.contents, from: reference.weights(), keyMap: BertForPreTraining.keyMap)
    let report = try loadParameters(into: old.contents, from: file, keyMap: BertForPreTraining.keyMap)
    #expect(report.ignored == ["bert.embeddings.position_ids"])
    for (a, b) in zip(new.contents.slots, old.contents.slots) {
      #expect(a.value.floats() == b.value.floats())
    }

    // The same file with fewer parts.
    let words = BertForMaskedLM(config), encoder = BertModel(config)
    try loadParameters(into: words.contents, from: file, keyMap: BertForMaskedLM.keyMap)
    try loadParameters(into: encoder.contents, from: file, keyMap: BertModel.keyMap)
    let tokens = Tensor([4, 9, 30, 2] as [Int32], [1, 4])
    #expect(error(words(tokens), new(tokens).words) < 1e-6)
    #expect(error(encoder(tokens).hidden, new.bert(tokens).hidden) < 1e-6)
    #expect(error(encoder(tokens).pooled!, new.bert(tokens).pooled!) < 1e-6)
    #expect(throws: LoadError.self) {
      let classes = BertForSequenceClassification(config)
      try loadParameters(into: classes.contents, from: file, keyMap: BertForSequenceClassification.keyMap)
    }
  }

  @Test func tiedWordsAreOneParameter() throws {
    let model = BertForPreTraining(try ReferenceModel("bert-pretraining").config(BertConfig.self))
    let words = model.contents.parameters.first { $0.path == "bert.embeddings.word_embeddings.weight" }
    #expect(words?.aliases == ["cls.predictions.decoder.weight"])
    let bias = model.contents.parameters.first { $0.path == "cls.predictions.bias" }
    #expect(bias?.aliases == ["cls.predictions.decoder.bias"])
  }

  @Test func autocastIsClose() throws {
    let model = try BertForPreTraining(folder: ReferenceModel("bert-pretraining").path(""))
    let tokens = Tensor([4, 9, 30, 2] as [Int32], [1, 4])
    let narrow = Autocast.with(.bfloat16) { model(tokens) }
    let difference = error(narrow.words.cast(to: .float32), model(tokens).words)
    #expect(difference > 1e-5 && difference < 0.1, "\(difference)")
  }

  @Test func theBaseModelHasThePublishedSize() {
    #expect(BertModel(BertConfig()).contents.parameterCount == 109_482_240)
  }
}
