import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors
import Synchronization

/// Reads tokens into caches of one model. The graph of a pass that reads one token of each sequence, or prompts of one
/// length, is built until it has proved to be the same each time (see `RepeatedStep`): a server's texts share it. Beams,
/// whose `parents` could be taken for a padding, have a reader of their own.
package final class StepReader: Sendable {
  private let step = Mutex(RepeatedStep())

  package init() {}

  /// Evaluates what `graph` builds of `tokens`, int32 (B, T), and commits the cache; sequence `parents[i]` is put in place
  /// of sequence `i` before, when given.
  func callAsFunction(
    _ tokens: Tensor, _ cache: KeyValueCache, parents: [Int32]? = nil, _ graph: () -> Tensor
  ) -> Tensor {
    let rows = parents.map { Tensor($0) }, length = cache.length + tokens.shape[1]
    func pass() -> [Tensor] {
      if let rows { cache.reorder(rows) }
      return [Mode.evaluation(graph)]
    }
    // Several tokens behind others have another graph than a prompt; and whoever records attention maps wants the graph.
    guard tokens.shape[1] == 1 || cache.length == 0, !AttentionMaps.isRecording else {
      let results = pass()
      evaluate(results, slots: cache.slots)
      return results[0]
    }
    let inputs = [tokens] + cache.inputs + (rows.map { [$0] } ?? [])
    // Two texts that are made at once work with what each of them knew; what the later one learnt stays.
    var known = step.withLock { $0 }
    let results = known(inputs, slots: cache.slots, pass)
    step.withLock { $0 = known }
    cache.advance(to: length)
    return results[0]
  }
}
