import Foundation
import KalsaeCheckpoints
import KalsaeData
import KalsaeFormats

/// Where attention goes, by the name of the file: a page to explore, a picture of all maps, or the numbers.
public enum AttentionOutput: Sendable, Equatable {
  case html(String), png(String), safetensors(String)

  /// - Throws: for any other kind of file.
  public init(path: String) throws(InspectionError) {
    switch (path as NSString).pathExtension.lowercased() {
    case "html": self = .html(path)
    case "png": self = .png(path)
    case "safetensors": self = .safetensors(path)
    default: throw InspectionError("\(path): attention is written as .html, .png or .safetensors")
    }
  }

  /// Writes the file, complete or not at all. A safetensors file has a tensor a layer, float32 (heads, T, S), named after
  /// its block; its metadata are JSON: the tokens by name, the numbers of the heads, and what each layer's queries and
  /// keys are.
  public func write(_ record: AttentionRecord, title: String) throws {
    let record = record.evaluated()
    switch self {
    case .html(let path):
      try AtomicFile.write(AttentionPage(record, title: title).html().utf8, to: path)
    case .png(let path): try AttentionPicture().picture(record).writePNG(to: path)
    case .safetensors(let path):
      var tokens = JSONObject(), layers = JSONObject()
      for row in record.tokens { tokens[row.name] = .array(row.texts.map { .string($0) }) }
      for layer in record.layers {
        layers[layer.name] = [
          "queries": .string(layer.queries), "keys": .string(layer.keys),
          "heads": .array(layer.heads.map { .integer($0) }),
        ]
      }
      try saveTensors(
        Dictionary(uniqueKeysWithValues: record.layers.map { ($0.name, $0.maps) }), to: path,
        metadata: [
          "tokens": JSON.object(tokens).text, "layers": JSON.object(layers).text, "title": title,
        ])
    }
  }
}
