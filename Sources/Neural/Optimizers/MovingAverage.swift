import KalsaeTensors

/// An exponential moving average of a model's weights, kept in a second model of the same kind.
///
/// `average' = d average + (1 - d) weight` with `d = min(decay, (1 + n) / (10 + n))` at the n-th update, so that
/// short runs average too. The averaged model is used and saved like any other.
public struct MovingAverage: Sendable {
  /// What is averaged, and where the averages are.
  public let source: ModuleContents, average: ModuleContents
  public let decay: Double
  /// Updates done, a float32 scalar.
  private let count: Slot
  private let pairs: [(source: Slot, average: Slot)]

  /// Starts with the present weights of `source`, which `average` takes over.
  ///
  /// Parameters and floating-point states are averaged; both models must have the same keys and shapes.
  public init(of source: ModuleContents, in average: ModuleContents, decay: Double = 0.9999) {
    require((0...1).contains(decay), "MovingAverage: the decay must be in [0, 1], not \(decay)")
    require(
      source.parameters.map(\.path) == average.parameters.map(\.path)
        && source.states.map(\.path) == average.states.map(\.path),
      "MovingAverage: the two models have different parameters")
    (self.source, self.average, self.decay) = (source, average, decay)
    count = Slot(.zeros([]))
    pairs = zip(source.slots, average.slots).filter { $0.0.spec.dtype == .float32 }
      .map { (source: $0.0, average: $0.1) }
    for (source, average) in zip(source.slots, average.slots) { average.value = source.value }
  }

  /// What the average remembers besides the averaged model itself, for a checkpoint.
  public var state: [(path: String, slot: Slot)] { [("count", count)] }

  /// All that an update assigns, for `evaluate(slots:)`.
  public var slots: [Slot] { average.slots + [count] }

  /// Assigns to every average its value after one more update; nothing changes where `condition`, a bool scalar, is
  /// false. Call it after the optimizer's update, with `gradients.isFinite`.
  public func update(if condition: Tensor? = nil) {
    let condition = condition ?? Tensor([true], [])
    let n = select(condition, count.value + 1, count.value)
    let d = minimum((n + 1) / (n + 10), decay)
    let inputs = [d, condition] + pairs.map(\.average.value) + pairs.map(\.source.value)
    let result = apply(AverageUpdate(count: pairs.count), inputs)
    assignAll(result[...], to: pairs.map(\.average))
    count.value = n
  }
}
