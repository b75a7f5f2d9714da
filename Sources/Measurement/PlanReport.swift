import KalsaeCheckpoints
import KalsaeModels
import KalsaeRuntime

/// What a plan consists of, and what each part of it costs.
public struct PlanReport: Sendable {
  public let steps: [Step]
  public let arenaBytes: Int, bytesMoved: Int
  public let flops: Double

  /// One step of the plan.
  public struct Step: Sendable {
    /// The op and its implementation, and the same with the shapes of its operands.
    public let kernel: String, description: String
    public let flops: Double
    public let bytesMoved: Int
    /// The median of the timed runs; nil when the plan was not run.
    public let seconds: Double?
  }

  /// `runs` has the seconds of each step for every timed run.
  package init(_ plan: Plan, runs: [[Double]] = []) {
    steps = plan.steps.enumerated().map { index, step in
      Step(
        kernel: step.kernelName, description: step.description, flops: step.flops,
        bytesMoved: step.bytesMoved,
        seconds: runs.isEmpty ? nil : runs.map { $0[index] }.sorted()[runs.count / 2])
    }
    (arenaBytes, bytesMoved, flops) = (plan.arenaBytes, plan.bytesMoved, plan.flops)
  }

  /// The steps of each implementation together: slowest first when timed, else most frequent first.
  public var kernels: [(kernel: String, count: Int, seconds: Double?)] {
    Dictionary(grouping: steps, by: \.kernel).map { kernel, steps in
      (kernel, steps.count, seconds(of: steps))
    }.sorted { ($1.seconds ?? 0, $1.count, $0.kernel) < ($0.seconds ?? 0, $0.count, $1.kernel) }
  }

  /// The `count` implementations that take most of a timed plan, slowest first, each with the least that its steps could
  /// take on this machine.
  public func costliest(
    _ count: Int, _ peaks: Peaks
  ) -> [(kernel: String, count: Int, seconds: Double, floor: Double)] {
    let floors = Dictionary(grouping: steps, by: \.kernel).mapValues { $0.reduce(0) { $0 + $1.floor(peaks) } }
    return kernels.prefix(count).map { ($0.kernel, $0.count, $0.seconds ?? 0, floors[$0.kernel]!) }
  }

  /// Of the whole plan, as the sum of its parts; nil when it was not run.
  public var seconds: Double? { seconds(of: steps) }

  private func seconds(of steps: [Step]) -> Double? {
    steps.reduce(0) { sum, step in sum.flatMap { sum in step.seconds.map { sum + $0 } } }
  }

  public var json: JSONObject {
    [
      "steps": .integer(steps.count), "seconds": seconds.json, "arena_bytes": .integer(arenaBytes),
      "bytes_moved": .integer(bytesMoved),
      "flops": .double(flops),
      "kernels": .array(
        kernels.map {
          ["kernel": .string($0.kernel), "count": .integer($0.count), "seconds": $0.seconds.json]
        }),
    ]
  }
}

/// Collects the timed steps of a training run until one plan has been timed often enough.
package struct PlanTimings {
  private let needed: Int
  private var skipped: Int
  private var runs: [ObjectIdentifier: [[Double]]] = [:]

  /// - Parameters:
  ///   - skipping: how many steps do not count, in which memory is touched and plans are compiled.
  ///   - needed: how often a plan is timed.
  package init(skipping: Int = 3, needed: Int = 5) { (skipped, self.needed) = (skipping, needed) }

  /// Notes a step; the report once a plan was timed often enough.
  package mutating func add(_ plan: Plan, _ seconds: [Double]) -> PlanReport? {
    guard skipped == 0 else {
      skipped -= 1
      return nil
    }
    runs[ObjectIdentifier(plan), default: []].append(seconds)
    let own = runs[ObjectIdentifier(plan)]!
    return own.count == needed ? PlanReport(plan, runs: own) : nil
  }
}
