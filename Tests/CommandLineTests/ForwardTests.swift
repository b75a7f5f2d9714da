import Foundation
import Kalsae
import Testing

extension CommandLineTests {
  /// `kalsae forward` on the reference models, and on inputs that do not fit them.
  @Suite(.serialized) struct ForwardPass {
    let place: Workspace
    /// In place of an input: leave it out.
    private let none: Tensor? = nil

    init() throws { place = try Workspace() }

    private func fixture(_ path: String) -> String {
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fixtures/" + path).path
    }

    private func golden(_ model: String) throws -> SafetensorsFile {
      try SafetensorsFile(path: fixture(model + "/golden.safetensors"))
    }

    /// The inputs and cotangents of a reference as the command wants them, and more in their place.
    private func writeInputs(_ model: String, _ changes: [String: Tensor?] = [:]) throws {
      let file = try golden(model)
      var tensors: [String: Tensor] = [:]
      var outputs: [String] = []
      if case .object(let object) = try JSON(parsing: (file.metadata["cases"] ?? "{}").utf8) {
        outputs = object["outputs"].flatMap([String].init) ?? []
      }
      for name in file.names where name.hasPrefix("input.") {
        tensors[String(name.dropFirst(6))] = try file.tensor(name)
      }
      for (number, name) in outputs.enumerated() {
        tensors[number == 0 ? "cotangent" : "cotangent." + name] = try file.tensor("cotangent." + name)
      }
      for (name, tensor) in changes { tensors[name] = tensor }
      try saveTensors(tensors, to: place("in.safetensors"))
    }

    private func error(_ found: Tensor, _ expected: Tensor) -> Float {
      guard found.shape == expected.shape else { return .infinity }
      let y = expected.floats()
      return zip(found.floats(), y).map { abs($0 - $1) }.max()! / max(y.map(abs).max()!, 1e-30)
    }

    @Test(arguments: [
      "gpt2", "gpt2-options", "bert-pretraining", "bert-masked-lm", "bert-classification",
      "vit-classification",
      "vit", "transformer", "transformer-prenorm", "translation",
    ])
    func outputsBlocksAndGradientsAreThere(_ model: String) throws {
      try writeInputs(model)
      let result = try place.kalsae(
        "forward", fixture(model), "--input", "in.safetensors", "--output", "out.safetensors", "--blocks",
        "--gradients", "grad.safetensors")
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.output == "out.safetensors\ngrad.safetensors\n")
      let golden = try golden(model)
      let outputs = try SafetensorsFile(path: place("out.safetensors"))
      let gradients = try SafetensorsFile(path: place("grad.safetensors"))
      func names(_ prefix: String) -> [String] {
        golden.names.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
      }
      #expect(outputs.names == (names("output.") + names("block.")).sorted())
      #expect(gradients.names == names("grad.").sorted())
      for name in names("output.") {
        #expect(error(try outputs.tensor(name), try golden.tensor("output." + name)) < 1e-4, "\(name)")
      }
      for name in names("block.") {
        #expect(error(try outputs.tensor(name), try golden.tensor("block." + name)) < 1e-4, "\(name)")
      }
      for name in names("grad.") where !name.hasSuffix("bias") {
        #expect(error(try gradients.tensor(name), try golden.tensor("grad." + name)) < 1e-4, "\(name)")
      }
    }

