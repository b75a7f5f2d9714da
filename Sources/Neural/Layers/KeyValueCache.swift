import KalsaeTensors
import Synchronization

/// The keys and values of the tokens so far, in memory that is allocated once, for decoding a token at a time ("Formal
/// Algorithms for Transformers", algorithms 14 and 15, DInference and EDInference, without computing a token twice).
///
///     let cache = model.makeCache(capacity: 256)
///     for token in tokens {
///       let logits = model(token, cache: cache)          // (1, 1) -> (1, 1, vocabulary)
///       evaluate(logits, slots: cache.slots)
///     }
///
/// The number of tokens is a scalar input of the graph, so that one plan serves all positions; it writes new keys and
/// values into the memory of the cache. Building the graph of a forward pass counts its tokens as seen.
public final class KeyValueCache: Sendable {
  public let batch: Int, capacity: Int
  /// Keys and values of each attention layer, (B, heads, capacity, D).
  private let memory: [(keys: Slot, values: Slot)]
  /// How many tokens at the start of each sequence are padding, int32 (B).
  private let padding: Tensor?
  private let state = Mutex(State())

  private struct State {
    let length: Int
    /// The length as graph input, one tensor for all layers of a pass.
    let position: Tensor

    init(length: Int = 0) { (self.length, position) = (length, Tensor(Double(length), .int32)) }
  }

  /// A cache for `batch` sequences of at most `capacity` tokens.
  ///
  /// Prompts of unequal length are padded on the left: `leftPadding` says how many tokens of each sequence are padding,
  /// which no query sees. The memory has the autocast precision, if any, when `dtype` is nil.
  public init(
    layers: Int, heads: Int, headFeatures: Int, batch: Int = 1, capacity: Int, leftPadding: [Int]? = nil,
    dtype: DType? = nil
  ) {
    require(batch > 0 && capacity > 0, "KeyValueCache: \(batch) sequences of \(capacity) tokens")
    let fits = leftPadding.map { $0.count == batch && $0.allSatisfy((0...capacity).contains) } ?? true
    require(
      fits, "KeyValueCache: a padding of \(leftPadding ?? []) for \(batch) sequences of \(capacity) tokens")
    (self.batch, self.capacity) = (batch, capacity)
    padding = leftPadding.map { Tensor($0.map(Int32.init)) }
    let spec = Spec([batch, heads, capacity, headFeatures], dtype ?? Autocast.precision ?? .float32)
    memory = (0..<layers).map { _ in (Self.zeros(spec), Self.zeros(spec)) }
  }

  /// A slot whose memory is there already, so that the first pass has the same plan as all others.
  private static func zeros(_ spec: Spec) -> Slot {
    let value = Tensor.zeros(spec.shape, dtype: spec.dtype), slot = Slot(value)
    slot.commit(Buffer(zeros: spec.byteCount), pending: value)
    return slot
  }

  /// What `evaluate` must commit after each forward pass.
  public var slots: [Slot] { memory.flatMap { [$0.keys, $0.values] } }

  /// The number of tokens seen.
  public var length: Int { state.withLock { $0.length } }

  /// The positions of `count` new tokens, int32 (count), or (B, count) where there is padding; a padding token is at 0.
  public func positions(_ count: Int) -> Tensor {
    let places = Tensor.iota(count) + state.withLock { $0.position }
    return padding.map { maximum(places - $0.expanded(1), 0) } ?? places
  }

  /// What graphs read besides the slots: the number of tokens seen, int32, and the padding, if any.
  package var inputs: [Tensor] { [state.withLock { $0.position }] + (padding.map { [$0] } ?? []) }

  /// Counts `count` tokens as seen; the model does so at the end of a forward pass.
  public func advance(by count: Int) { state.withLock { $0 = State(length: $0.length + count) } }

  /// Counts all tokens before `length` as seen, by a pass whose graph was built once for many.
  package func advance(to length: Int) {
    state.withLock { if $0.length != length { $0 = State(length: length) } }
  }

  /// Forgets all tokens from `length` on; nothing is cleared, since nothing behind the length is ever seen.
  public func truncate(to length: Int = 0) {
    require(length >= 0 && length <= self.length, "KeyValueCache: \(length) of \(self.length) tokens")
    state.withLock { $0 = State(length: length) }
  }

  /// Puts sequence `rows[i]` in place of sequence `i`, as beam search does; int32 (B).
  public func reorder(_ rows: Tensor) {
    require(padding == nil, "KeyValueCache: sequences with padding cannot be reordered")
    for slot in slots { slot.value = slot.value.gathered(rows) }
  }

  /// The memory of one attention layer.
  public subscript(layer: Int) -> Layer { Layer(cache: self, index: layer) }

  public struct Layer: Sendable {
    fileprivate let cache: KeyValueCache
    fileprivate let index: Int

    /// Writes the keys and values (B, heads, T, D) of new tokens, and returns what their queries may attend to. The mask
    /// is for all places of the memory.
    func append(
      _ k: Tensor, _ v: Tensor, mask: Tensor?
    ) -> (keys: Tensor, values: Tensor, mask: Tensor?, isCausal: Bool) {
      let (keys, values) = cache.memory[index]
      let count = k.shape[2], (length, position) = cache.state.withLock { ($0.length, $0.position) }
      require(
        length + count <= cache.capacity,
        "KeyValueCache: \(length) tokens and \(count) more do not fit a capacity of \(cache.capacity)")
      keys.value = keys.value.updated(k.cast(to: keys.spec.dtype), at: position, axis: 2)
      values.value = values.value.updated(v.cast(to: values.spec.dtype), at: position, axis: 2)
      let places = Tensor.iota(cache.capacity)
      // A prompt attends to itself alone: there is no need to read the empty rest of the memory.
      if length == 0, count > 1 {
        let unpadded = cache.padding.map { places.sliced(0, 0..<count) .>= $0.reshaped(-1, 1, 1, 1) }
        let own = mask.map { $0.shape[-1] == cache.capacity ? $0.sliced(-1, 0..<count) : $0 }
        return (k, v, joinedMasks(unpadded, own), true)
      }
      var allowed = places .<= (Tensor.iota(count) + position).expanded(1)  // (T, capacity)
      if let padding = cache.padding { allowed = allowed .& (places .>= padding.reshaped(-1, 1, 1, 1)) }
      return (
        keys.value.cast(to: k.dtype), values.value.cast(to: v.dtype), joinedMasks(allowed, mask), false
      )
    }
  }
}
