import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeModels
import KalsaeTensors

/// How pictures become the input of a network: their size and channels, and what is subtracted from each channel and what
/// it is divided by. The `preprocessor_config.json` of transformers.
public struct ImageProcessor: Sendable, Equatable {
  public enum Fit: Sendable, Equatable {
    /// The largest square at the centre is scaled.
    case cover
    /// Both sides are scaled, each by itself.
    case stretch
    /// The shorter side is scaled to this many pixels, then the centre is cut out.
    case shortestSide(Int)
  }

  public let size: ImageSize
  /// What the network takes; grey pictures are repeated.
  public let channels: Int
  /// By channel, of samples in [0, 1].
  public let mean, deviation: [Double]
  public let fit: Fit
  /// What a byte is multiplied with.
  public let scale: Double

  public init(
    size: ImageSize, channels: Int, mean: [Double], deviation: [Double], fit: Fit = .cover,
    scale: Double = 1 / 255
  ) {
    require(
      mean.count == channels && deviation.count == channels && deviation.allSatisfy { $0 != 0 },
      "ImageProcessor: \(mean.count) means and \(deviation.count) deviations for \(channels) channels")
    (self.size, self.channels, self.mean, self.deviation) = (size, channels, mean, deviation)
    (self.fit, self.scale) = (fit, scale)
  }

  /// Reads the `preprocessor_config.json` of a model folder; `standard` is what counts where there is none, and for keys
  /// that it lacks. Pictures that shrink are averaged over areas, whatever the file's `resample` says.
  public init(folder: String, over standard: ImageProcessor) throws {
    let path = folder + "/preprocessor_config.json"
    guard FileManager.default.fileExists(atPath: path) else {
      self = standard
      return
    }
    let c = try ConfigJSON(path: path), channels = standard.channels
    func perChannel(_ key: String, _ standard: [Double]) throws -> [Double] {
      var values = try c(key, or: standard)
      if values.count == 1 { values = Array(repeating: values[0], count: channels) }
      guard values.count == channels else {
        throw c.invalid(key, "has \(values.count) number(s), but the model takes \(channels) channel(s)")
      }
      return values
    }
    var mean = try perChannel("image_mean", standard.mean)
    var deviation = try perChannel("image_std", standard.deviation)
    guard deviation.allSatisfy({ $0 > 0 }) else { throw c.invalid("image_std", "must be positive") }
    if try c("do_normalize", or: true) == false {
      mean = Array(repeating: 0, count: channels)
      deviation = Array(repeating: 1, count: channels)
    }
    let scale = try c("do_rescale", or: true) ? c("rescale_factor", or: 1 / 255.0) : 1
    var (size, fit) = (try Self.size(c, "size"), Fit.stretch)
    if case .object(let given)? = c.object["size"], let side = given["shortest_edge"] {
      guard case .integer(let pixels) = side, pixels > 0 else {
        throw c.invalid("size", "needs a positive whole number as shortest_edge")
      }
      fit = .shortestSide(pixels)
      size = try Self.size(c, "crop_size") ?? ImageSize(pixels)
      guard max(size!.rows, size!.columns) <= pixels else {
        throw c.invalid("crop_size", "is larger than the shortest_edge \(pixels)")
      }
    }
    self.init(
      size: size ?? standard.size, channels: channels, mean: mean, deviation: deviation, fit: fit,
      scale: scale)
  }

  /// A number of pixels, or height and width; nil where neither stands there.
  private static func size(_ c: ConfigJSON, _ key: String) throws(ConfigError) -> ImageSize? {
    let size: ImageSize?
    switch c.object[key] {
    case .integer(let pixels)?: size = ImageSize(pixels)
    case .object(let object)?:
      guard case .integer(let rows)? = object["height"], case .integer(let columns)? = object["width"] else {
        return nil
      }
      size = ImageSize(rows: rows, columns: columns)
    default: return nil
    }
    guard let size, (1...4096).contains(size.rows), (1...4096).contains(size.columns) else {
      throw c.invalid(key, "must be from 1 to 4096 pixels")
    }
    return size
  }

  /// `preprocessor_config.json`.
  public var json: JSONObject {
    [
      "image_processor_type": "ViTImageProcessor", "do_resize": true,
      "size": .object(["height": .integer(size.rows), "width": .integer(size.columns)]), "resample": 2,
      "do_rescale": true, "rescale_factor": .double(scale), "do_normalize": true,
      "image_mean": .array(mean.map { .double($0) }), "image_std": .array(deviation.map { .double($0) }),
    ]
  }

  /// A PNG or JPEG file as the network sees it: bytes (H, W, channels).
  public func picture(at path: String) throws(DataError) -> Image {
    let image = try Image(contentsOf: path, minimumSide: min(size.rows, size.columns))
      .flattened(toChannels: channels)
    switch fit {
    case .cover where size.rows == size.columns: return image.resizedToCover(size.rows)
    case .cover, .stretch: return image.resized(width: size.columns, height: size.rows)
    case .shortestSide(let side):
      let factor = Double(side) / Double(min(image.width, image.height))
      func scaled(_ n: Int, _ least: Int) -> Int { max(Int((Double(n) * factor).rounded()), least) }
      return image.resized(width: scaled(image.width, size.columns), height: scaled(image.height, size.rows))
        .centre(width: size.columns, height: size.rows)
    }
  }

  /// Bytes (N, H, W, 1 or `channels`) as the network's numbers (N, H, W, channels).
  public func callAsFunction(_ bytes: [UInt8], channels given: Int) -> Tensor {
    require(given == channels || given == 1, "ImageProcessor: \(given) channels where \(channels) are needed")
    let count = bytes.count / (size.rows * size.columns * given)
    let x = Tensor(bytes, [count, size.rows, size.columns, given]).cast(to: .float32)
    let factor = deviation.map { Float(scale / $0) }
    let offset = zip(mean, deviation).map { Float(-$0 / $1) }
    return x * Tensor(factor, [channels]) + Tensor(offset, [channels])
  }
}

extension Image {
  /// The part of this size at the centre.
  fileprivate func centre(width w: Int, height h: Int) -> Image {
    let left = (width - w) / 2, top = (height - h) / 2
    var samples: [UInt8] = []
    for y in top..<top + h {
      let start = (y * width + left) * channels
      samples += pixels[start..<start + w * channels]
    }
    return Image(width: w, height: h, channels: channels, pixels: samples)
  }
}
