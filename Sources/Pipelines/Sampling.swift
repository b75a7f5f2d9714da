import KalsaeCheckpoints
import KalsaeDiffusion
import KalsaeModels
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// How to draw samples.
public struct SamplingOptions: Sendable {
  public var count = 64
  public var steps = 50
  public var sampler = SamplerKind.ddim
  /// DDIM's noise: 0 is deterministic, 1 as in DDPM.
  public var eta = 0.0
  public var seed: UInt64 = 0
  public var batchSize = 64
  public var precision: DType? = nil
  /// Height and width; the network's `sample_size` when nil.
  public var size: ImageSize? = nil
  public init() {}
}

extension DDPMPipeline {
  /// One state of the batch being drawn.
  public struct Progress {
    /// The first sample of the batch, and how many samples there are in all.
    public let first: Int, count: Int
    /// Steps taken in this batch, and how many there are.
    public let step: Int, steps: Int
    public let state: SamplingLoop.State
  }

  /// Draws samples (N, H, W, C), float32 in about [-1, 1].
  ///
  /// Each sample's noise depends on the seed and its number only, not on the batch it is drawn in. `initial` (N, H, W,
  /// C) replaces the starting noise. `progress` sees each state after it is computed, and stops the drawing by
  /// returning false; the finished batches are returned then.
  public func sample(
    _ options: SamplingOptions, initial: Tensor? = nil, progress: (Progress) -> Bool = { _ in true }
  ) throws -> [Float] {
    guard options.count > 0, options.batchSize > 0 else {
      throw DiffusionError("count \(options.count), batch size \(options.batchSize): both must be at least 1")
    }
    if let initial { try checkInitial(initial) }
    let count = initial?.shape[0] ?? options.count
    var samples: [Float] = [], step = RepeatedStep()
    for first in stride(from: 0, to: count, by: options.batchSize) {
      let n = min(options.batchSize, count - first)
      let noise = NoiseSource(seed: options.seed, first: first)
      let shape = try sampleShape(n, options, initial)
      let start = initial?.sliced(0, first..<first + n) ?? noise.prior(shape)
      evaluate(start)
      let loop = try diffusion.samplingLoop(
        options.sampler, steps: options.steps, eta: options.eta, from: start, noise: noise
      ) { x, times in
        Mode.evaluation {
          Autocast.with(options.precision) {
            // Whoever records attention maps wants the graph.
            AttentionMaps.isRecording ? unet(x, times) : step([x, times]) { [unet(x, times)] }[0]
          }
        }
      }
      var last = start
      for state in loop {
        evaluate(state.x)
        last = state.x
        let goesOn = progress(
          Progress(
            first: first, count: count, step: state.position + 1, steps: loop.underestimatedCount,
            state: state))
        guard goesOn else { return samples }
      }
      samples += last.floats()
    }
    return samples
  }

  /// Throws unless `x` is starting noise for this network: float32 (N, H, W, C) of at least one sample.
  public func checkInitial(_ x: Tensor) throws {
    let channels = unet.config.in_channels, multiple = unet.config.sizeMultiple
    guard x.rank == 4, x.shape[3] == channels, x.dtype == .float32, x.shape[0] > 0,
      x.shape[1] > 0, x.shape[2] > 0, x.shape[1] % multiple == 0, x.shape[2] % multiple == 0
    else {
      throw DiffusionError(
        "initial noise \(x.spec): float32 (N, H, W, \(channels)) is needed, N at least 1, H and W multiples of "
          + "\(multiple)")
    }
  }

  private func sampleShape(_ n: Int, _ options: SamplingOptions, _ initial: Tensor?) throws -> Shape {
    let channels = unet.config.in_channels
    if let initial { return [n, initial.shape[1], initial.shape[2], channels] }
    guard let size = options.size ?? unet.config.sample_size else {
      throw DiffusionError("unet/config.json has no sample_size: give the size of the pictures")
    }
    return [n, size.rows, size.columns, channels]
  }
}

/// Numbers in [-1, 1] as bytes, rounded; what lies outside is cut off.
public func pixelBytes(_ values: [Float]) -> [UInt8] {
  values.map { UInt8(min(max(($0 * 127.5 + 127.5).rounded(.toNearestOrEven), 0), 255)) }
}
