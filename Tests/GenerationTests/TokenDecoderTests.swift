import Kalsae
import KalsaeRuntime
import Testing

/// A decoder, which builds the graph of a token only until it knows it, gives what building it for every token gives.
@Suite struct TokenDecoderTests {
  private let model: GPT2LMHeadModel = {
    var config = GPT2Config()
    (config.vocab_size, config.n_positions, config.n_embd, config.n_layer, config.n_head) = (64, 32, 32, 2, 4)
    let model = Initialization.with(seed: 3) { GPT2LMHeadModel(config) }
    evaluate([], slots: model.contents.slots)
    return model
  }()

  /// The logits after each of `tokens`, one graph a token.
  private func fresh(_ prompts: [[Int32]], _ tokens: [[Int32]]) -> [[[Float]]] {
    let longest = prompts.map(\.count).max()!, padding = prompts.map { longest - $0.count }
    let cache = model.makeCache(
      batch: prompts.count, capacity: 32, leftPadding: padding.contains { $0 > 0 } ? padding : nil)
    let first = zip(padding, prompts).map { [Int32](repeating: 0, count: $0) + $1 }
    return ([first] + tokens.map { $0.map { [$0] } }).map { rows in
      let next = Mode.evaluation {
        model.nextLogits(Tensor(rows.flatMap(\.self), [rows.count, rows[0].count]), cache: cache)
      }
      evaluate([next], slots: cache.slots)
      let values = next.floats()
      return rows.indices.map { Array(values[$0 * 64..<($0 + 1) * 64]) }
    }
  }

  @Test(arguments: [[[5, 9, 1]], [[7]], [[5, 9, 1], [3]], [[1, 2], [3, 4], [60, 61]]] as [[[Int32]]])
  func logitsAreThoseOfFreshGraphsBitForBit(_ prompts: [[Int32]]) throws {
    for precision in [nil, DType.bfloat16] {
      try Autocast.with(precision) {
        var decoder = try TokenDecoder(model, prompts: prompts, policy: .greedy, seed: 0)
        var seen = [decoder.logits], tokens: [[Int32]] = []
        for _ in 0..<12 {
          tokens.append(decoder.choose())
          try decoder.append(tokens.last!)
          seen.append(decoder.logits)
        }
        #expect(seen == fresh(prompts, tokens))
      }
    }
  }

  /// One reader for one text after another: prompts of one length, of one token, of several with another padding, and a
  /// text that outgrows the context.
  @Test func textsShareAReader() throws {
    let reader = StepReader()
    let texts: [[[Int32]]] = [
      [[5, 9, 1]], [[6, 9, 2]], [[60, 3, 2]], [[7]], [[8]], [[5, 9, 1], [3]], [[3], [5, 9, 1]],
      [[1, 2, 3], [4, 5]],
      [[9, 8, 7]],
    ]
    for prompts in texts {
      var decoder = try TokenDecoder(model, prompts: prompts, policy: .greedy, seed: 0, reader: reader)
      var seen = [decoder.logits], tokens: [[Int32]] = []
      for _ in 0..<4 {
        tokens.append(decoder.choose())
        try decoder.append(tokens.last!)
        seen.append(decoder.logits)
      }
      #expect(seen == fresh(prompts, tokens), "\(prompts)")
    }
    let prompt = (0..<30).map { Int32($0) }
    var long = try TokenDecoder(model, prompts: [prompt], policy: .greedy, seed: 0, reader: reader)
    var other = try TokenDecoder(model, prompts: [prompt], policy: .greedy, seed: 0)
    for _ in 0..<8 {
      #expect(long.logits == other.logits)
      try long.append(long.choose())
      try other.append(other.choose())
    }
  }

  @Test func twoAtOnceDoNotDisturbEachOther() throws {
    let prompts: [[[Int32]]] = [[[1, 2, 3]], [[40, 41]]], reader = StepReader()
    var decoders = try prompts.map {
      try TokenDecoder(model, prompts: $0, policy: .greedy, seed: 0, reader: reader)
    }
    var tokens: [[[Int32]]] = [[], []], seen = decoders.map { [$0.logits] }
    for _ in 0..<8 {
      for index in decoders.indices {
        tokens[index].append(decoders[index].choose())
        try decoders[index].append(tokens[index].last!)
        seen[index].append(decoders[index].logits)
      }
    }
    for index in decoders.indices { #expect(seen[index] == fresh(prompts[index], tokens[index])) }
  }

  /// Parameters that change under a decoder, committed or not yet, decide about the next token.
  @Test(arguments: [true, false]) func changedParametersAreSeen(_ commits: Bool) throws {
    var decoder = try TokenDecoder(model, prompts: [[1, 2, 3]], policy: .greedy, seed: 0)
    for token: Int32 in [4, 5, 6] { try decoder.append([token]) }
    let before = decoder.logits
    var again = try TokenDecoder(model, prompts: [[1, 2, 3]], policy: .greedy, seed: 0)
    for token: Int32 in [4, 5] { try again.append([token]) }
    let weight = model.transformer.ln_f.weight
    weight.value = weight.value * 2
    if commits { evaluate([], slots: model.contents.slots) }
    try again.append([6])
    // Without a bias behind the last normalisation the logits are linear in its weight.
    #expect(zip(again.logits[0], before[0]).allSatisfy { abs($0 - 2 * $1) <= 1e-5 * abs($1) + 1e-6 })
    #expect(again.logits != before)
  }

  /// A text that outgrows the context is read anew, and goes on token by token.
  @Test func aTextMayOutgrowTheContext() throws {
    let prompt = (0..<30).map { Int32($0) }
    var decoder = try TokenDecoder(model, prompts: [prompt], policy: .greedy, seed: 0)
    for _ in 0..<3 { try decoder.append(decoder.choose()) }
    let kept = Array(decoder.sequences[0].suffix(16))
    #expect(decoder.logits == fresh([kept], []).last)
    var tokens: [[Int32]] = []
    for _ in 0..<5 {
      tokens.append(decoder.choose())
      try decoder.append(tokens.last!)
    }
    #expect(decoder.logits == fresh([kept], tokens).last)
  }

  /// Logits that somebody keeps stay as they are.
  @Test func keptLogitsDoNotChange() throws {
    var decoder = try TokenDecoder(model, prompts: [[1, 2, 3]], policy: .greedy, seed: 0)
    let kept = decoder.logits, copy = kept.map { $0.map { $0 + 0 } }
    for _ in 0..<4 { try decoder.append(decoder.choose()) }
    #expect(kept == copy && decoder.logits != kept)
  }

  @Test func theMostProbableTokenIsTheFirstOfThem() {
    #expect(argmax([1, 3, 3, 2]) == 1)
    var logits = [Float](repeating: -1, count: 1003)
    (logits[40], logits[17], logits[1000]) = (2, 2, 1)
    #expect(argmax(logits) == 17)
    logits[1002] = 5
    #expect(argmax(logits) == 1002)
    (logits[0], logits[33]) = (.nan, .nan)
    #expect(argmax(logits) == 1002)
    #expect(argmax([-.infinity, -.infinity]) == 0)
  }
}
