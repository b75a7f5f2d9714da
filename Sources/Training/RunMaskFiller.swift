import KalsaeCheckpoints
import KalsaeGeneration
import KalsaeModels
import KalsaeNeural
import KalsaeTokenizers

extension MaskFiller {
  /// Opens a run of `kalsae train masked-language-model`, or a model folder of transformers' `BertForMaskedLM` or
  /// `BertForPreTraining`: config.json, model.safetensors, a tokenizer.
  public init(runOrModel path: String, weights: RunWeights = .ema, step: Int? = nil) throws {
    let run = RunFolder(path)
    guard run.exists else {
      throw RunError("\(path) is neither a run folder nor a model folder: it has no config.json")
    }
    let file = try ConfigJSON(path: run.configPath)
    guard let task = file.object["task"] else {
      let tokenizer = try Tokenizer(path: path)
      try self.init(model: BertForMaskedLM(folder: path, BertConfig(file)), tokenizer: tokenizer)
      return
    }
    guard task == .string(MaskedLanguageModelConfiguration.task) else {
      throw RunError(
        "\(run.configPath): a run of \(task.text), but filling masks needs one of "
          + "\"\(MaskedLanguageModelConfiguration.task)\"")
    }
    let configuration: MaskedLanguageModelConfiguration = try run.configuration()
    guard let config = configuration.model else {
      throw RunError("\(run.configPath) has no model: the run has not started training")
    }
    let model = BertForMaskedLM(config)
    try run.load(weights, step: step, into: model.contents, keyMap: BertForMaskedLM.keyMap)
    try self.init(model: model, tokenizer: Tokenizer(path: run.tokenizerPath))
  }
}
