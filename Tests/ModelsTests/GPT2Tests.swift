import Kalsae
import KalsaeRuntime
import Testing

@Suite struct GPT2Tests {
  private func model(_ folder: String) throws -> GPT2LMHeadModel {
    let reference = ReferenceModel(folder)
    let model = GPT2LMHeadModel(try reference.config(GPT2Config.self))
    try loadParameters(into: model.contents, from: reference.weights(), keyMap: GPT2LMHeadModel.keyMap)
    return model
  }

  @Test(arguments: ["gpt2", "gpt2-options"])
  func outputsBlocksAndGradientsArePyTorchs(_ folder: String) throws {
    let model = try model(folder), golden = try ReferenceModel(folder).golden(), blocks = Blocks()
    let logits = model(
      try golden("input.input_ids"), attentionMask: try golden("input.attention_mask"), observe: blocks.see)
    try golden.check(model.contents, outputs: [logits], blocks: blocks.all)
  }

  @Test(arguments: ["gpt2", "gpt2-options"])
  func keysAreThoseOfTheCheckpoint(_ folder: String) throws {
    let contents = try model(folder).contents, file = try ReferenceModel(folder).weights()
    #expect(contents.parameters.map(\.path).sorted() == file.names)
    for entry in contents.parameters {
      #expect(file[entry.path]?.shape == entry.parameter.shape.dimensions, "\(entry.path)")
    }
  }

  @Test func tiedWeightsLoadUnderEitherKey() throws {
    let model = try model("gpt2")
    #expect(model.contents.parameters[0].path == "transformer.wte.weight")
    #expect(model.contents.parameters[0].aliases == ["lm_head.weight"])
    #expect(try self.model("gpt2-options").contents.parameters[0].aliases.isEmpty)
  }

