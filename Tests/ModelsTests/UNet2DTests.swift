import Foundation
import Kalsae
import Testing

/// A small `UNet2DModel` of diffusers with what PyTorch made of it in float32; `Tools/reference/unet2d.py` wrote it.
///
/// PyTorch's pictures are (N, C, H, W).
private struct Reference: Sendable, CustomTestStringConvertible {
  let folder: String
  var testDescription: String { folder }

  static let all = [
    "cifar10", "class-timestep", "ddpm", "fourier", "learned", "resnet-resample", "scale-shift-class",
  ].map { Reference(folder: "unet2d-" + $0) }

  func path(_ name: String) -> String {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    return tests.appendingPathComponent("Fixtures/\(folder)/\(name)").path
  }

  func config() throws -> UNet2DConfig { try UNet2DConfig(ConfigJSON(path: path("config.json"))) }
  func weights() throws -> SafetensorsFile {
    try SafetensorsFile(path: path("diffusion_pytorch_model.safetensors"))
  }

  func model() throws -> UNet2DModel {
    let model = UNet2DModel(try config())
    try loadParameters(into: model.contents, from: weights())
    return model
  }
}

/// Inputs, activations and gradients of a reference.
private struct UNetGolden {
  let file: SafetensorsFile
  /// Gradients that are zero in exact arithmetic.
  let zeros: Set<String>

  init(_ reference: Reference) throws {
    file = try SafetensorsFile(path: reference.path("golden.safetensors"))
    let cases = try JSON(parsing: (file.metadata["cases"] ?? "{}").utf8)
    guard case .object(let object) = cases, let names = object["zero_gradients"].flatMap([String].init) else {
      throw CocoaError(.propertyListReadCorrupt)
    }
    zeros = Set(names)
  }

  /// An activation, channels last.
  func activation(_ name: String) throws -> Tensor {
    let tensor = try file.tensor(name)
    return tensor.rank == 4 ? tensor.transposed(0, 2, 3, 1) : tensor
  }

  /// Times or labels; PyTorch's integers are int64.
  func numbers(_ name: String) throws -> Tensor? {
    guard file[name] != nil else { return nil }
    let tensor = try file.tensor(name)
    return tensor.dtype == .int64 ? tensor.cast(to: .int32) : tensor
  }
}

@Suite struct UNet2DTests {
  @Test(arguments: Reference.all)
  private func keysAreThoseOfTheCheckpoint(_ reference: Reference) throws {
    let contents = UNet2DModel(try reference.config()).contents, file = try reference.weights()
    let slots =
      contents.parameters.map { ($0.path, $0.parameter.shape) }
      + contents.states.map { ($0.path, $0.state.shape) }
    #expect(slots.map(\.0).sorted() == file.names.sorted())
    for (path, shape) in slots { #expect(file[path]?.shape == shape.dimensions, "\(path)") }
  }

  @Test(arguments: Reference.all)
  private func outputsBlocksAndGradientsArePyTorchs(_ reference: Reference) throws {
    let model = try reference.model(), golden = try UNetGolden(reference), contents = model.contents
    let sample = try golden.activation("input.sample")
    var blocks: [(key: String, value: Tensor)] = []
    let output = model(
      sample, try golden.numbers("input.timesteps")!, classLabels: try golden.numbers("input.class_labels")
    ) { blocks.append(($0, $1)) }
    blocks.append(("conv_norm_out", model.conv_norm_out(blocks.last!.value)))
    let loss = (output * (try golden.activation("cotangent"))).sum()
    let derivatives = gradients(
      of: loss, withRespectTo: [sample] + contents.parameters.map(\.parameter.value))
    evaluate([output] + blocks.map(\.value) + derivatives)

    #expect(error(output, try golden.activation("output")) < 1e-4)
    #expect(Set(blocks.map { "block." + $0.key }) == Set(golden.file.names.filter { $0.hasPrefix("block.") }))
    for block in blocks {
      #expect(error(block.value, try golden.activation("block." + block.key)) < 1e-4, "\(block.key)")
    }
    #expect(error(derivatives[0], try golden.activation("grad_input.sample")) < 1e-4)
    let largest = derivatives.map { $0.floats().map(abs).max()! }.max()!
    for (entry, gradient) in zip(contents.parameters, derivatives.dropFirst()) {
      let key = "grad." + entry.path
      if golden.zeros.contains(key) {
        #expect(gradient.floats().allSatisfy { abs($0) < 1e-5 * largest }, "\(key)")
      } else {
        #expect(error(gradient, try golden.file.tensor(key)) < 1e-4, "\(key)")
      }
    }
  }

  @Test func attentionNamesOfOldCheckpointsLoad() throws {
    let reference = Reference(folder: "unet2d-cifar10")
    let new = try reference.model(), old = UNet2DModel(try reference.config())
    let file = try SafetensorsFile(path: reference.path("legacy_names.safetensors"))
    #expect(throws: LoadError.self) { try loadParameters(into: old.contents, from: file) }
    try loadParameters(into: old.contents, from: file, keyMap: UNet2DModel.keyMap)
    for (a, b) in zip(new.contents.slots, old.contents.slots) {
      #expect(a.value.floats() == b.value.floats())
    }
  }

  /// The network of the paper for CIFAR-10, 35.7 million parameters (Ho et al. 2020, appendix B).
  @Test func thePapersNetworkHasThePapersSize() {
    var config = UNet2DConfig()
    config.block_out_channels = [128, 256, 256, 256]
    config.down_block_types = [.plain, .attention, .plain, .plain]
    config.up_block_types = [.plain, .plain, .attention, .plain]
    config.attention_head_dim = nil
    #expect(UNet2DModel(config).contents.parameterCount == 35_746_307)
  }

  @Test func oneTimeServesAllPictures() throws {
    let model = try Reference(folder: "unet2d-ddpm").model()
    let x = Tensor.normal([3, 8, 8, 3], key: RandomKey(seed: 1))
    #expect(model(x, Tensor(7, .int32)).floats() == model(x, Tensor([7, 7, 7] as [Int32])).floats())
  }

  @Test func autocastKeepsTheResultInFloat32() throws {
    let model = try Reference(folder: "unet2d-ddpm").model()
    let x = Tensor.normal([2, 8, 8, 3], key: RandomKey(seed: 2)), t = Tensor([3, 500] as [Int32])
    let narrow = Autocast.with(.bfloat16) { model(x, t) }
    #expect(narrow.dtype == .float32)
    let difference = error(narrow, model(x, t))
    #expect(difference > 1e-6 && difference < 0.1, "\(difference)")
  }

  @Test func misuseTrapsWithWhatIsNeeded() async {
    let size = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      var config = UNet2DConfig()
      (config.block_out_channels, config.norm_num_groups) = ([8, 8, 8], 4)
      (config.down_block_types, config.up_block_types) = (
        [.plain, .plain, .plain], [.plain, .plain, .plain]
      )
      _ = UNet2DModel(config)(.zeros([1, 10, 8, 3]), Tensor(1))
    }
    #expect(
      printed(by: size).contains("must be multiples of 4"))
    let labels = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      var config = UNet2DConfig()
      (config.block_out_channels, config.norm_num_groups, config.num_class_embeds) = ([8], 4, 3)
      (config.down_block_types, config.up_block_types) = ([.plain], [.plain])
      _ = UNet2DModel(config)(.zeros([1, 4, 4, 3]), Tensor(1))
    }
    #expect(
      printed(by: labels).contains("class labels are needed"))
  }
}

/// What a process that was expected to trap wrote to standard error.
func printed(by result: ExitTest.Result?) -> String {
  String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
}
