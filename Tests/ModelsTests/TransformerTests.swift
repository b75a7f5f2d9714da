import Kalsae
import Testing

@Suite struct TransformerTests {
  private func load(_ module: some Module, _ reference: ReferenceModel) throws {
    try loadParameters(into: module.contents, from: reference.weights())
  }

  @Test(arguments: ["transformer", "transformer-prenorm"])
  func encoderAndDecoderArePyTorchs(_ folder: String) throws {
    let reference = ReferenceModel(folder), golden = try reference.golden(), blocks = Blocks()
    let model = Transformer(try reference.config(TransformerConfig.self))
    try load(model, reference)
    // PyTorch has the sequence first unless told otherwise.
    func oriented(_ x: Tensor) -> Tensor { model.config.batch_first ? x : x.swappingAxes(0, 1) }
    let ignored = try golden("input.src_key_padding_mask")
    let mask = paddingMask(.!ignored)
    let encoded = model.encode(oriented(try golden("input.src")), mask: mask, observe: blocks.see)
    let output = model.decode(
      oriented(try golden("input.tgt")), model.source(encoded, mask: mask), observe: blocks.see)
    try golden.check(model.contents, outputs: [oriented(output)], blocks: blocks.all) { key, value in
      key.hasPrefix("block.") ? oriented(value) : value
    }
  }

  @Test(arguments: ["translation", "translation-unshared"])
  func theTranslatorIsThePapers(_ folder: String) throws {
    let reference = ReferenceModel(folder), golden = try reference.golden(), blocks = Blocks()
    let model = TransformerForTranslation(try reference.config(TransformerConfig.self))
    try load(model, reference)
    let logits = model(
      try golden("input.input_ids"), try golden("input.decoder_input_ids"),
      sourceMask: try golden("input.attention_mask"), targetMask: try golden("input.decoder_attention_mask"),
      observe: blocks.see)
    try golden.check(model.contents, outputs: [logits], blocks: blocks.all)
  }

  @Test func decodingWithTheCacheIsTheFullPassAtEveryPosition() throws {
    let reference = ReferenceModel("translation")
    let model = TransformerForTranslation(try reference.config(TransformerConfig.self))
    try load(model, reference)
    let source = Tensor([5, 9, 22, 3, 14, 7, 11, 0, 0, 0] as [Int32], [2, 5])
    let sourceMask = source .!= 0
    let target: [Int32] = [1, 8, 20, 13, 6, 17, 4, 1, 19, 12, 3, 9, 21, 10]
    let full = model(source, Tensor(target, [2, 7]), sourceMask: sourceMask)
    let encoded = model.encode(source, mask: sourceMask)
    evaluate(encoded.tensors)
    let cache = model.transformer.makeCache(batch: 2, capacity: 7)
    for t in 0..<7 {
      let step = model.decode(Tensor([target[t], target[7 + t]], [2, 1]), encoded, cache: cache)
      evaluate(step, slots: cache.slots)
      #expect(error(step.at(0, axis: 1), full.at(t, axis: 1)) < 1e-5, "position \(t)")
    }
  }

  @Test(arguments: ["translation", "translation-unshared"])
  func autocastIsClose(_ folder: String) throws {
    let model = try TransformerForTranslation(folder: ReferenceModel(folder).path(""))
    let source = Tensor([5, 9, 18, 3] as [Int32], [1, 4]), target = Tensor([1, 8, 17] as [Int32], [1, 3])
    let narrow = Autocast.with(.bfloat16) { model(source, target) }
    let difference = error(narrow.cast(to: .float32), model(source, target))
    #expect(difference > 1e-5 && difference < 0.1, "\(difference)")
  }

  @Test func sharedEmbeddingsAreOneParameter() throws {
    let model = TransformerForTranslation(try ReferenceModel("translation").config(TransformerConfig.self))
    let table = model.contents.parameters[0]
    #expect(table.path == "source_embedding.weight")
    #expect(table.aliases == ["target_embedding.weight", "generator.weight"])
  }

  /// 65 million parameters in the paper's base model with its 37,000 words (table 3).
  @Test func theBaseModelHasThePapersSize() {
    var config = TransformerConfig()
    config.vocab_size = 37_000
    let count = TransformerForTranslation(config).contents.parameterCount
    #expect(count == 37_000 * 512 + 44_140_544)
  }
}