  @Test func publishedFilesWithoutPrefixAndWithMasksLoad() throws {
    let reference = ReferenceModel("gpt2")
    let new = try model("gpt2"), old = GPT2LMHeadModel(try reference.config(GPT2Config.self))
    let report = try loadParameters(
      into: old.contents, from: reference.weights("legacy_names.safetensors"), keyMap: GPT2LMHeadModel.keyMap)
    #expect(
      report.ignored == ["h.0.attn.bias", "h.0.attn.masked_bias", "h.1.attn.bias", "h.1.attn.masked_bias"])
    for (a, b) in zip(new.contents.slots, old.contents.slots) {
      #expect(a.value.floats() == b.value.floats())
    }
    // The decoder alone reads both kinds of file.
    for file in ["legacy_names.safetensors", "model.safetensors"] {
      let bare = GPT2Model(new.config)
      try loadParameters(into: bare.contents, from: reference.weights(file), keyMap: GPT2Model.keyMap)
      #expect(bare.wpe.weight.value.floats() == new.transformer.wpe.weight.value.floats())
    }
  }

  // MARK: - The cache

  /// A token at a time gives what the whole text gives, with one plan.
  @Test func decodingWithTheCacheIsTheFullPassAtEveryPosition() throws {
    let model = try model("gpt2")
    let tokens: [Int32] = [3, 17, 28, 0, 5, 5, 11, 23, 9, 14, 2, 7, 26, 19, 1, 8]
    let full = model(Tensor(tokens, [1, 16]))
    let cache = model.makeCache(capacity: 16)
    var plans: Set<ObjectIdentifier> = [], memory: Set<UnsafeMutableRawPointer> = []
    for (t, token) in tokens.enumerated() {
      let step = model(Tensor([token], [1, 1]), cache: cache)
      plans.insert(
        ObjectIdentifier(Evaluator.shared.plan(for: [step], slots: cache.slots, backend: Backends.current)))
      evaluate(step, slots: cache.slots)
      memory.insert(cache.slots[0].buffer!.pointer)
      let expected = full.at(t, axis: 1)
      #expect(error(step.at(0, axis: 1), expected) < 1e-5, "position \(t)")
      #expect(step.argMax().array(of: Int32.self) == expected.argMax().array(of: Int32.self))
    }
    #expect(cache.length == 16)
    #expect(plans.count == 1, "one plan for all positions")
    #expect(memory.count == 1, "keys are written in place")
  }

  @Test func greedyTokensWithAndWithoutTheCacheAreTheSame() throws {
    let model = try model("gpt2-options")
    let prompt: [Int32] = [4, 20, 9]
    var slow = prompt
    while slow.count < 16 {
      let logits = model(Tensor(slow, [1, slow.count]))
      slow.append(logits.at(slow.count - 1, axis: 1).argMax().array(of: Int32.self)[0])
    }
    let cache = model.makeCache(capacity: 20)
    var fast = prompt, next = prompt
    while fast.count < 16 {
      let logits = model(Tensor(next, [1, next.count]), cache: cache)
      evaluate(logits, slots: cache.slots)
      next = logits.at(next.count - 1, axis: 1).argMax().array(of: Int32.self)
      fast += next
    }
    #expect(fast == slow)
    #expect(Set(fast).count > 4, "a text of one word would prove little")
  }

  @Test func promptsOfUnequalLengthShareABatch() throws {
    let model = try model("gpt2")
    let texts: [[Int32]] = [[3, 17, 28, 6, 5], [11, 23, 9]]
    let cache = model.makeCache(batch: 2, capacity: 12, leftPadding: [0, 2])
    let prompt = model(Tensor(texts[0] + [0, 0] + texts[1], [2, 5]), cache: cache)
    evaluate(prompt, slots: cache.slots)
    let more: [Int32] = [13, 21]
    let step = model(Tensor(more, [2, 1]), cache: cache)
    evaluate(step, slots: cache.slots)
    for (i, text) in texts.enumerated() {
      let alone = model(Tensor(text + [more[i]], [1, text.count + 1]))
      #expect(error(prompt.at(i).at(4, axis: 0), alone.at(0).at(text.count - 1, axis: 0)) < 1e-5)
      #expect(error(step.at(i).at(0, axis: 0), alone.at(0).at(text.count, axis: 0)) < 1e-5)
    }
  }

  @Test func aCacheForgetsAndReorders() throws {
    let model = try model("gpt2")
    func logits(_ tokens: [Int32], _ cache: KeyValueCache) -> Tensor {
      let y = model(Tensor(tokens, [2, tokens.count / 2]), cache: cache)
      evaluate(y, slots: cache.slots)
      return y
    }
    let cache = model.makeCache(batch: 2, capacity: 8)
    _ = logits([1, 2, 3, 4, 5, 6], cache)
    let first = logits([7, 8], cache)
    cache.truncate(to: 3)
    #expect(error(logits([7, 8], cache), first) < 1e-6)
    cache.truncate(to: 3)
    cache.reorder(Tensor([1, 0] as [Int32]))
    #expect(error(logits([8, 7], cache), first.gathered(Tensor([1, 0] as [Int32]))) < 1e-6)
  }

  @Test func tooManyTokensTrapWithTheNumbers() async {
    let positions = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      var config = GPT2Config()
      (config.n_positions, config.n_layer, config.n_embd, config.n_head) = (4, 1, 8, 2)
      _ = GPT2Model(config)(.zeros([1, 5], dtype: .int32))
    }
    #expect(printed(by: positions).contains("GPT2: 5 tokens for 4 positions"))
    let capacity = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      var config = GPT2Config()
      (config.n_layer, config.n_embd, config.n_head) = (1, 8, 2)
      let model = GPT2Model(config)
      _ = model(.zeros([1, 5], dtype: .int32), cache: model.makeCache(capacity: 4))
    }
    #expect(printed(by: capacity).contains("0 tokens and 5 more do not fit a capacity of 4"))
  }

  @Test func autocastKeepsTheResidualStreamInFloat32() throws {
    let model = try model("gpt2"), tokens = Tensor([3, 17, 28, 6] as [Int32], [1, 4])
    let blocks = Blocks()
    let narrow = Autocast.with(.bfloat16) { model(tokens, observe: blocks.see) }
    #expect(blocks.all.first { $0.key == "transformer.h.1" }?.value.dtype == .float32)
    let difference = error(narrow.cast(to: .float32), model(tokens))
    #expect(difference > 1e-5 && difference < 0.1, "\(difference)")
    // The cache has the precision of the products.
    Autocast.with(.bfloat16) {
      let cache = model.makeCache(capacity: 4)
      #expect(cache.slots[0].spec.dtype == .bfloat16)
      let first = model(tokens.sliced(1, 0..<3), cache: cache)
      evaluate(first, slots: cache.slots)
      let last = model(tokens.sliced(1, 3..<4), cache: cache)
      evaluate(last, slots: cache.slots)
      #expect(error(last.at(0, axis: 1).cast(to: .float32), narrow.at(3, axis: 1).cast(to: .float32)) < 0.05)
    }
  }

  @Test func dropoutRepeatsWithItsKey() throws {
    let model = try model("gpt2"), tokens = Tensor([3, 17, 28, 6] as [Int32], [1, 4])
    func loss(_ seed: UInt64) -> (Double, [Float]) {
      let (value, gradients) = valueAndGradient(model) {
        Mode.training(RandomKey(seed: seed)) { nextTokenLoss(model(tokens), tokens) }
      }
      evaluate([value] + gradients.tensors)
      return (value.item(), gradients.tensors[0].floats())
    }
    let first = loss(1), again = loss(1), other = loss(2)
    #expect(first.0.isFinite && first.1.allSatisfy(\.isFinite))
    #expect(first.0 == again.0 && first.1 == again.1)
    #expect(first.0 != other.0)
  }

  /// Weights that write into the residual stream start smaller, by the root of the number of such layers.
  @Test func firstValuesAreThePapers() {
    var config = GPT2Config()
    (config.n_layer, config.n_embd, config.n_head, config.vocab_size) = (8, 64, 4, 500)
    let contents = Initialization.with(seed: 1) { GPT2LMHeadModel(config) }.contents
    func spread(_ path: String) -> Double {
      let values = contents.parameters.first { $0.path == path }!.parameter.value
      return sqrt(square(values).mean()).item()
    }
    #expect(abs(spread("transformer.wte.weight") - 0.02) < 5e-4)
    #expect(abs(spread("transformer.h.3.mlp.c_fc.weight") - 0.02) < 5e-4)
    #expect(abs(spread("transformer.h.3.mlp.c_proj.weight") - 0.005) < 2e-4)
    #expect(spread("transformer.h.3.attn.c_attn.bias") == 0)
  }

  @Test func theSmallModelHasThePublishedSize() {
    #expect(GPT2LMHeadModel(GPT2Config()).contents.parameterCount == 124_439_808)
  }

  @Test func attentionMapsAreThereForWhoAsks() throws {
    let model = try model("gpt2")
    let tokens = Tensor([3, 17, 28, 6] as [Int32], [1, 4])
    let (_, maps) = AttentionMaps.recording { model(tokens) }
    #expect(maps.map(\.shape) == [[1, 4, 4, 4], [1, 4, 4, 4]])
    let rows = maps[1].floats()
    for row in 0..<16 {
      let t = row % 4
      #expect(abs(rows[row * 4..<row * 4 + 4].reduce(0, +) - 1) < 1e-5)
      #expect(rows[row * 4 + t + 1..<row * 4 + 4].allSatisfy { $0 == 0 }, "causal")
    }
  }
}
