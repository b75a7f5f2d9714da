import KalsaeData
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// What the tokens of one input attended to: the map of every layer and head of a forward pass.
///
/// The maps are computed only when something reads them; `choosing` leaves those out that nobody wants to see.
public struct AttentionRecord: Sendable {
  /// A row of tokens, as text to read.
  public struct Tokens: Sendable, Equatable {
    /// What it is: "text", "picture", "source" or "target".
    public let name: String
    public let texts: [String]

    public init(name: String, texts: [String]) { (self.name, self.texts) = (name, texts) }
  }

  /// The heads of one attention: `maps[h, t, s]` is how much query t attends to key s; each row sums to 1.
  public struct Layer: Sendable {
    /// The path of its block in the network, such as `h.0.attn`.
    public let name: String
    /// Which block of the stack it belongs to, from 0.
    public let number: Int
    /// The names of the tokens that attend, and of those attended to.
    public let queries: String, keys: String
    /// The numbers of the heads in `maps`, from 0.
    public let heads: [Int]
    /// float32 (heads, T, S).
    public let maps: Tensor

    public init(name: String, number: Int, queries: String, keys: String, heads: [Int], maps: Tensor) {
      (self.name, self.number, self.queries, self.keys) = (name, number, queries, keys)
      (self.heads, self.maps) = (heads, maps)
    }
  }

  /// What a model that looks at pictures saw: one token for the class, then one a patch, row by row.
  public struct Picture: Sendable {
    public let image: Image
    /// Patches from top to bottom, and from left to right.
    public let rows: Int, columns: Int

    public init(image: Image, rows: Int, columns: Int) {
      (self.image, self.rows, self.columns) = (image, rows, columns)
    }
  }

  public let tokens: [Tokens]
  public let layers: [Layer]
  public let picture: Picture?

  public init(tokens: [Tokens], layers: [Layer], picture: Picture? = nil) {
    (self.tokens, self.layers, self.picture) = (tokens, layers, picture)
  }

  /// Only layer `layer` and head `head` of each, counted from 0; nil leaves all.
  /// - Throws: when there is no such layer or head.
  public func choosing(layer: Int? = nil, head: Int? = nil) throws(InspectionError) -> AttentionRecord {
    var chosen = layers
    if let layer {
      chosen = layers.filter { $0.number == layer }
      guard !chosen.isEmpty else {
        throw InspectionError(
          "there is no layer \(layer): the layers are 0 to \(layers.map(\.number).max()!)")
      }
    }
    if let head {
      let count = chosen.map(\.heads.count).min()!
      guard (0..<count).contains(head) else {
        throw InspectionError("there is no head \(head): the heads are 0 to \(count - 1)")
      }
      chosen = chosen.map {
        Layer(
          name: $0.name, number: $0.number, queries: $0.queries, keys: $0.keys, heads: [$0.heads[head]],
          maps: $0.maps.sliced(0, head..<head + 1))
      }
    }
    return AttentionRecord(tokens: tokens, layers: chosen, picture: picture)
  }

  /// Computes all maps as one plan.
  public func evaluated() -> Self {
    evaluate(layers.map(\.maps))
    return self
  }

  /// Numbers in all maps.
  public var mapElements: Int { layers.reduce(0) { $0 + $1.maps.shape.count } }

  /// The tokens of a name.
  func texts(_ name: String) -> [String] { tokens.first { $0.name == name }!.texts }
}

/// What cannot be shown, and what to do.
public struct InspectionError: Error, CustomStringConvertible, Equatable {
  public let description: String
  public init(_ description: String) { self.description = description }
}
