import KalsaeData
import KalsaeGeneration
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

// The Transformers among the workloads, each with random weights and tokens. `batch` counts sequences.

extension PreparedWorkload {
  static func gpt2Train(_ batch: Int) -> PreparedWorkload {
    var config = GPT2Config()
    (config.resid_pdrop, config.embd_pdrop, config.attn_pdrop) = (0, 0, 0)
    let (model, contents) = model { GPT2LMHeadModel(config) }
    let inputs = tokens(batch, 256, below: config.vocab_size),
      labels = tokens(batch, 256, below: config.vocab_size, seed: 1)
    return training(
      AdamW(contents), [inputs, labels], rate: 1e-4, items: (batch * 256, "tokens"), clippedTo: 1
    ) { _ in
      linearCrossEntropies(model.transformer(inputs), weight: model.lm_head.weight.value, labels: labels)
        .mean()
    }
  }

  static func gpt2Prefill(_ batch: Int) -> PreparedWorkload {
    let (model, _) = model { GPT2LMHeadModel(GPT2Config()) }
    let cache = model.makeCache(batch: batch, capacity: model.contextLength)
    let prompt = tokens(batch, 512, below: model.vocabularySize)
    func evaluation(_ index: Int) -> Evaluation {
      cache.truncate()
      return Evaluation([prompt], slots: cache.slots) { [model.nextLogits(prompt, cache: cache)] }
    }
    return PreparedWorkload(items: (batch * 512, "tokens"), evaluation: evaluation)
  }

  static func gpt2Decode(_ batch: Int) -> PreparedWorkload {
    let (model, contents) = model { GPT2LMHeadModel(GPT2Config()) }
    let prompt = (0..<batch).map { tokenArray(16, below: model.vocabularySize, seed: UInt64($0)) }
    // As a `TextGenerator` does for all its texts.
    let reader = StepReader()
    func decoder() -> TokenDecoder {
      // Nothing can be thrown: the model knows all of these tokens, and they fit its context.
      try! TokenDecoder(model, prompts: prompt, policy: .greedy, seed: 0, reader: reader)
    }
    let cache = model.makeCache(batch: batch, capacity: model.contextLength)
    evaluate(
      [model.nextLogits(Tensor(prompt.flatMap(\.self), [batch, 16]), cache: cache)], slots: cache.slots)
    let next = tokens(batch, 1, below: model.vocabularySize)
    // Every weight is read once, of the table of positions one row.
    let width = (Autocast.precision ?? .float32).byteCount
    let weights = contents.parameterCount - model.transformer.wpe.weight.shape.count
    return PreparedWorkload(
      evaluations: 64, bytes: weights * width, items: (64 * batch, "tokens"),
      run: { _ in
        var decoder = decoder()
        for _ in 0..<64 { try! decoder.append(decoder.choose()) }
      },
      evaluation: { _ in
        cache.truncate(to: 16)
        return Evaluation([next], slots: cache.slots) { [model.nextLogits(next, cache: cache)] }
      })
  }

  static func transformerTrain(_ batch: Int) -> PreparedWorkload {
    var config = TransformerConfig()
    config.vocab_size = 10_000
    let (model, contents) = model { TransformerForTranslation(config) }
    // No padding among them.
    let first = config.eos_token_id + 1
    let (source, target, labels) = (
      tokens(batch, 32, from: first, below: 10_000), tokens(batch, 32, from: first, below: 10_000, seed: 1),
      tokens(batch, 32, from: first, below: 10_000, seed: 2)
    )
    return training(
      Adam(contents, beta2: 0.98, epsilon: 1e-9), [source, target, labels], rate: 1e-4,
      items: (batch, "pairs")
    ) { _ in
      linearCrossEntropy(
        model.hidden(target, model.encode(source)), weight: model.generator.weight.value, labels: labels,
        labelSmoothing: 0.1, ignoredLabel: config.pad_token_id)
    }
  }

  static func bertBase(_ batch: Int) -> PreparedWorkload {
    let (model, _) = model { BertModel(BertConfig()) }
    let tokens = tokens(batch, 128, below: model.config.vocab_size)
    return call([tokens], items: (batch, "sequences")) {
      let (hidden, pooled) = model(tokens)
      return [hidden, pooled!]
    }
  }

  static func vitBase(_ batch: Int) -> PreparedWorkload {
    let (model, _) = model { ViTForImageClassification(ViTConfig()) }
    let pixels = Tensor.normal([batch, 224, 224, 3], key: RandomKey(seed: 1))
    evaluate(pixels)
    return call([pixels], items: (batch, "images")) { [model(pixels)] }
  }

  private static func tokenArray(
    _ count: Int, from first: Int = 0, below end: Int, seed: UInt64 = 0
  ) -> [Int32] {
    var random = SplitMix64(key: seed)
    return (0..<count).map { _ in Int32(first) + Int32(random.below(UInt64(end - first))) }
  }

  private static func tokens(
    _ batch: Int, _ length: Int, from first: Int = 0, below end: Int, seed: UInt64 = 0
  ) -> Tensor {
    Tensor(tokenArray(batch * length, from: first, below: end, seed: seed), [batch, length])
  }
}
