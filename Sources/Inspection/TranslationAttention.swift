import KalsaeGeneration
import KalsaeModels
import KalsaeTensors
import KalsaeTokenizers

extension Translator {
  /// The maps of the encoder, then of the decoder: to what it has written, and to the source.
  ///
  /// The target begins with the token that starts it; each row belongs to the word that comes next.
  func attention(to source: String, _ target: String?) throws -> AttentionRecord {
    let c = model.config, words = c.vocab_size!
    // One place is for the token that ends the source, or starts the target.
    func read(_ text: String, vocabulary: Int) throws -> AttentionText {
      try AttentionText(
        text, tokenizer, vocabulary: vocabulary, context: c.max_position_embeddings - 1,
        addsSpecialTokens: false, parsesSpecialTokens: false)
    }
    var from = try read(source, vocabulary: words)
    from.insert(c.eos_token_id, tokenizer, atStart: false)
    let written = try target ?? translate(source)
    guard !written.isEmpty else { throw InspectionError("the translation is empty: give one with --target") }
    var to = try read(written, vocabulary: c.target_vocab_size ?? words)
    to.insert(c.bos_token_id, tokenizer, atStart: true)
    let maps = attentionMaps {
      _ = model(Tensor(from.ids, [1, from.ids.count]), Tensor(to.ids, [1, to.ids.count]))
    }
    var layers: [AttentionRecord.Layer] = []
    for number in 0..<c.num_encoder_layers {
      layers.append(
        .init(
          name: "encoder.layers.\(number).self_attn", number: number, queries: "source", keys: "source",
          of: maps[number]))
    }
    for number in 0..<c.num_decoder_layers {
      for (part, name, keys) in [(0, "self_attn", "target"), (1, "multihead_attn", "source")] {
        layers.append(
          .init(
            name: "decoder.layers.\(number).\(name)", number: number, queries: "target", keys: keys,
            of: maps[c.num_encoder_layers + 2 * number + part]))
      }
    }
    return AttentionRecord(
      tokens: [.init(name: "source", texts: from.texts), .init(name: "target", texts: to.texts)],
      layers: layers)
  }
}
