import KalsaeCheckpoints

/// A plan's timed steps on a time line, in the Trace Event Format that ui.perfetto.dev and chrome://tracing open.
public struct PlanTrace: Sendable {
  private let report: PlanReport, peaks: Peaks, name: String

  /// - Parameters:
  ///   - report: of a plan that was run and timed.
  ///   - name: what the time line is called.
  public init(_ report: PlanReport, peaks: Peaks, name: String) {
    (self.report, self.peaks, self.name) = (report, peaks, name)
  }

  /// One complete event a step, one behind the other: the median of the timed runs, without what lies between steps.
  public var json: JSONObject {
    var start = 0.0
    let title: JSON = [
      "name": "process_name", "ph": "M", "pid": 1, "tid": 1, "args": ["name": .string(name)],
    ]
    let events = report.steps.map { step -> JSON in
      let duration = (step.seconds ?? 0) * 1e6, floor = step.floor(peaks) * 1e6
      defer { start += duration }
      return [
        "name": .string(step.kernel), "cat": "step", "ph": "X", "pid": 1, "tid": 1, "ts": .double(start),
        "dur": .double(duration),
        "args": [
          "step": .string(step.description), "gflop": .double(step.flops / 1e9),
          "megabytes": .double(Double(step.bytesMoved) / 1e6), "floor_us": .double(floor),
          "times_floor": floor > 0 ? .double(duration / floor) : .null,
        ],
      ]
    }
    return [
      "displayTimeUnit": "ms", "traceEvents": .array([title] + events),
      "otherData": [
        "peak_gflops": .double(peaks.gigaflops), "bandwidth_gb_s": .double(peaks.bandwidth),
        "arena_bytes": .integer(report.arenaBytes),
      ],
    ]
  }
}

extension PlanReport.Step {
  /// The seconds that the step's arithmetic and its operands take at least on this machine.
  public func floor(_ peaks: Peaks) -> Double { peaks.floor(flops: flops, bytes: Double(bytesMoved)) }
}
