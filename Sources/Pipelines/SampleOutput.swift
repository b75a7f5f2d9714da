import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeDiffusion
import KalsaeModels
import KalsaeRuntime
import KalsaeTensors

/// Where samples go, by the name of the file: a PNG grid, a folder of PNGs, `.npz` or `.safetensors`.
public enum SampleOutput: Sendable, Equatable {
  case grid(String), folder(String), npz(String), safetensors(String)

  public init(path: String) {
    switch (path as NSString).pathExtension.lowercased() {
    case "png": self = .grid(path)
    case "npz": self = .npz(path)
    case "safetensors": self = .safetensors(path)
    default: self = .folder(path)
    }
  }

  public var path: String {
    switch self {
    case .grid(let path), .folder(let path), .npz(let path), .safetensors(let path): path
    }
  }

  /// Refuses a place that cannot be written to, and a folder that holds anything, before anything is drawn.
  public func checkIsWritable() throws(FileError) {
    let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
    switch self {
    case .folder(let path):
      let names = try? FileManager.default.contentsOfDirectory(atPath: path)
      if names?.isEmpty == false {
        throw FileError(path: path, operation: "write the pictures there", code: ENOTEMPTY)
      }
      if names == nil, access(path, F_OK) == 0 {
        throw FileError(path: path, operation: "write the pictures there", code: EEXIST)
      }
    case .grid, .npz, .safetensors:
      guard access(parent, W_OK) == 0 else {
        throw FileError(path: path, operation: "create a file in its folder")
      }
    }
  }

  /// Writes samples (N, H, W, C) in [-1, 1].
  ///
  /// `.npz` holds uint8 `arr_0` as improved-diffusion writes it, `.safetensors` the unrounded float32 `x`.
  public func write(_ samples: [Float], size: ImageSize, channels: Int) throws {
    let pixels = size.rows * size.columns * channels
    let shape = [samples.count / pixels, size.rows, size.columns, channels]
    switch self {
    case .safetensors(let path):
      try saveTensors(["x": Tensor(samples, Shape(shape))], to: path)
    case .npz(let path):
      try NPZ.write(["arr_0": NPYArray(shape: shape, elements: .uint8(pixelBytes(samples)))], to: path)
    case .grid(let path):
      try ImageGrid().picture(
        ofBatch: pixelBytes(samples), height: size.rows, width: size.columns, channels: channels
      ).writePNG(to: path)
    case .folder(let path):
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      let bytes = pixelBytes(samples)
      let digits = max(5, String(shape[0]).count)
      for index in 0..<shape[0] {
        let image = Image(
          width: size.columns, height: size.rows, channels: channels,
          pixels: Array(bytes[index * pixels..<(index + 1) * pixels]))
        let number = String(index)
        let name = String(repeating: "0", count: digits - number.count) + number
        try image.writePNG(to: path + "/" + name + ".png")
      }
    }
  }
}

/// The way of some samples from noise to picture: a row for each, a column for each of some steps.
public struct Trajectory {
  private let rows: Int, columns: Int
  private var frames: [[Float]] = []

  public init(rows: Int = 8, columns: Int = 10) {
    self.rows = rows
    self.columns = columns
  }

  /// Notes a state of the first batch, if it belongs to a column.
  public mutating func add(_ progress: DDPMPipeline.Progress) {
    guard progress.first == 0 else { return }
    // The last column is the last step.
    let before = (progress.step - 1) * columns / progress.steps,
      now = progress.step * columns / progress.steps
    guard now > before || progress.steps <= columns else { return }
    let n = min(rows, progress.state.x.shape[0])
    frames.append(progress.state.x.sliced(0, 0..<n).floats())
  }

  /// Writes the picture.
  public func write(to path: String, size: ImageSize, channels: Int) throws {
    let pixels = size.rows * size.columns * channels
    let n = (frames.first?.count ?? 0) / pixels
    let ordered = (0..<n).flatMap { row in frames.flatMap { $0[row * pixels..<(row + 1) * pixels] } }
    try ImageGrid(columns: frames.count).picture(
      ofBatch: pixelBytes(ordered), height: size.rows, width: size.columns, channels: channels
    ).writePNG(to: path)
  }
}
