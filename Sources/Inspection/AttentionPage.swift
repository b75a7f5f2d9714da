import Foundation
import KalsaeData
import KalsaeFormats
import KalsaeRuntime
import KalsaeTensors

/// One HTML file in which a learner explores the maps; it needs no server, no network and no other file.
struct AttentionPage {
  private let record: AttentionRecord, title: String

  init(_ record: AttentionRecord, title: String) { (self.record, self.title) = (record, title) }

  func html() throws(InspectionError) -> String {
    guard record.mapElements <= Self.mostElements else {
      throw InspectionError(
        "a page of all maps would hold \(record.mapElements) numbers, \(Self.mostElements) at most are possible: choose "
          + "some with --layer or --head, or write .safetensors")
    }
    // No tag can end the script, whatever the tokens hold: outside of strings JSON has no "<".
    let data = JSON.object(data).text.replacing("<", with: "\\u003c")
    return AttentionPageTemplate.beforeData + data + AttentionPageTemplate.afterData
  }

  private static let mostElements = 1 << 25

  private var data: JSONObject {
    var object: JSONObject = [
      "title": .string(title),
      "tokens": .object([:]),
      "colours": .array(Colormap.table.map { .array($0.map { .integer(Int($0)) }) }),
      "layers": .array(record.layers.map { .object(entry($0)) }),
    ]
    var tokens = JSONObject()
    for row in record.tokens { tokens[row.name] = .array(row.texts.map { .string($0) }) }
    object["tokens"] = .object(tokens)
    if let picture = record.picture {
      object["picture"] = [
        "source": .string("data:image/png;base64," + Data(picture.image.pngBytes()).base64EncodedString()),
        "width": .integer(picture.image.width), "height": .integer(picture.image.height),
        "rows": .integer(picture.rows), "columns": .integer(picture.columns),
      ]
    }
    return object
  }

  /// The levels of a layer's maps, (heads, T, S), as base64, and the largest probability of each head.
  private func entry(_ layer: AttentionRecord.Layer) -> JSONObject {
    let maps = layer.maps.floats(), size = maps.count / layer.heads.count
    let heads = layer.heads.indices.map { attentionLevels(maps[$0 * size..<($0 + 1) * size]) }
    let levels = heads.flatMap(\.levels)
    return [
      "name": .string(layer.name), "queries": .string(layer.queries), "keys": .string(layer.keys),
      "heads": .array(layer.heads.map { .integer($0) }),
      "largest": .array(heads.map { JSON($0.largest) }),
      "levels": .string(Data(levels).base64EncodedString()),
    ]
  }
}