    /// A diffusers network, whose pictures have channels first in files.
    @Test func aUNetRunsToo() throws {
      let golden = try golden("unet2d-scale-shift-class")
      try saveTensors(
        [
          "sample": golden.tensor("input.sample"), "timestep": golden.tensor("input.timesteps"),
          "class_labels": golden.tensor("input.class_labels"), "cotangent": golden.tensor("cotangent"),
        ], to: place("in.safetensors"))
      let result = try place.kalsae(
        "forward", fixture("unet2d-scale-shift-class"), "--input", "in.safetensors", "-o", "out.safetensors",
        "--blocks", "--gradients", "grad.safetensors")
      #expect(result.status == 0, "\(result.errors)")
      let outputs = try SafetensorsFile(path: place("out.safetensors"))
      let gradients = try SafetensorsFile(path: place("grad.safetensors"))
      #expect(error(try outputs.tensor("sample"), try golden.tensor("output")) < 1e-4)
      #expect(error(try outputs.tensor("mid_block"), try golden.tensor("block.mid_block")) < 1e-4)
      #expect(
        error(try gradients.tensor("conv_in.weight"), try golden.tensor("grad.conv_in.weight")) < 1e-4)
    }

    private func refusal(
      _ model: String, _ changes: [String: Tensor?], _ words: String...,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      try writeInputs(model, changes)
      let result = try place.kalsae(
        "forward", fixture(model), "--input", "in.safetensors", "--output", "out.safetensors", "--quiet")
      #expect(result.status == 1, "\(result.errors)", sourceLocation: sourceLocation)
      #expect(result.errorLines.count == 1, "\(result.errors)", sourceLocation: sourceLocation)
      for word in words {
        #expect(result.errors.contains(word), "\(result.errors)", sourceLocation: sourceLocation)
      }
      #expect(!place.exists("out.safetensors"), sourceLocation: sourceLocation)
    }

    @Test func inputsThatDoNotFit() throws {
      let ids = Tensor([1, 2, 3] as [Int64], [1, 3])
      func only(_ changes: [String: Tensor?]) -> [String: Tensor?] {
        ["input_ids": ids, "attention_mask": none, "cotangent": none].merging(changes) { $1 }
      }
      try refusal("gpt2", only(["input_ids": none]), "in.safetensors: has no 'input_ids'")
      try refusal(
        "gpt2", only(["inputs_id": ids]),
        "'inputs_id' is no input of this model; it reads input_ids, attention_mask")
      try refusal(
        "gpt2", only(["input_ids": Tensor.zeros([1, 3])]),
        "'input_ids' should be int32 or int64 (B, T), found F32 (1, 3)")
      try refusal("gpt2", only(["input_ids": Tensor([1, 2] as [Int64])]), "should be int32 or int64 (B, T)")
      try refusal(
        "gpt2", only(["attention_mask": Tensor([1, 1] as [Int64], [1, 2])]),
        "'attention_mask' should be any type (B, T), found I64 (1, 2), but T is 3 in 'input_ids'")
      try refusal(
        "gpt2", only(["input_ids": Tensor([1, 29, 3] as [Int64], [1, 3])]),
        "'input_ids' has 29 at [0, 1]; the vocabulary has 29, from 0 to 28")
      try refusal("gpt2", only(["input_ids": Tensor([1, -1, 3] as [Int32], [1, 3])]), "has -1 at [0, 1]")
      try refusal(
        "gpt2", only(["input_ids": Tensor([Int64](repeating: 1, count: 17), [1, 17])]),
        "'input_ids' has 17 tokens a sequence, but the model has 16 positions")
      try refusal(
        "gpt2", only(["cotangent": Tensor.zeros([1, 3])]),
        "'cotangent' should be float32 (1, 3, 29) like 'logits', found float32 (1, 3)")
      try refusal(
        "bert-pretraining", ["token_type_ids": Tensor([Int64](repeating: 2, count: 18), [2, 9])],
        "'token_type_ids' has 2 at [0, 0]; type_vocab_size has 2")
      try refusal(
        "vit-classification", ["pixel_values": Tensor.zeros([1, 3, 12, 13]), "cotangent": none],
        "'pixel_values' should be float32, float16 or bfloat16 (N, 3, 12, 12), found F32 (1, 3, 12, 13)")
    }

    @Test func gradientsNeedACotangent() throws {
      try writeInputs("gpt2", ["cotangent": none])
      let result = try place.kalsae(
        "forward", fixture("gpt2"), "--input", "in.safetensors", "--output", "out.safetensors", "--gradients",
        "grad.safetensors", "--quiet")
      #expect(result.status == 1)
      #expect(result.errors.contains("has no 'cotangent', which gradients need: float32 (3, 9, 29)"))
      #expect(!place.exists("grad.safetensors"))
    }

    @Test func foldersThatAreNoModel() throws {
      try writeInputs("gpt2")
      func expect(_ folder: String, _ words: String...) throws {
        let result = try place.kalsae(
          "forward", folder, "--input", "in.safetensors", "--output", "out.safetensors", "--quiet")
        #expect(result.status == 1)
        #expect(result.errors.hasPrefix("kalsae: "))
        for word in words { #expect(result.errors.contains(word), "\(result.errors)") }
      }
      try expect("nowhere", "nowhere/config.json: cannot open")
      try place.write(#"{"model_type": "mamba"}"#, "other/config.json")
      try expect("other", "'model_type' is \"mamba\"; supported: gpt2, bert, vit, alexnet, transformer")
      try place.write(
        #"{"model_type": "gpt2", "architectures": ["GPT2DoubleHeadsModel"]}"#, "heads/config.json")
      try expect("heads", "GPT2DoubleHeadsModel", "supported: GPT2LMHeadModel, GPT2Model")
      try place.write(#"{"model_type": "bert", "hidden_sise": 4}"#, "typo/config.json")
      try expect("typo", "unknown key 'hidden_sise' (did you mean 'hidden_size'?)")
      try place.write(#"{"model_type": "gpt2"}"#, "empty/config.json")
      try expect("empty", "empty/model.safetensors: cannot open")
      try place.write(#"{"model_type": "gpt2", "add_cross_attention": true}"#, "cross/config.json")
      try expect("cross", "'add_cross_attention' true is not supported")
    }
  }
}
