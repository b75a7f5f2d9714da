import KalsaeData
import KalsaeModels
import KalsaePipelines

extension ViTModel {
  /// The maps of all layers for the picture in a PNG or JPEG file.
  func attention(to path: String, _ processor: ImageProcessor) throws -> AttentionRecord {
    guard config.num_channels == 1 || config.num_channels == 3 else {
      throw InspectionError(
        "the model reads pictures of \(config.num_channels) channels; 1 or 3 are possible")
    }
    let seen = try processor.picture(at: path)
    let pixels = processor(seen.pixels, channels: seen.channels)  // (1, H, W, channels)
    let rows = config.image_size.rows / config.patch_size.rows
    let columns = config.image_size.columns / config.patch_size.columns
    let patches = (0..<rows).flatMap { y in (0..<columns).map { x in "\(y),\(x)" } }
    return AttentionRecord(
      tokens: [.init(name: "picture", texts: ["[CLS]"] + patches)],
      layers: attentionMaps { _ = self(pixels) }.enumerated().map { number, map in
        .init(
          name: "layers.\(number).attention", number: number, queries: "picture", keys: "picture", of: map)
      },
      picture: .init(image: seen, rows: rows, columns: columns))
  }
}
