import Foundation
import Kalsae
import Testing

@Suite struct VisionTests {
  /// PyTorch's pictures are (N, C, H, W).
  private func pixels(_ golden: Golden) throws -> Tensor {
    try golden("input.pixel_values").transposed(0, 2, 3, 1)
  }

  @Test func imageClassificationIsPyTorchs() throws {
    let reference = ReferenceModel("vit-classification"), golden = try reference.golden(), blocks = Blocks()
    let model = ViTForImageClassification(try reference.config(ViTConfig.self))
    #expect(model.config.id2label.names == ["LABEL_0", "LABEL_1", "LABEL_2"])
    let report = try loadParameters(
      into: model.contents, from: reference.weights(), keyMap: ViTForImageClassification.keyMap)
    #expect(report.ignored.isEmpty)
    let logits = model(try pixels(golden), observe: blocks.see)
    try golden.check(model.contents, outputs: [logits], blocks: blocks.all)
  }

  @Test func oblongPicturesOfOneChannelArePyTorchs() throws {
    let reference = ReferenceModel("vit"), golden = try reference.golden(), blocks = Blocks()
    let model = ViTModel(try reference.config(ViTConfig.self))
    try loadParameters(into: model.contents, from: reference.weights(), keyMap: ViTModel.keyMap)
    let (hidden, pooled) = model(try pixels(golden), observe: blocks.see)
    try golden.check(model.contents, outputs: [hidden, try #require(pooled)], blocks: blocks.all)
  }

  /// What Kalsae writes has its own keys, which are transformers' too.
  @Test func ownKeysLoad() throws {
    let reference = ReferenceModel("vit-classification"), config = try reference.config(ViTConfig.self)
    let first = ViTForImageClassification(config), second = ViTForImageClassification(config)
    let path = FileManager.default.temporaryDirectory.path + "/vit-\(UUID()).safetensors"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try saveParameters(of: first.contents, to: path)
    try loadParameters(
      into: second.contents, from: SafetensorsFile(path: path), keyMap: ViTForImageClassification.keyMap)
    for (a, b) in zip(first.contents.slots, second.contents.slots) {
      #expect(a.value.floats() == b.value.floats())
    }
  }

  @Test func autocastIsClose() throws {
    let model = try ViTForImageClassification(folder: ReferenceModel("vit-classification").path(""))
    let pixels = try pixels(ReferenceModel("vit-classification").golden())
    let narrow = Autocast.with(.bfloat16) { model(pixels) }
    let difference = error(narrow.cast(to: .float32), model(pixels))
    #expect(difference > 1e-5 && difference < 0.1, "\(difference)")
  }

  @Test func theBaseModelHasThePublishedSize() {
    var config = ViTConfig()
    config.id2label = LabelNames(count: 1000)
    #expect(ViTForImageClassification(config).contents.parameterCount == 86_567_656)
  }

  @Test func picturesOfAnotherSizeTrap() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      var config = ViTConfig()
      (config.image_size, config.num_hidden_layers) = (ImageSize(32), 1)
      _ = ViTForImageClassification(config)(.zeros([1, 16, 32, 3]))
    }
    #expect(printed(by: result).contains("ViT: needs pictures (N, 32, 32, 3), not (1, 16, 32, 3)"))
  }

  // MARK: - AlexNet

  /// The weights that `Tools/reference/text_models.py` computes too: a hash of the place, scaled by the fan.
  private func fill(_ contents: ModuleContents) {
    for (number, entry) in contents.parameters.enumerated() {
      let shape = entry.parameter.shape
      let fan = shape.dimensions.dropFirst().reduce(1, *)
      let scale = shape.rank > 1 ? Float(2 / Double(fan).squareRoot()) : 0.5
      let values = (0..<shape.count).map { i -> Float in
        let hash = UInt32(truncatingIfNeeded: (i + 1) &* 2_654_435_761 &+ number * 97_003)
        return (Float(hash >> 8) / 16_777_216 - 0.5) * scale
      }
      entry.parameter.value = Tensor(values, shape)
    }
    evaluate([], slots: contents.slots)
  }

  @Test func alexNetIsTorchvisions() throws {
    let reference = ReferenceModel("alexnet"), golden = try reference.golden(), blocks = Blocks()
    let model = AlexNet(try reference.config(AlexNetConfig.self)), contents = model.contents
    fill(contents)
    let logits = model(try pixels(golden), observe: blocks.see)
    try golden.check(contents, outputs: [logits], blocks: blocks.all) { key, value in
      // Channels first; of large tensors 997 numbers, spread evenly.
      let value = key.hasPrefix("block.") && value.rank == 4 ? value.transposed(0, 3, 1, 2) : value
      guard value.count > 2000 else { return value }
      let step = value.count / 997
      return value.flattened().sliced(0, 0..<996 * step + 1, by: step)
    }
  }

  @Test func alexNetHasThePublishedSizeAndKeys() {
    let contents = AlexNet(AlexNetConfig()).contents
    #expect(contents.parameterCount == 61_100_840)
    #expect(
      contents.parameters.map(\.path).filter { $0.hasSuffix("weight") } == [
        "features.0.weight", "features.3.weight", "features.6.weight", "features.8.weight",
        "features.10.weight",
        "classifier.1.weight", "classifier.4.weight", "classifier.6.weight",
      ])
  }
}
