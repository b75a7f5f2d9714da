import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// Reads tokens into a cache. The graph of a pass that reads one token of each sequence is built until it has proved to
/// be the same each time (see `RepeatedStep`).
struct StepReader {
  private var step = RepeatedStep()

  /// Evaluates what `graph` builds of `tokens`, int32 (B, T), and commits the cache; sequence `parents[i]` is put in place
  /// of sequence `i` before, when given.
  mutating func callAsFunction(
    _ tokens: Tensor, _ cache: KeyValueCache, parents: [Int32]? = nil, _ graph: () -> Tensor
  ) -> Tensor {
    let rows = parents.map { Tensor($0) }, length = cache.length + tokens.shape[1]
    func pass() -> [Tensor] {
      if let rows { cache.reorder(rows) }
      return [Mode.evaluation(graph)]
    }
    // Whoever records attention maps wants the graph.
    guard tokens.shape[1] == 1, !AttentionMaps.isRecording else {
      let results = pass()
      evaluate(results, slots: cache.slots)
      return results[0]
    }
    let inputs = [tokens, cache.position] + (rows.map { [$0] } ?? [])
    let results = step(inputs, slots: cache.slots, pass)
    cache.advance(to: length)
    return results[0]
  }
}
