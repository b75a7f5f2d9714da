import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeTensors

/// How samples become a network's input: `(v scale - mean) / deviation`, by channel; `preprocessor_config.json`.
public struct PictureInput: Sendable, Equatable {
  /// Of transformers' ViT: [0, 255] becomes [-1, 1].
  public var scale = 1.0 / 255
  /// One number, or one a channel.
  public var mean = [0.5], deviation = [0.5]

  public init() {}

  /// What a model folder says; the defaults where it says nothing. Sizes are the network's.
  public init(folder: String) throws {
    let path = folder + "/preprocessor_config.json"
    guard FileManager.default.fileExists(atPath: path) else { return }
    let c = try ConfigJSON(path: path)
    if try c("do_rescale", or: true) { scale = try c("rescale_factor", or: scale) } else { scale = 1 }
    if try c("do_normalize", or: true) {
      mean = try c("image_mean", or: mean)
      deviation = try c("image_std", or: deviation)
    } else {
      (mean, deviation) = ([0], [1])
    }
    if let problem { throw c.invalid(problem.key, problem.reason) }
  }

  private var problem: (key: String, reason: String)? {
    if mean.isEmpty { return ("image_mean", "is empty") }
    if deviation.isEmpty || !deviation.allSatisfy({ $0 > 0 }) { return ("image_std", "must be positive") }
    return nil
  }

  /// A picture as float32 (1, H, W, channels).
  func tensor(_ image: Image) throws(InspectionError) -> Tensor {
    func byChannel(_ values: [Double], _ key: String) throws(InspectionError) -> Tensor {
      guard values.count == 1 || values.count == image.channels else {
        throw InspectionError(
          "preprocessor_config.json: '\(key)' has \(values.count) numbers for \(image.channels) channels")
      }
      return Tensor(values.map { Float($0) }, [values.count])
    }
    let x = Tensor(image.pixels, [1, image.height, image.width, image.channels]).cast(to: .float32)
    return (x * scale - (try byChannel(mean, "image_mean"))) / (try byChannel(deviation, "image_std"))
  }
}
