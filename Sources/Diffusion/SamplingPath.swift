import KalsaeTensors

/// How the timesteps of a sampler are chosen among those of training (arXiv 2305.08891, table 2).
public enum TimestepSpacing: String, Sendable, CaseIterable, DiffusersNamed {
  /// 0, r, 2r, ... with r = floor(T / steps); the only one that `stepsOffset` shifts.
  case leading
  /// T - 1, T - 1 - T / steps, ..., rounded.
  case trailing
  /// Equal steps from 0 to T - 1, rounded.
  case linspace

  public var diffusersName: String? { rawValue }

  /// `steps` timesteps out of `total`, in descending order.
  public func timesteps(_ steps: Int, of total: Int, stepsOffset: Int = 0) throws(DiffusionError) -> [Int] {
    guard steps >= 1, steps <= total else {
      throw DiffusionError("\(steps) sampling steps: choose 1 to \(total), the number of training timesteps")
    }
    let ascending: [Int]
    switch self {
    case .leading: ascending = (0..<steps).map { $0 * (total / steps) + stepsOffset }
    case .trailing:
      let ratio = Double(total) / Double(steps)
      ascending = (0..<steps).reversed().map {
        Int((Double(total) - Double($0) * ratio).rounded(.toNearestOrEven)) - 1
      }
    case .linspace:
      ascending = KalsaeDiffusion.linspace(0, Double(total - 1), steps).map {
        Int($0.rounded(.toNearestOrEven))
      }
    }
    guard ascending[0] >= 0, ascending[steps - 1] < total else {
      throw DiffusionError(
        "steps_offset \(stepsOffset) moves \(steps) sampling steps outside the \(total) training timesteps: "
          + "choose fewer steps or steps_offset 0")
    }
    return ascending.reversed()
  }
}

/// One step of a sampler: from the level of `timestep` to the next one, nearer to the data.
public struct Transition: Sendable, Hashable {
  /// What the network receives.
  public let timestep: Int
  /// alphaBar before and after the step; 1 is the data.
  public let alphaBar: Double, alphaBarNext: Double
}

/// The levels that a sampler passes through, from noise to data. A level is a position in this list.
public struct SamplingPath: Sendable, Hashable, RandomAccessCollection {
  private let transitions: [Transition]

  /// The path through `timesteps` (descending) that ends at `finalAlphaBar`.
  ///
  /// Each step leads to the next timestep of the list, or, given a `stride`, from t to t - stride. The two differ
  /// where the list is not evenly spaced; then only the first hands the network exactly the level it is told.
  public init(_ schedule: NoiseSchedule, timesteps: [Int], stride: Int? = nil, finalAlphaBar: Double = 1) {
    require(
      zip(timesteps, timesteps.dropFirst()).allSatisfy(>), "SamplingPath: timesteps must be descending")
    let next = stride.map { stride in timesteps.map { $0 - stride } } ?? timesteps.dropFirst() + [-1]
    transitions = zip(timesteps, next).map { t, s in
      Transition(
        timestep: t, alphaBar: schedule.alphaBar[t],
        alphaBarNext: s >= 0 ? schedule.alphaBar[s] : finalAlphaBar)
    }
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { transitions.count }
  public subscript(position: Int) -> Transition { transitions[position] }

  public var timesteps: [Int] { transitions.map(\.timestep) }
}
