import Foundation
import Kalsae
import Testing

/// Opening models, tokens to read, and choosing.
@Suite struct AttentionRecordTests {
  /// GPT-2's fixture knows 29 tokens: these 28 characters and <unk>.
  static let characters = Tokenizer.characters(of: "abcdefghijklmnopqrstuvwxyz .")

  static func gpt2() throws -> AttentionModel {
    AttentionModel(try GPT2Model(folder: fixture("gpt2")), characters)
  }

  private func message(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)" }
    return "no error"
  }

  @Test func aTextHasAMapALayer() throws {
    let record = try Self.gpt2().attention(to: "a bee.")
    #expect(record.tokens == [.init(name: "text", texts: ["a", " ", "b", "e", "e", "."])])
    #expect(record.layers.map(\.name) == ["h.0.attn", "h.1.attn"])
    #expect(record.layers.map(\.heads) == [[0, 1, 2, 3], [0, 1, 2, 3]])
    #expect(record.layers.allSatisfy { $0.maps.shape == [4, 6, 6] && $0.maps.dtype == .float32 })
    let model = try GPT2LMHeadModel(folder: fixture("gpt2"))
    let ids = Self.characters.encode("a bee.").ids
    let maps = AttentionMaps.recording { model(Tensor(ids, [1, 6])) }.maps
    for (layer, map) in zip(record.layers, maps) { #expect(layer.maps.floats() == map.floats()) }
  }

  @Test func choosingLeavesTheRestOut() throws {
    let record = try Self.gpt2().attention(to: "a bee.")
    let one = try record.choosing(layer: 1, head: 2)
    #expect(one.layers.map(\.name) == ["h.1.attn"] && one.layers[0].heads == [2])
    #expect(one.layers[0].maps.shape == [1, 6, 6])
    #expect(one.layers[0].maps.floats() == Array(record.layers[1].maps.floats()[72..<108]))
    #expect(try record.choosing(head: 0).layers.map(\.heads) == [[0], [0]])
    #expect(try record.choosing().mapElements == 2 * 4 * 36)
    #expect(message { _ = try record.choosing(layer: 2) } == "there is no layer 2: the layers are 0 to 1")
    #expect(message { _ = try record.choosing(layer: -1) } == "there is no layer -1: the layers are 0 to 1")
    #expect(message { _ = try record.choosing(head: 4) } == "there is no head 4: the heads are 0 to 3")
    #expect(message { _ = try record.choosing(head: -1) } == "there is no head -1: the heads are 0 to 3")
  }

  /// transformers' BERT with a vocabulary that fits the fixture's 31 tokens.
  @Test(arguments: ["bert-masked-lm", "bert-pretraining", "bert-classification"])
  func aFolderOfAnyHead(_ name: String) throws {
    let folder = FileManager.default.temporaryDirectory.path + "/kalsae-attention-" + UUID().uuidString
    try FileManager.default.copyItem(atPath: fixture(name), toPath: folder)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let vocabulary =
      ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + "abcdefghijklmnopqrstuvwxyz".map(String.init)
    try vocabulary.joined(separator: "\n").write(
      toFile: folder + "/vocab.txt", atomically: true, encoding: .utf8)
    let record = try AttentionModel(runOrModel: folder).attention(to: "a b [MASK] c")
    #expect(record.tokens[0].texts == ["[CLS]", "a", "b", "[MASK]", "c", "[SEP]"])
    #expect(record.layers.map(\.name) == ["encoder.layer.0.attention", "encoder.layer.1.attention"])
    #expect(record.layers.allSatisfy { $0.maps.shape == [4, 6, 6] })
    // Every token sees every other.
    #expect(record.layers[0].maps.floats().allSatisfy { $0 > 0 })
  }

  @Test func patchesOfAPicture() throws {
    let folder = FileManager.default.temporaryDirectory.path + "/kalsae-attention-" + UUID().uuidString
    try FileManager.default.copyItem(atPath: fixture("vit"), toPath: folder)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    // 8 x 12 pixels, one channel, patches of 4; the picture is larger and coloured.
    let pixels = (0..<16 * 24 * 3).map { UInt8($0 * 37 % 256) }
    let image = Image(width: 24, height: 16, channels: 3, pixels: pixels)
    try image.writePNG(to: folder + "/picture.png")
    let record = try AttentionModel(runOrModel: folder).attention(to: folder + "/picture.png")
    #expect(record.tokens[0].texts == ["[CLS]", "0,0", "0,1", "0,2", "1,0", "1,1", "1,2"])
    #expect(record.layers.map(\.name) == ["layers.0.attention", "layers.1.attention"])
    let picture = try #require(record.picture)
    #expect(picture.rows == 2 && picture.columns == 3)
    #expect(picture.image.width == 12 && picture.image.height == 8 && picture.image.channels == 1)
    // The maps are those of the picture in [-1, 1].
    let x = Tensor(picture.image.pixels.map { Float($0) / 127.5 - 1 }, [1, 8, 12, 1])
    let model = try ViTModel(folder: folder)
    let maps = AttentionMaps.recording { model(x) }.maps
    for (layer, map) in zip(record.layers, maps) {
      #expect(zip(layer.maps.floats(), map.floats()).allSatisfy { abs($0 - $1) < 1e-5 })
    }
  }

  /// Encoder, then each layer of the decoder: to the target so far, and to the source.
  @Test func aTranslationHasThreeKindsOfMap() throws {
    // The fixture knows 23 tokens; 1 starts a target and 2 ends every text.
    let model = try TransformerForTranslation(folder: fixture("translation"))
    let tokenizer = Tokenizer.characters(of: "<>cdefghijklmnopqrstuv")
    let translator = Translator(model: model, tokenizer: tokenizer)
    let record = try AttentionModel(translator).attention(to: "cde", target: "fghij")
    #expect(
      record.tokens == [
        .init(name: "source", texts: ["c", "d", "e", ">"]),
        .init(name: "target", texts: ["<", "f", "g", "h", "i", "j"]),
      ])
    #expect(
      record.layers.map { "\($0.number) \($0.name): \($0.queries) to \($0.keys)" } == [
        "0 encoder.layers.0.self_attn: source to source", "1 encoder.layers.1.self_attn: source to source",
        "0 decoder.layers.0.self_attn: target to target",
        "0 decoder.layers.0.multihead_attn: target to source",
        "1 decoder.layers.1.self_attn: target to target",
        "1 decoder.layers.1.multihead_attn: target to source",
      ])
    #expect(
      record.layers.map(\.maps.shape)
        == [[4, 4, 4], [4, 4, 4], [4, 6, 6], [4, 6, 4], [4, 6, 6], [4, 6, 4]])
    let source = tokenizer.encode("cde>").ids, target = tokenizer.encode("<fghij").ids
    let maps = AttentionMaps.recording { model(Tensor(source, [1, 4]), Tensor(target, [1, 6])) }.maps
    for (layer, map) in zip(record.layers, maps) { #expect(layer.maps.floats() == map.floats()) }
    #expect(try record.choosing(layer: 0).layers.count == 3)
    // The same from a folder.
    let folder = FileManager.default.temporaryDirectory.path + "/kalsae-attention-" + UUID().uuidString
    try FileManager.default.copyItem(atPath: fixture("translation"), toPath: folder)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try tokenizer.save(to: folder + "/tokenizer.json")
    let opened = try AttentionModel(runOrModel: folder).attention(to: "cde", target: "fghij")
    #expect(opened.tokens == record.tokens)
    #expect(opened.layers.map { $0.maps.floats() } == record.layers.map { $0.maps.floats() })
    // Its own translation, when none is given.
    let own = try translator.translate("cde")
    try #require(!own.isEmpty)
    #expect(
      try AttentionModel(translator).attention(to: "cde").tokens[1].texts.dropFirst().joined() == own)
    #expect(
      message { _ = try AttentionModel(translator).attention(to: String(repeating: "c", count: 16)) }
        .contains("16 tokens"))
    #expect(
      message { _ = try Self.gpt2().attention(to: "a", target: "b") }
        == "only a translator has a target beside its text")
  }

  @Test func whatCannotBeShown() throws {
    let model = try Self.gpt2()
    #expect(message { _ = try model.attention(to: "") } == "an empty text: at least one token is needed")
    #expect(
      message { _ = try model.attention(to: String(repeating: "a", count: 17)) }
        == "the text has 17 tokens, but the model sees only 16: shorten it")
    #expect(throws: Never.self) { try model.attention(to: String(repeating: "a", count: 16)) }
    let large = Tokenizer.characters(of: "abcdefghijklmnopqrstuvwxyzäöü .")
    let misfit = AttentionModel(try GPT2Model(folder: fixture("gpt2")), large)
    #expect(message { _ = try misfit.attention(to: "ü") }.contains("outside the model's vocabulary of 29"))
  }

  @Test func tokensAreReadable() throws {
    func read(_ name: String, _ text: String) throws -> [String] {
      let tokenizer = try Tokenizer(path: fixture("tokenizers/\(name).json"))
      return readableTokens(tokenizer.encode(text), of: text, tokenizer)
    }
    // Byte-level tokens are their text, with its spaces; put together they are the whole text.
    #expect(try read("gpt2", "the bird\nis the").joined() == "the bird\nis the")
    #expect(try read("gpt2", "the bird").allSatisfy { !$0.contains("Ġ") })
    // Parts of a character are shown as the character.
    let parts = try read("gpt2", "쀍")
    #expect(parts.count > 1 && parts.allSatisfy { $0 == "쀍" }, "\(parts)")
    // Structure keeps its name, pieces of words their mark.
    let words = try read("bert-uncased", "The bird")
    #expect(words.first == "[CLS]" && words.last == "[SEP]")
    let pieces = try read("llama", "the bird")
    #expect(
      pieces.joined().hasSuffix(" the bird") && pieces.allSatisfy { !$0.contains("\u{2581}") }, "\(pieces)")
  }
}
