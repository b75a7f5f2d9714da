import KalsaeCheckpoints
import KalsaeModels
import KalsaePipelines
import KalsaeTensors
import KalsaeTokenizers

extension RunFolder {
  /// What the run trains: its configuration's `task`; nil where there is no run.
  public var task: String? {
    guard exists, case .string(let task)? = try? ConfigJSON(path: configPath).object["task"] else {
      return nil
    }
    return task
  }

  /// Writes a classifier as a model folder, which must not exist, under the names that transformers gives to files and
  /// weights (torchvision to AlexNet's): config.json, model.safetensors, and how its input is prepared.
  public func exportClassifier(
    to folder: String, weights: RunWeights = .ema, step: Int? = nil
  ) throws {
    let configuration: ClassifierConfiguration = try configuration()
    guard case .object(let config) = configuration.model.json else {
      throw RunError("\(configPath) has no model: the run has not started training")
    }
    let isViT = configuration.model.kind == .vit
    var tensors: [String: Tensor] = [:]
    for (name, tensor) in try self.weights(weights, step: step).tensors() {
      tensors[isViT ? ViTForImageClassification.publishedKeys(name)! : name] = tensor
    }
    func write(_ object: JSONObject, _ path: String) throws {
      try AtomicFile.write(JSON.object(object).prettyText.utf8, to: path)
    }
    try publishFolder(at: folder) { folder in
      try write(config, folder + "/config.json")
      try saveTensors(tensors, to: folder + "/model.safetensors", metadata: ["format": "pt"])
      if configuration.model.kind.readsPictures {
        try write(configuration.imageProcessor().json, folder + "/preprocessor_config.json")
      } else {
        let tokenizer = try Tokenizer(path: tokenizerPath)
        try tokenizer.save(to: folder + "/tokenizer.json")
        try write(
          tokenizer.transformersConfig(configuration.contextLength), folder + "/tokenizer_config.json")
      }
    }
  }
}

extension Tokenizer {
  /// The `tokenizer_config.json` beside an encoder's tokenizer.json.
  fileprivate func transformersConfig(_ length: Int) -> JSONObject {
    var object: JSONObject = [
      "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": .integer(length),
    ]
    for name in ["pad", "unk", "cls", "sep", "mask"] {
      let token = "[\(name.uppercased())]"
      if id(of: token) != nil { object[name + "_token"] = .string(token) }
    }
    return object
  }
}
