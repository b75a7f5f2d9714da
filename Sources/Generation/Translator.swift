import KalsaeData
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import KalsaeTokenizers

/// Translates texts with an encoder-decoder ("Formal Algorithms for Transformers", algorithm 15, EDInference, with a beam
/// search in place of sampling).
///
///     let translator = try Translator(run: "runs/german-english")
///     print(try translator.translate("Zwei Hunde spielen im Schnee."))
public struct Translator: Sendable {
  public let model: TransformerForTranslation
  public let tokenizer: Tokenizer
  /// Beams kept for each text; 1 always takes the most probable token.
  public var beams = 4
  /// alpha of `BeamSearch`.
  public var lengthPenalty = 0.6
  /// Texts that are decoded together.
  public var batchSize = 16

  public init(model: TransformerForTranslation, tokenizer: Tokenizer) {
    (self.model, self.tokenizer) = (model, tokenizer)
  }

  public func translate(_ text: String) throws -> String { try translate([text])[0] }

  /// The translations of texts, in their order; empty where a text is.
  ///
  /// - Parameter progress: is told how many texts are done; stops the work by returning false.
  /// - Returns: fewer translations when stopped.
  /// - Throws: when a text is longer than the model can read.
  public func translate(_ texts: [String], progress: (Int) -> Bool = { _ in true }) throws -> [String] {
    let sources = try texts.enumerated().map { try tokens($1, number: $0 + 1) }
    // Texts of similar length share a batch.
    let order = sources.indices.sorted { (sources[$0].count, $0) < (sources[$1].count, $1) }
    var results = [String](repeating: "", count: texts.count)
    for start in stride(from: 0, to: order.count, by: batchSize) {
      let rows = Array(order[start..<min(start + batchSize, order.count)]).filter { sources[$0].count > 1 }
      guard progress(start) else { return [] }
      for (row, target) in zip(rows, decode(rows.map { sources[$0] })) {
        results[row] = tokenizer.decode(target)
      }
    }
    _ = progress(texts.count)
    return results
  }

  /// What the encoder reads of a text: its tokens and the one that ends it.
  private func tokens(_ text: String, number: Int) throws -> [Int32] {
    let ids = Self.tokens(text, tokenizer, end: model.config.eos_token_id)
    guard ids.count <= model.config.max_position_embeddings else {
      throw GenerationError(
        "text \(number) has \(ids.count) tokens, but the model reads only "
          + "\(model.config.max_position_embeddings): split it into sentences")
    }
    return ids
  }

  /// The tokens of a text, without the tokenizer's own special ones, and the one that ends it.
  public static func tokens(_ text: String, _ tokenizer: Tokenizer, end: Int) -> [Int32] {
    tokenizer.ids(of: text, addsSpecialTokens: false, parsesSpecialTokens: false) + [Int32(end)]
  }

  /// The best target of each source, decoded side by side: row `i * beams + j` is beam j of source i.
  private func decode(_ sources: [[Int32]]) -> [[Int32]] {
    guard let longest = sources.map(\.count).max() else { return [] }
    let config = model.config, rows = sources.count * beams
    // Few different shapes need few plans.
    let width = min((longest + 7) / 8 * 8, config.max_position_embeddings)
    let limit = min(2 * width + 8, config.max_position_embeddings)
    let padding = Int32(config.pad_token_id), end = Int32(config.eos_token_id)
    let tokens = sources.flatMap { $0 + [Int32](repeating: padding, count: width - $0.count) }
    let mask = sources.flatMap { source in (0..<width).map { $0 < source.count } }
    let source = Mode.evaluation {
      model.encode(
        Tensor(tokens, [sources.count, width]), mask: Tensor(mask, [sources.count, width])
      ).repeated(beams)
    }
    evaluate(source.tensors)
    let cache = model.transformer.makeCache(batch: rows, capacity: limit)
    var searches = sources.map {
      // At most twice the source and a few: what is longer repeats itself.
      let length = min(2 * $0.count + 4, limit)
      return BeamSearch.Progress(
        BeamSearch(width: beams, lengthPenalty: lengthPenalty, maximumLength: length), end: end)
    }
    var last = [Int32](repeating: Int32(config.bos_token_id), count: rows)
    // Of these sources alone: a graph reads what they were encoded as.
    let reader = StepReader()
    var parents: [Int32]? = nil
    while true {
      let tokens = Tensor(last, [rows, 1])
      let scores = reader(tokens, cache, parents: parents) {
        logSoftmax(model.decode(tokens, source, cache: cache).at(0, axis: 1).cast(to: .float32))
      }
      let values = scores.floats(), words = scores.shape[1]
      var next = (0..<Int32(rows)).map { $0 }
      for index in searches.indices where !searches[index].isOver {
        let first = index * beams
        searches[index].advance(
          searches[index].beams.indices.map { beam in
            let row = Array(values[(first + beam) * words..<(first + beam + 1) * words])
            return searches[index].best(row) { Double(row[$0]) }
          })
        for (place, beam) in searches[index].beams.enumerated() {
          next[first + place] = Int32(first + beam.parent)
          last[first + place] = beam.tokens.last!
        }
      }
      if searches.allSatisfy(\.isOver) { break }
      if beams > 1 { parents = next }
    }
    return searches.map { $0.results[0].tokens }
  }
}
