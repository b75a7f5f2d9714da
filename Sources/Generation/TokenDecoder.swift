import KalsaeData
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// Continues sequences token by token ("Formal Algorithms for Transformers", algorithm 14, DInference).
///
/// Sequences of unequal length are decoded together, padded on the left. A single sequence may outgrow the model's
/// context: then the first half of what the model sees is forgotten, and the rest read anew.
public struct TokenDecoder {
  private let model: any CausalLanguageModel
  private let policy: SamplingPolicy
  /// All tokens of each sequence, the prompt's included.
  public private(set) var sequences: [[Int32]]
  private var random: [SplitMix64]
  private let cache: KeyValueCache
  private let reader: StepReader
  /// The logits (B, V) after the last token.
  public private(set) var logits: [[Float]] = []

  /// Reads the prompts.
  /// - Throws: when there is none, when one is empty, has a token that the model does not know, or does not fit the
  ///   context.
  public init(
    _ model: any CausalLanguageModel, prompts: [[Int32]], policy: SamplingPolicy, seed: UInt64
  ) throws(GenerationError) {
    try self.init(model, prompts: prompts, policy: policy, seed: seed, reader: StepReader())
  }

  /// With a reader that has read texts with this model before.
  package init(
    _ model: any CausalLanguageModel, prompts: [[Int32]], policy: SamplingPolicy, seed: UInt64,
    reader: StepReader
  ) throws(GenerationError) {
    guard !prompts.isEmpty, prompts.allSatisfy({ !$0.isEmpty }) else {
      throw GenerationError("an empty prompt: at least one token is needed")
    }
    for prompt in prompts {
      if let strange = prompt.first(where: { $0 < 0 || Int($0) >= model.vocabularySize }) {
        throw GenerationError(
          "token \(strange) is outside the model's vocabulary of \(model.vocabularySize): use the model's own "
            + "tokenizer")
      }
    }
    let longest = prompts.map(\.count).max()!
    guard longest <= model.contextLength else {
      throw GenerationError(
        "the prompt has \(longest) tokens, but the model sees only \(model.contextLength): shorten it")
    }
    if let problem = policy.problem { throw GenerationError("\(problem.key) \(problem.reason)") }
    (self.model, self.policy, self.reader, sequences) = (model, policy, reader, prompts)
    // Each sequence draws from its own stream: a batch changes nothing.
    random = prompts.indices.map { SplitMix64(key: seed, UInt64($0)) }
    let padding = prompts.map { longest - $0.count }
    cache = model.makeCache(
      batch: prompts.count, capacity: model.contextLength,
      leftPadding: padding.contains { $0 > 0 } ? padding : nil)
    read(zip(padding, prompts).map { [Int32](repeating: 0, count: $0) + $1 })
  }

  /// Chooses the next token of each sequence from `logits`.
  public mutating func choose() -> [Int32] {
    sequences.indices.map { policy.sample(logits[$0], seen: sequences[$0], uniform: random[$0].unit()) }
  }

  /// Appends a token to each sequence and computes what comes next.
  /// - Throws: when several sequences have filled the model's context.
  public mutating func append(_ tokens: [Int32]) throws(GenerationError) {
    for (index, token) in tokens.enumerated() { sequences[index].append(token) }
    if cache.length == cache.capacity {
      guard sequences.count == 1 else {
        throw GenerationError("the texts fill the model's context of \(model.contextLength) tokens")
      }
      cache.truncate()
      read([Array(sequences[0].suffix(max(model.contextLength / 2, 1)))])
    } else {
      read(tokens.map { [$0] })
    }
  }

  private mutating func read(_ rows: [[Int32]]) {
    let tokens = Tensor(rows.flatMap { $0 }, [rows.count, rows[0].count]), width = model.vocabularySize
    let (model, cache) = (model, cache)
    let next = reader(tokens, cache) { model.nextLogits(tokens, cache: cache).cast(to: .float32) }
    require(
      next.shape == [rows.count, width],
      "TokenDecoder: logits of shape \(next.shape) for a vocabulary of \(width)")
    if logits.isEmpty { logits = rows.map { _ in [Float](repeating: 0, count: width) } }
    next.withElements { bytes in
      for row in rows.indices {
        // The memory of the previous logits, unless somebody kept them.
        logits[row].withUnsafeMutableBytes {
          $0.copyMemory(from: UnsafeRawBufferPointer(start: bytes + row * $0.count, count: $0.count))
        }
      }
    }
  }
}

extension BeamSearch {
  /// The most probable continuations of `prompt`; best first, without the prompt.
  /// - Throws: as `TokenDecoder` does, and when prompt and continuation do not fit the context.
  public func run(
    _ model: any CausalLanguageModel, prompt: [Int32], end: Int32
  ) throws(GenerationError) -> [Hypothesis] {
    guard prompt.count + maximumLength <= model.contextLength else {
      throw GenerationError(
        "\(prompt.count) tokens of the prompt and \(maximumLength) new ones do not fit the model's context of "
          + "\(model.contextLength): ask for fewer with --max-new-tokens")
    }
    guard !prompt.isEmpty else { throw GenerationError("an empty prompt: at least one token is needed") }
    let cache = model.makeCache(batch: width, capacity: model.contextLength, leftPadding: nil)
    let reader = StepReader()
    return run(end: end) { beams, parents in
      let isFirst = beams[0].isEmpty
      // Fewer beams than rows: the rest repeats the first, and is not looked at.
      func padded<T>(_ values: [T]) -> [T] {
        values + Array(repeating: values[0], count: width - values.count)
      }
      let tokens =
        isFirst
        ? Tensor((0..<width).flatMap { _ in prompt }, [width, prompt.count])
        : Tensor(padded(beams.map { $0.last! }), [width, 1])
      let next = reader(tokens, cache, parents: isFirst ? nil : padded(parents).map(Int32.init)) {
        model.nextLogits(tokens, cache: cache)
      }
      let values = next.floats(), size = model.vocabularySize
      return beams.indices.map { logProbabilities(Array(values[$0 * size..<($0 + 1) * size])) }
    }
  }
}
