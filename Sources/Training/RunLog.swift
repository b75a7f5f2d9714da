import KalsaeCheckpoints
import KalsaeData

/// What a run writes about itself: `metrics.jsonl` and TensorBoard events.
final class RunLog {
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
    step: Int, loss: Double, gradientNorm: Double, learningRate: Double, imagesPerSecond: Double
  ) throws {
    losses.append(loss)
    guard step % Self.interval == 0 else { return }
    let mean = losses.reduce(0, +) / Double(losses.count)
    losses = []
    try metrics.append(
      step: step,
      [
        "loss": .double(mean), "gradient_norm": .double(gradientNorm), "learning_rate": .double(learningRate),
        "images_per_second": .double(imagesPerSecond),
      ])
    try board.scalars(
      [
        ("loss", Float(mean)), ("gradient_norm", Float(gradientNorm)), ("learning_rate", Float(learningRate)),
        ("images_per_second", Float(imagesPerSecond)),
      ], step: step)
  }

  func add(step: Int, samples: Image) throws {
    try board.image(
      "samples", png: samples.pngBytes(), height: samples.height, width: samples.width,
      channels: samples.channels,
      step: step)
  }

  func synchronize() throws { try metrics.synchronize() }
}
