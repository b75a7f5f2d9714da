import Foundation
import KalsaeCheckpoints
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// A model folder of any known architecture, and one forward pass on named tensors whose names and layouts are those of
/// its library (transformers, diffusers, PyTorch).
public struct ForwardModel {
  /// What a pass shows: outputs by name, blocks by path.
  public struct Result {
    public var outputs: [String: Tensor] = [:]
    public var blocks: [String: Tensor] = [:]
    /// By parameter; empty unless they were asked for.
    public var gradients: [String: Tensor] = [:]
  }

  typealias Observer = (String, Tensor) -> Void
  typealias Pass = (inout NamedInputs, Observer) throws -> KeyValuePairs<String, Tensor>

  public let contents: ModuleContents
  private let pass: Pass

  init(_ module: some Module, pass: @escaping Pass) { (contents, self.pass) = (module.contents, pass) }

  /// Opens a folder; its `config.json` says which architecture it holds.
  public init(folder: String) throws {
    let config = try ConfigJSON(path: folder + "/config.json")
    let architectures: [String]? = try config("architectures", or: nil)
    let type: String? = try config("model_type", or: nil), name: String? = try config("_class_name", or: nil)
    switch (type, name) {
    case ("gpt2", _): self = try .gpt2(folder, GPT2Config(config), architectures, config)
    case ("bert", _): self = try .bert(folder, BertConfig(config), architectures, config)
    case ("vit", _): self = try .vit(folder, ViTConfig(config), architectures, config)
    case ("alexnet", _): self = try .alexNet(AlexNet(folder: folder, AlexNetConfig(config)))
    case ("transformer", _): self = try .transformer(folder, TransformerConfig(config), architectures, config)
    case (_, "UNet2DModel"): self = try .unet2D(folder, UNet2DConfig(config))
    default:
      throw config.invalid(
        "model_type",
        "is \(type.map { "\"\($0)\"" } ?? "missing"); supported: gpt2, bert, vit, alexnet, transformer")
    }
  }

  /// Runs the model on the tensors of `inputs`; with `gradients`, also computes those of sum(output x cotangent).
  ///
  /// The file holds the cotangent of the first output as `cotangent`, those of others as `cotangent.NAME`.
  public func callAsFunction(_ inputs: SafetensorsFile, gradients: Bool = false) throws -> Result {
    var inputs = NamedInputs(inputs), result = Result()
    let outputs = try Mode.evaluation { try pass(&inputs) { result.blocks[$0] = $1 } }
    for (name, tensor) in outputs { result.outputs[name] = tensor.cast(to: .float32) }
    var loss: Tensor?
    for (number, output) in outputs.enumerated() {
      let name = number == 0 ? "cotangent" : "cotangent." + output.key
      guard let cotangent = try inputs.anything(name) else { continue }
      guard cotangent.shape == output.value.shape, cotangent.dtype.isFloatingPoint else {
        throw ForwardError(
          "\(inputs.file.path): '\(name)' should be float32 \(output.value.shape) like '\(output.key)', found "
            + "\(cotangent.dtype) \(cotangent.shape)")
      }
      let share = (output.value.cast(to: .float32) * cotangent.cast(to: .float32)).sum()
      loss = loss.map { $0 + share } ?? share
    }
    try inputs.finish()
    guard gradients else { return result }
    guard let loss else {
      throw ForwardError(
        "\(inputs.file.path): has no 'cotangent', which gradients need: float32 \(outputs[0].value.shape)")
    }
    let values = contents.parameters.map(\.parameter.value)
    for (entry, gradient) in zip(
      contents.parameters, KalsaeTensors.gradients(of: loss, withRespectTo: values))
    {
      result.gradients[entry.path] = gradient
    }
    return result
  }
}

extension ForwardModel.Result {
  /// Computes everything as one plan.
  public func evaluated() -> Self {
    evaluate(Array(outputs.values) + Array(blocks.values) + Array(gradients.values))
    return self
  }
}
