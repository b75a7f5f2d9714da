import Foundation
import KalsaeCheckpoints
import KalsaeGeneration
import KalsaeModels
import KalsaeNeural
import KalsaeTokenizers

extension TextGenerator {
  /// Opens a run of `kalsae train language-model`, or a model folder: config.json, model.safetensors, a tokenizer.
  public init(runOrModel path: String, weights: RunWeights = .ema, step: Int? = nil) throws {
    let run = RunFolder(path)
    guard run.exists else {
      throw RunError("\(path) is neither a run folder nor a model folder: it has no config.json")
    }
    let file = try ConfigJSON(path: run.configPath)
    if file.object["task"] == nil {
      let config = try GPT2Config(file)
      self.init(
        model: try GPT2LMHeadModel(folder: path, config), tokenizer: try Tokenizer(path: path),
        end: config.eos_token_id.map(Int32.init))
      return
    }
    let configuration: LanguageModelConfiguration = try run.configuration()
    guard let config = configuration.model else {
      throw RunError("\(run.configPath) has no model: the run has not started training")
    }
    let model = GPT2LMHeadModel(config)
    try run.load(weights, step: step, into: model.contents)
    self.init(
      model: model, tokenizer: try Tokenizer(path: run.tokenizerPath),
      end: config.eos_token_id.map(Int32.init))
  }
}
