import Foundation
import Kalsae
import Testing

/// The three kinds of file.
@Suite struct AttentionOutputTests {
  private let folder = FileManager.default.temporaryDirectory.path + "/kalsae-attention-" + UUID().uuidString

  /// Two layers of two heads, of 3 queries and 4 keys, the second with one head only.
  private static let tokens = ["<s>", "</script>", "it's \"q\" & \\", "\u{2028}\n"]
  private static func record() -> AttentionRecord {
    let maps = (0..<24).map { Float($0 % 5) / 10 }
    return AttentionRecord(
      tokens: [
        .init(name: "target", texts: Array(tokens[..<3])), .init(name: "source", texts: tokens),
      ],
      layers: [
        .init(
          name: "a", number: 0, queries: "target", keys: "source", heads: [0, 1],
          maps: Tensor(maps, [2, 3, 4])),
        .init(
          name: "b", number: 1, queries: "source", keys: "source", heads: [1],
          maps: Tensor((0..<16).map { Float($0) / 15 }, [1, 4, 4])),
      ])
  }

  private func written(_ name: String, _ record: AttentionRecord = Self.record()) throws -> String {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = folder + "/" + name
    try AttentionOutput(path: path).write(record, title: "<title> & \"quotes\"")
    return path
  }

  @Test func theNameSaysTheKind() throws {
    #expect(try AttentionOutput(path: "x.HTML") == .html("x.HTML"))
    #expect(try AttentionOutput(path: "a.b/x.png") == .png("a.b/x.png"))
    #expect(try AttentionOutput(path: "x.safetensors") == .safetensors("x.safetensors"))
    for path in ["x.pdf", "x", "png"] {
      #expect(throws: InspectionError("\(path): attention is written as .html, .png or .safetensors")) {
        try AttentionOutput(path: path)
      }
    }
  }

  @Test func numbersComeBack() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let record = Self.record()
    let file = try SafetensorsFile(path: written("maps.safetensors"))
    #expect(file.names == ["a", "b"])
    for layer in record.layers {
      let tensor = try file.tensor(layer.name)
      #expect(tensor.shape == layer.maps.shape && tensor.floats() == layer.maps.floats())
    }
    guard case .object(let tokens) = try JSON(parsing: (file.metadata["tokens"] ?? "").utf8),
      case .object(let layers) = try JSON(parsing: (file.metadata["layers"] ?? "").utf8)
    else { throw CocoaError(.propertyListReadCorrupt) }
    #expect(tokens["source"].flatMap([String].init) == Self.tokens)
    #expect(layers["b"] == ["queries": "source", "keys": "source", "heads": [1]])
  }

  @Test func thePictureHasARowALayerAndAColumnAHead() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let image = try Image(contentsOf: written("maps.png"))
    // 96 pixels hold 4 keys 24 times: two columns of 96, rows of 3 and of 4 queries, 6 pixels around each.
    #expect(image.channels == 3 && image.width == 2 * 96 + 3 * 6 && image.height == 72 + 96 + 3 * 6)
    // Dark where nothing is attended to, yellow at 1, white between the maps and where there is no head.
    #expect(Array(image[6, 6]) == [68, 1, 84])
    #expect(Array(image[6 + 95, 6 + 72 + 6 + 95]) == [253, 231, 37])
    #expect(Array(image[3, 3]) == [255, 255, 255])
    #expect(Array(image[6 + 96 + 6 + 5, 6 + 72 + 6 + 5]) == [255, 255, 255])
    // A cell is one colour.
    #expect(image[6 + 24, 6] == image[6 + 47, 6 + 23] && image[6 + 24, 6] != image[6 + 48, 6])
  }

  @Test func aHugePictureIsRefused() throws {
    let side = 1 << 13
    let layer = AttentionRecord.Layer(
      name: "a", number: 0, queries: "t", keys: "t", heads: [0, 1], maps: .zeros([2, side, side]))
    let record = AttentionRecord(tokens: [.init(name: "t", texts: [])], layers: [layer])
    for name in ["x.png", "x.html"] {
      do {
        try AttentionOutput(path: folder + "/" + name).write(record, title: "")
        Issue.record("\(name) was written")
      } catch { #expect("\(error)".contains("--layer or --head"), "\(error)") }
    }
  }

  /// The data between the script tags.
  private func data(_ page: String) throws -> JSONObject {
    let start = try #require(page.range(of: "<script type=\"application/json\" id=\"data\">")).upperBound
    let end = try #require(page.range(of: "</script>", range: start..<page.endIndex)).lowerBound
    guard case .object(let object) = try JSON(parsing: page[start..<end].utf8) else {
      throw CocoaError(.propertyListReadCorrupt)
    }
    return object
  }

  @Test func thePageHoldsEverything() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let page = try String(contentsOfFile: written("page.html"), encoding: .utf8)
    // What comes from outside ends no tag; nothing is fetched.
    #expect(page.components(separatedBy: "</script>").count == 3)
    #expect(!page.contains("<title> &") && !page.contains("http:") && !page.contains("https:"))
    #expect(!page.contains("src=\"") && !page.contains("innerHTML"))
    let data = try data(page)
    #expect(data["title"] == .string("<title> & \"quotes\""))
    guard case .object(let tokens)? = data["tokens"], case .array(let layers)? = data["layers"] else {
      throw CocoaError(.propertyListReadCorrupt)
    }
    #expect(tokens["source"].flatMap([String].init) == Self.tokens)
    for (layer, json) in zip(Self.record().layers, layers) {
      guard case .object(let object) = json, case .string(let text)? = object["levels"] else {
        throw CocoaError(.propertyListReadCorrupt)
      }
      #expect(object["name"] == .string(layer.name))
      guard let peaks = object["largest"].flatMap([Double].init) else {
        throw CocoaError(.propertyListReadCorrupt)
      }
      let levels = [UInt8](try #require(Data(base64Encoded: text)))
      let expected = layer.maps.floats()
      try #require(levels.count == expected.count)
      let size = expected.count / layer.heads.count
      for (place, p) in expected.enumerated() {
        let shown = Float(peaks[place / size]) * pow(Float(levels[place]) / 255, 2)
        #expect(abs(shown - p) < 0.005, "\(shown), \(p)")
      }
    }
  }

  @Test func aPageOfTwelveByTwelveIsBelowAMegabyte() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let layers = (0..<12).map {
      AttentionRecord.Layer(
        name: "h.\($0).attn", number: $0, queries: "text", keys: "text", heads: Array(0..<12),
        maps: .ones([12, 64, 64]) / 64)
    }
    let words = (0..<64).map { "token \($0)" }
    let record = AttentionRecord(tokens: [.init(name: "text", texts: words)], layers: layers)
    #expect(try FileManager.default.contents(atPath: written("page.html", record))!.count < 1_000_000)
  }

  @Test func thePictureIsInThePage() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let image = Image(width: 4, height: 2, channels: 3, filledWith: 77)
    let record = AttentionRecord(
      tokens: [.init(name: "picture", texts: ["[CLS]", "0,0", "0,1"])],
      layers: [
        .init(
          name: "layers.0.attention", number: 0, queries: "picture", keys: "picture", heads: [0],
          maps: .ones([1, 3, 3]) / 3)
      ], picture: .init(image: image, rows: 1, columns: 2))
    let data = try data(String(contentsOfFile: written("page.html", record), encoding: .utf8))
    guard case .object(let picture)? = data["picture"], case .string(let source)? = picture["source"] else {
      throw CocoaError(.propertyListReadCorrupt)
    }
    #expect(picture["rows"] == 1 && picture["columns"] == 2)
    let prefix = "data:image/png;base64,"
    #expect(source.hasPrefix(prefix))
    let path = folder + "/seen.png"
    try #require(Data(base64Encoded: String(source.dropFirst(prefix.count)))).write(
      to: URL(fileURLWithPath: path))
    #expect(try Image(contentsOf: path) == image)
  }
}
