import Foundation
import Kalsae
import Testing

@Suite struct TranslatorTests {
  /// A tiny model with random weights, and a tokenizer of single letters that fits it.
  private func translator() throws -> Translator {
    let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let folder = fixtures.appending(path: "Fixtures/translation").path
    var config = try TransformerConfig(ConfigJSON(path: folder + "/config.json"))
    // Behind the letters, so that what is found can be read.
    (config.bos_token_id, config.pad_token_id, config.eos_token_id) = (20, 21, 22)
    let model = TransformerForTranslation(config)
    try loadParameters(into: model.contents, from: SafetensorsFile(path: folder + "/model.safetensors"))
    return Translator(model: model, tokenizer: .characters(of: "abcdefghijklmnop"))
  }

  private let texts = ["abc", "ponmlk", "", "a", "hhhhgfedcba", "bad", "kkk"]

  @Test func oneBeamTakesTheMostProbableTokenEveryTime() throws {
    var translator = try translator()
    translator.beams = 1
    let model = translator.model, config = model.config
    for text in texts where !text.isEmpty {
      let source = Translator.tokens(text, translator.tokenizer, end: config.eos_token_id)
      var target = [Int32(config.bos_token_id)]
      while target.count <= min(2 * source.count + 4, config.max_position_embeddings) {
        let logits = model(Tensor(source, [1, source.count]), Tensor(target, [1, target.count]))
        let row = logits.at(0, axis: 0).at(target.count - 1, axis: 0).floats()
        let best = Int32(row.firstIndex(of: row.max()!)!)
        if best == config.eos_token_id { break }
        target.append(best)
      }
      #expect(
        try translator.translate(text) == translator.tokenizer.decode(Array(target.dropFirst())), "\(text)")
    }
  }

  @Test(arguments: [1, 3])
  func companyChangesNothing(_ beams: Int) throws {
    var translator = try translator()
    translator.beams = beams
    let alone = try texts.map { try translator.translate($0) }
    translator.batchSize = 4
    var seen: [Int] = []
    let together = try translator.translate(texts) {
      seen.append($0)
      return true
    }
    #expect(together == alone)
    #expect(together[2].isEmpty && together.contains { !$0.isEmpty })
    #expect(seen == [0, 4, 7])
    #expect(try translator.translate(texts) { $0 < 4 }.isEmpty)
  }

  @Test(arguments: [2, 5])
  func beamsAreThoseOfASearchWithoutCache(_ beams: Int) throws {
    var translator = try translator()
    translator.beams = beams
    let model = translator.model, config = model.config
    for text in texts where !text.isEmpty {
      let source = Translator.tokens(text, translator.tokenizer, end: config.eos_token_id)
      let search = BeamSearch(
        width: beams, lengthPenalty: translator.lengthPenalty,
        maximumLength: min(2 * source.count + 4, config.max_position_embeddings))
      let found = search.run(end: Int32(config.eos_token_id)) { beams, _ in
        beams.map { target in
          let inputs = [Int32(config.bos_token_id)] + target
          let logits = model(Tensor(source, [1, source.count]), Tensor(inputs, [1, inputs.count]))
          return logProbabilities(logits.at(0, axis: 0).at(target.count, axis: 0).floats())
        }
      }
      #expect(try translator.translate(text) == translator.tokenizer.decode(found[0].tokens), "\(text)")
    }
  }

  @Test func whatTheModelCannotReadIsAnError() throws {
    let translator = try translator()
    let long = String(repeating: "a", count: translator.model.config.max_position_embeddings)
    #expect { try translator.translate(["abc", long]) } throws: {
      "\($0)".hasPrefix("text 2 has \(long.count + 1) tokens")
    }
  }
}
