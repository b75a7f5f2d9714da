import Foundation
import Kalsae
import Testing

/// A file or folder of the fixtures.
func fixture(_ path: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/" + path).path
}

/// The maps of every model against those of PyTorch, and what holds of any map.
@Suite struct AttentionMapsTests {
  /// What a reference took and what its maps were.
  private struct Reference {
    let folder: String, file: SafetensorsFile

    init(_ name: String) throws {
      folder = fixture(name)
      file = try SafetensorsFile(path: folder + "/golden.safetensors")
    }

    func callAsFunction(_ name: String) throws -> Tensor {
      let tensor = try file.tensor("input." + name)
      return tensor.dtype == .int64 ? tensor.cast(to: .int32) : tensor
    }

    /// Compares maps (B, heads, T, S), in the queries that are tokens: what padding attends to has no meaning.
    func check(
      _ maps: [Tensor], queries: (Int) -> Tensor? = { _ in nil }, keys: (Int) -> Tensor? = { _ in nil },
      isCausal: (Int) -> Bool = { _ in false }
    ) throws {
      let expected = file.names.filter { $0.hasPrefix("attention.") }.count
      #expect(maps.count == expected && expected > 0)
      for (number, map) in maps.enumerated() {
        let golden = try file.tensor("attention.\(number)")
        try #require(map.shape == golden.shape)
        let (t, s, heads) = (map.shape[2], map.shape[3], map.shape[1])
        let (found, right) = (map.floats(), golden.floats())
        let isQuery = queries(number)?.floats(), isKey = keys(number)?.floats()
        for row in 0..<found.count / s {
          let b = row / t / heads, query = row % t
          if isQuery?[b * t + query] == 0 { continue }
          let (x, y) = (found[row * s..<(row + 1) * s], right[row * s..<(row + 1) * s])
          #expect(zip(x, y).allSatisfy { abs($0 - $1) < 1e-5 }, "map \(number), row \(row): \(x), \(y)")
          #expect(abs(x.reduce(0, +) - 1) < 1e-5, "map \(number), row \(row)")
          for key in 0..<s where isKey?[b * s + key] == 0 || isCausal(number) && key > query {
            #expect(found[row * s + key] == 0, "map \(number), row \(row), key \(key)")
          }
        }
      }
    }
  }

  @Test(arguments: ["gpt2", "gpt2-options"]) func gpt2(_ name: String) throws {
    let reference = try Reference(name), model = try GPT2LMHeadModel(folder: reference.folder)
    let (tokens, mask) = (try reference("input_ids"), try reference("attention_mask"))
    let (_, maps) = AttentionMaps.recording { model(tokens, attentionMask: mask) }
    try reference.check(maps, queries: { _ in mask }, keys: { _ in mask }, isCausal: { _ in true })
  }

  @Test(arguments: ["bert-pretraining", "bert-masked-lm", "bert-classification"])
  func bert(_ name: String) throws {
    let reference = try Reference(name)
    let model =
      name == "bert-masked-lm"
      ? try BertForMaskedLM(folder: reference.folder).bert : try BertModel(folder: reference.folder)
    let (tokens, mask) = (try reference("input_ids"), try reference("attention_mask"))
    let segments = try reference("token_type_ids")
    let (_, maps) = AttentionMaps.recording { model(tokens, attentionMask: mask, segments: segments) }
    try reference.check(maps, queries: { _ in mask }, keys: { _ in mask })
  }

  @Test func vit() throws {
    for name in ["vit", "vit-classification"] {
      let reference = try Reference(name)
      let model =
        name == "vit"
        ? try ViTModel(folder: reference.folder)
        : try ViTForImageClassification(folder: reference.folder).vit
      let pixels = try reference("pixel_values").transposed(0, 2, 3, 1)
      try reference.check(AttentionMaps.recording { model(pixels) }.maps)
    }
  }

  /// Encoder, encoder, then self and source of each layer of the decoder.
  @Test(arguments: ["translation", "translation-unshared"]) func translation(_ name: String) throws {
    let reference = try Reference(name), model = try TransformerForTranslation(folder: reference.folder)
    let (source, target) = (try reference("input_ids"), try reference("decoder_input_ids"))
    let sourceMask = try reference("attention_mask"), targetMask = try reference("decoder_attention_mask")
    let (_, maps) = AttentionMaps.recording {
      model(source, target, sourceMask: sourceMask, targetMask: targetMask)
    }
    func isEncoder(_ map: Int) -> Bool { map < 2 }
    func isCross(_ map: Int) -> Bool { map == 3 || map == 5 }
    try reference.check(
      maps, queries: { isEncoder($0) ? sourceMask : targetMask },
      keys: { isEncoder($0) || isCross($0) ? sourceMask : targetMask },
      isCausal: { !isEncoder($0) && !isCross($0) })
  }

  /// What a map says of one head, written out: softmax(Q K^T / sqrt(D)) of the first layer.
  @Test func theFirstMapIsItsFormula() throws {
    let model = try GPT2LMHeadModel(folder: fixture("gpt2"))
    let tokens = Tensor([3, 17, 28, 6, 1] as [Int32], [1, 5])
    func value(_ key: String) -> Tensor {
      model.contents.parameters.first { $0.path == "transformer." + key }!.parameter.value
    }
    let x = value("wte.weight").gathered(tokens.at(0, axis: 0)) + value("wpe.weight").sliced(0, 0..<5)
    let normed = layerNorm(x, weight: value("h.0.ln_1.weight"), bias: value("h.0.ln_1.bias"))  // (5, 16)
    let qkv = matmul(normed, value("h.0.attn.c_attn.weight")) + value("h.0.attn.c_attn.bias")
    let maps = AttentionMaps.recording { model(tokens) }.maps
    for head in 0..<4 {
      let q = qkv.sliced(1, 4 * head..<4 * head + 4), k = qkv.sliced(1, 16 + 4 * head..<20 + 4 * head)
      let scores = (matmul(q, k.mT) / 2).floats()
      let found = maps[0].at(0, axis: 0).at(head, axis: 0).floats()
      for t in 0..<5 {
        let exponentials = (0...t).map { exp(scores[t * 5 + $0]) }, sum = exponentials.reduce(0, +)
        for s in 0...t { #expect(abs(found[t * 5 + s] - exponentials[s] / sum) < 1e-5) }
      }
    }
  }

  @Test func askingForMapsChangesNoBit() throws {
    let tokens = Tensor([3, 17, 28, 6] as [Int32], [1, 4])
    let gpt2 = try GPT2LMHeadModel(folder: fixture("gpt2"))
    let bert = try BertForMaskedLM(folder: fixture("bert-masked-lm"))
    for (name, pass) in [
      ("gpt2", { gpt2(tokens) }), ("bert", { bert(tokens) }),
    ] as [(String, () -> Tensor)] {
      let alone = pass().array(of: Float.self)
      let (watched, maps) = AttentionMaps.recording(pass)
      evaluate([watched] + maps)
      #expect(watched.array(of: Float.self) == alone, "\(name)")
      // Maps that nobody reads are not computed.
      let (unread, _) = AttentionMaps.recording(pass)
      #expect(unread.array(of: Float.self) == alone, "\(name)")
    }
  }
}
