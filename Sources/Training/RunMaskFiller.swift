import KalsaeCheckpoints
import KalsaeGeneration
import KalsaeModels
import KalsaeNeural
import KalsaeTokenizers

extension MaskFiller {
  /// Opens a run of `kalsae train masked-language-model`, or a model folder of transformers' `BertForMaskedLM` or
  /// `BertForPreTraining`: config.json, model.safetensors, a tokenizer.
  public init(runOrModel path: String, weights: RunWeights = .ema, step: Int? = nil) throws {
    let source = try ModelSource(path), task = MaskedLanguageModelConfiguration.task
    guard source.task == nil || source.task == task else {
      throw RunError("\(path): a run of \(source.task!), but filling masks needs one of \(task)")
    }
    let model = try BertForMaskedLM(BertConfig(source.config))
    try loadParameters(
      into: model.contents, from: source.weights(weights, step: step), keyMap: BertForMaskedLM.keyMap)
    try self.init(model: model, tokenizer: Tokenizer(path: source.tokenizerPath))
  }
}
