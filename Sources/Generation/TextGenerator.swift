import KalsaeRuntime
import KalsaeTokenizers

/// Continues texts with a language model.
///
///     for try await token in generator.stream("Once upon a time") { print(token.text, terminator: "") }
public struct TextGenerator: Sendable {
  public let model: any CausalLanguageModel
  public let tokenizer: Tokenizer
  /// The token that ends a text, if the model has one.
  public let end: Int32?
  private let reader = StepReader()

  public init(model: any CausalLanguageModel, tokenizer: Tokenizer, end: Int32? = nil) {
    (self.model, self.tokenizer, self.end) = (model, tokenizer, end)
  }

  /// Calls `body` with each token as soon as it is there; stops early when it returns false.
  ///
  /// The last call may bring text that was held back for a stop string, with the last token's number.
  public func generate(
    _ prompt: String, _ options: GenerationOptions = .init(), _ body: (GeneratedToken) throws -> Bool
  ) throws {
    var decoder = try TokenDecoder(
      model, prompts: [tokenizer.encode(prompt).ids], policy: options.policy, seed: options.seed,
      reader: reader)
    var pieces = StreamingDecoder(tokenizer), stops = StopStrings(options.stop)
    var last: Int32 = 0
    for index in 0..<options.maximumNewTokens {
      last = decoder.choose()[0]
      if last == end { break }
      let text = stops.add(pieces.append(last))
      guard try body(token(last, text, decoder.logits[0], options)) else { return }
      if stops.isStopped { return }
      if index + 1 < options.maximumNewTokens { try decoder.append([last]) }
    }
    let rest = stops.add(pieces.finish()) + stops.finish()
    if !rest.isEmpty {
      _ = try body(GeneratedToken(id: last, text: rest, logProbability: nil, alternatives: []))
    }
  }

  /// The whole continuation.
  public func text(_ prompt: String, _ options: GenerationOptions = .init()) throws -> String {
    var text = ""
    try generate(prompt, options) {
      text += $0.text
      return true
    }
    return text
  }

  /// The most probable continuation that a beam search finds.
  public func beamSearch(_ prompt: String, _ search: BeamSearch) throws -> String {
    let found = try search.run(model, prompt: tokenizer.encode(prompt).ids, end: end ?? -1)
    return tokenizer.decode(found[0].tokens)
  }

  /// The continuation as it is made, on a thread of its own; ends when nobody listens any more.
  public func stream(
    _ prompt: String, _ options: GenerationOptions = .init()
  ) -> AsyncThrowingStream<GeneratedToken, any Error> {
    // Task-locals end at a detached task: the backend is carried over.
    let backend = Backends.currentHandle
    return AsyncThrowingStream { continuation in
      let task = Task.detached {
        do {
          try Backends.with(backend) {
            try generate(prompt, options) { token in
              continuation.yield(token)
              return !Task.isCancelled
            }
          }
          continuation.finish()
        } catch {
          continuation.finish(throwing: error)
        }
      }
      continuation.onTermination = { _ in task.cancel() }
    }
  }

  private func token(
    _ id: Int32, _ text: String, _ logits: [Float], _ options: GenerationOptions
  ) -> GeneratedToken {
    guard options.logProbabilities > 0 else {
      return GeneratedToken(id: id, text: text, logProbability: nil, alternatives: [])
    }
    let scores = logProbabilities(logits)
    let best = mostProbable(logits, min(options.logProbabilities, logits.count))
    return GeneratedToken(
      id: id, text: text, logProbability: scores[Int(id)],
      alternatives: best.map { ($0, scores[Int($0)]) })
  }
}
