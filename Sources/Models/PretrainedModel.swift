import KalsaeCheckpoints
import KalsaeNeural

/// An architecture that reads a model folder of its library: `config.json`, and `model.safetensors` or its shards.
public protocol PretrainedModel: Module {
  associatedtype Config: ModelConfig

  /// What files call the parameters where that is not their path.
  static var keyMap: KeyMap { get }

  /// A network with first values; traps when the configuration contradicts itself.
  init(_ config: Config)
}

extension PretrainedModel {
  public static var keyMap: KeyMap { [:] }

  /// Reads a folder, strictly: each key of the network must be in the file and each key of the file in the network.
  public init(folder: String) throws {
    try self.init(folder: folder, Config(ConfigJSON(path: folder + "/config.json")))
  }

  /// The same with a configuration that has been read already.
  public init(folder: String, _ config: Config) throws {
    self.init(config)
    try loadParameters(
      into: contents, from: SafetensorsFile(folder: folder, name: "model"), keyMap: Self.keyMap)
  }
}
