import KalsaeData
import KalsaeModels

extension ViTModel {
  /// The maps of all layers for a picture, scaled to the network's size.
  func attention(to image: Image, _ input: PictureInput) throws -> AttentionRecord {
    let size = config.image_size, patch = config.patch_size, channels = config.num_channels
    guard channels == 1 || channels == 3 else {
      throw InspectionError("the model reads pictures of \(channels) channels; 1 or 3 are possible")
    }
    let seen = image.flattened(toChannels: channels).resized(width: size.columns, height: size.rows)
    let (rows, columns) = (size.rows / patch.rows, size.columns / patch.columns)
    let names = ["[CLS]"] + (0..<rows).flatMap { y in (0..<columns).map { x in "\(y),\(x)" } }
    let pixels = try input.tensor(seen)
    return AttentionRecord(
      tokens: [.init(name: "picture", texts: names)],
      layers: attentionMaps { _ = self(pixels) }.enumerated().map { number, map in
        .init(
          name: "layers.\(number).attention", number: number, queries: "picture", keys: "picture", of: map)
      },
      picture: .init(image: seen, rows: rows, columns: columns))
  }
}
