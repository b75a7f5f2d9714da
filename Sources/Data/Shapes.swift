import KalsaeTensors

/// Pictures that the program draws itself: one coloured figure on a plain ground, with class and caption.
///
/// Picture `index` of `seed` is the same on every machine and at every size: all numbers come from integer
/// arithmetic, and drawing uses only operations that IEEE 754 defines exactly (no sin, no exp).
public struct ShapesDataset: ImageDataset {
  public let count: Int
  public let size: Int
  public let channels: Int
  public let seed: UInt64

  /// - Parameters:
  ///   - count: pictures in an epoch; a picture costs nothing until it is read.
  ///   - channels: 3, or 1 for light figures on dark grounds.
  public init(count: Int = 10_000, size: Int = 32, channels: Int = 3, seed: UInt64 = 0) {
    require(count > 0 && size > 0, "ShapesDataset: \(count) pictures of size \(size)")
    require(channels == 1 || channels == 3, "ShapesDataset: \(channels) channels; 1 or 3 are possible")
    self.count = count
    self.size = size
    self.channels = channels
    self.seed = seed
  }

  public var name: String { "shapes" }
  public var classNames: [String]? { ShapeScene.Figure.allCases.map(\.rawValue) }

  /// What picture `index` shows.
  public func scene(_ index: Int) -> ShapeScene {
    require(index >= 0 && index < count, "shapes: picture \(index) of \(count)")
    var generator = SplitMix64(key: 0x73_6861_7065_73, seed, UInt64(index))  // "shapes"
    return ShapeScene(isGrey: channels == 1, &generator)
  }

  public func label(_ index: Int) -> Int? {
    ShapeScene.Figure.allCases.firstIndex(of: scene(index).figure)
  }

  /// Such as "a large red circle at the top left on a black background".
  public func caption(_ index: Int) -> String? { scene(index).caption }

  public func read(_ index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DataError) {
    checkRead(index, pixels)
    scene(index).draw(into: pixels, size: size, channels: channels)
  }
}

/// One figure on a ground. Lengths are fractions of the picture's side; y points down.
public struct ShapeScene: Sendable, Equatable {
  public enum Figure: String, Sendable, CaseIterable {
    case circle, square, triangle, diamond, star, ring, cross, arrow
  }

  /// A named colour; grey pictures use the first channel.
  public struct Colour: Sendable, Equatable {
    public let name: String
    public var rgb: [Int]
  }

  public let figure: Figure
  public let colour: Colour
  public let background: Colour
  /// Radius of the circle that holds the figure.
  public let radius: Double
  public let x: Double
  public let y: Double
  /// Tangent of half the angle by which the figure is turned clockwise; at most 0.1 (11 degrees).
  public let halfTurn: Double

  static let colours = [
    Colour(name: "red", rgb: [215, 45, 45]), Colour(name: "orange", rgb: [240, 140, 35]),
    Colour(name: "yellow", rgb: [235, 210, 45]), Colour(name: "green", rgb: [50, 165, 70]),
    Colour(name: "turquoise", rgb: [45, 195, 200]), Colour(name: "blue", rgb: [60, 105, 225]),
    Colour(name: "purple", rgb: [145, 70, 185]), Colour(name: "pink", rgb: [235, 125, 180]),
  ]
  static let grounds = [
    Colour(name: "black", rgb: [16, 16, 16]), Colour(name: "white", rgb: [239, 239, 239]),
    Colour(name: "grey", rgb: [110, 110, 110]), Colour(name: "dark blue", rgb: [20, 28, 72]),
  ]
  static let greyColours = [
    Colour(name: "white", rgb: [239, 239, 239]), Colour(name: "light grey", rgb: [180, 180, 180]),
  ]
  static let greyGrounds = [
    Colour(name: "black", rgb: [16, 16, 16]), Colour(name: "dark grey", rgb: [70, 70, 70]),
  ]

  /// Draws from the generator, in this order: figure, colour, ground, radius, x, y, turn, then the small
  /// deviation (up to 12 of 255 either way) of each channel of the colour and of the ground.
  init(isGrey: Bool, _ generator: inout SplitMix64) {
    func pick<T>(_ list: [T]) -> T { list[Int(generator.below(UInt64(list.count)))] }
    func between(_ low: Double, _ high: Double) -> Double { low + (high - low) * generator.unit() }
    func varied(_ colour: Colour) -> Colour {
      let deviations = (0..<3).map { _ in Int(generator.below(25)) - 12 }
      return Colour(name: colour.name, rgb: zip(colour.rgb, deviations).map { $0 + $1 })
    }
    figure = pick(Figure.allCases)
    let colour = pick(isGrey ? Self.greyColours : Self.colours)
    let ground = pick(isGrey ? Self.greyGrounds : Self.grounds)
    radius = between(0.16, 0.40)
    x = between(radius, 1 - radius)
    y = between(radius, 1 - radius)
    halfTurn = between(-0.1, 0.1)
    self.colour = varied(colour)
    background = varied(ground)
  }

  /// An English sentence fragment that tells figure, colour, size, place and ground.
  public var caption: String {
    let size = radius < 0.24 ? "small" : radius < 0.32 ? "medium" : "large"
    let vertical = y < 0.42 ? "top" : y > 0.58 ? "bottom" : ""
    let horizontal = x < 0.42 ? "left" : x > 0.58 ? "right" : ""
    let place = [vertical, horizontal].filter { !$0.isEmpty }.joined(separator: " ")
    return
      "a \(size) \(colour.name) \(figure.rawValue) \(place.isEmpty ? "in the middle" : "at the " + place) "
      + "on a \(background.name) background"
  }

  /// Paints (size, size, channels). A pixel's share of the figure is 1/2 - d clamped to [0, 1], d being the
  /// signed distance in pixels from its centre to the figure's edge: smooth edges at any size.
  func draw(into pixels: UnsafeMutableBufferPointer<UInt8>, size: Int, channels: Int) {
    let side = Double(size)
    let outline = Outline(figure)
    // Half-angle formulas: cos and sin from the tangent t, without a library function.
    let norm = 1 + halfTurn * halfTurn
    let (cosine, sine) = ((1 - halfTurn * halfTurn) / norm, 2 * halfTurn / norm)
    let scale = radius * side
    for py in 0..<size {
      for px in 0..<size {
        let dx = (Double(px) + 0.5) / side - x
        let dy = (Double(py) + 0.5) / side - y
        var share = 0.0
        // Outside this square no part of the figure can reach the pixel.
        if max(abs(dx), abs(dy)) <= radius + 1 / side {
          let u = (cosine * dx + sine * dy) / radius
          let v = (cosine * dy - sine * dx) / radius
          share = min(1, max(0, 0.5 - scale * outline.distance(u, v)))
        }
        for c in 0..<channels {
          let (from, to) = (Double(background.rgb[c]), Double(colour.rgb[c]))
          pixels[(py * size + px) * channels + c] = UInt8(from + (to - from) * share + 0.5)
        }
      }
    }
  }
}
