import KalsaeCheckpoints
import KalsaeData

/// What a run writes about itself: `metrics.jsonl` and TensorBoard events.
public final class RunLog {
  /// Steps between entries.
  static let interval = 10
  private let metrics: MetricsLog
  private let board: TensorBoardWriter
  private var losses: [Double] = []

  init(_ run: RunFolder, resumingAfter step: Int?) throws {
    metrics =
      try step.map { try MetricsLog(path: run.metricsPath, resumingAfter: $0) }
      ?? MetricsLog(path: run.metricsPath)
    board = try TensorBoardWriter(folder: run.tensorBoardPath, resumingAfter: step)
  }

  /// Notes a step; every `interval`-th writes the mean loss since the last entry.
  func add(
    step: Int, loss: Double, gradientNorm: Double, learningRate: Double,
    speed: (unit: String, perSecond: Double)
  ) throws {
    losses.append(loss)
    guard step % Self.interval == 0 else { return }
    let mean = losses.reduce(0, +) / Double(losses.count)
    losses = []
    try add(
      step: step,
      [
        ("loss", mean), ("gradient_norm", gradientNorm), ("learning_rate", learningRate),
        (speed.unit + "_per_second", speed.perSecond),
      ])
  }

  /// Writes numbers under their names, now.
  func add(step: Int, _ values: [(name: String, value: Double)]) throws {
    var line: JSONObject = [:]
    for (name, value) in values { line[name] = .double(value) }
    try metrics.append(step: step, line)
    try board.scalars(values.map { ($0.name, Float($0.value)) }, step: step)
  }

  func add(step: Int, samples: Image) throws {
    try board.image(
      "samples", png: samples.pngBytes(), height: samples.height, width: samples.width,
      channels: samples.channels,
      step: step)
  }

  func synchronize() throws { try metrics.synchronize() }
}
