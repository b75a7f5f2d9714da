import KalsaeData
import Testing

@Suite struct ShapesTests {
  @Test func splitMix64IsThePublishedGenerator() {
    var generator = SplitMix64(seed: 1_234_567)
    let numbers = (0..<3).map { _ in generator.next() }
    #expect(numbers == [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423])
    var counts = [Int](repeating: 0, count: 7)
    for _ in 0..<70_000 { counts[Int(generator.below(7))] += 1 }
    for count in counts { #expect(abs(count - 10_000) < 400) }
    for _ in 0..<1000 { #expect((0..<1).contains(generator.unit())) }
  }

  /// These bytes must never change: runs and published samples depend on them. The numbers come from an
  /// independent implementation of the drawing.
  @Test func picturesArePinned() throws {
    let shapes = ShapesDataset()
    #expect(shapes.count == 10_000 && shapes.size == 32 && shapes.channels == 3)
    var pixels: [UInt8] = []
    for i in 0..<50 { pixels += try shapes.image(i).pixels }
    #expect(fingerprint(pixels) == 15_669_928_457_474_325_115)
    #expect(shapes.caption(0) == "a large purple star at the top on a white background")
    let grey = try ShapesDataset(size: 28, channels: 1, seed: 7).image(9999)
    #expect(fingerprint(grey.pixels) == 17_142_634_350_081_785_517)
  }

  @Test func everyFigureColourAndPlaceOccurs() {
    let shapes = ShapesDataset(count: 2000)
    var (figures, colours, captions): (Set<String>, Set<String>, Set<String>) = ([], [], [])
    for i in 0..<shapes.count {
      let scene = shapes.scene(i)
      figures.insert(scene.figure.rawValue)
      colours.insert(scene.colour.name)
      captions.insert(shapes.caption(i)!)
      #expect(shapes.classNames![shapes.label(i)!] == scene.figure.rawValue)
      #expect(scene.x - scene.radius >= 0 && scene.x + scene.radius <= 1, "inside the picture")
      #expect(scene.y - scene.radius >= 0 && scene.y + scene.radius <= 1, "inside the picture")
      #expect((scene.colour.rgb + scene.background.rgb).allSatisfy { (0...255).contains($0) })
    }
    #expect(figures == Set(shapes.classNames!))
    #expect(colours.count == 8 && captions.count > 900)
    for word in ["top left", "bottom right", "in the middle", "at the left", "small", "medium", "large"] {
      #expect(captions.contains { $0.contains(word) }, "\(word)")
    }
  }

  /// The figure's centre of mass lies where the scene says, and its colour is the caption's.
  @Test(arguments: [16, 32, 65]) func picturesShowTheirScenes(size: Int) throws {
    let shapes = ShapesDataset(count: 300, size: size)
    for i in 0..<shapes.count {
      let (scene, image) = (shapes.scene(i), try shapes.image(i))
      var (mass, mx, my) = (0.0, 0.0, 0.0)
      for y in 0..<size {
        for x in 0..<size {
          // The share of the figure in a pixel, from the channel in which the two colours differ most.
          let c = (0..<3).max {
            abs(scene.colour.rgb[$0] - scene.background.rgb[$0])
              < abs(scene.colour.rgb[$1] - scene.background.rgb[$1])
          }!
          let value = Int(image[x, y][image[x, y].startIndex + c])
          let share =
            Double(value - scene.background.rgb[c]) / Double(scene.colour.rgb[c] - scene.background.rgb[c])
          #expect(share > -0.01 && share < 1.01)
          mass += share
          mx += share * (Double(x) + 0.5)
          my += share * (Double(y) + 0.5)
        }
      }
      let unit = scene.radius * Double(size)
      #expect(mass > 0.6 * unit * unit, "\(shapes.caption(i)!) is too small")
      #expect(abs(mx / mass / Double(size) - scene.x) < 0.1 * scene.radius + 0.01)
      #expect(abs(my / mass / Double(size) - scene.y) < 0.1 * scene.radius + 0.01)
    }
  }

  @Test func edgesAreSmooth() throws {
    let image = try ShapesDataset(size: 64, channels: 1).image(0)
    #expect(Set(image.pixels).count > 20, "pixels on the edge take values in between")
    #expect(image.pixels.filter { $0 == image.pixels[0] }.count > 1000, "the ground is plain")
  }

  @Test func seedsAndIndicesDiffer() throws {
    let (a, b) = (ShapesDataset(seed: 1), ShapesDataset(count: 1 << 40, seed: 2))
    #expect(try a.image(0) != a.image(1))
    #expect(try a.image(0) != b.image(0))
    #expect(try b.image(1 << 39) != b.image(0), "any index works")
    #expect(try a.image(3) == ShapesDataset(count: 4, seed: 1).image(3), "the count changes no picture")
  }

  @Test func greyPicturesSpeakOfGrey() {
    let shapes = ShapesDataset(count: 200, channels: 1)
    for i in 0..<shapes.count {
      let scene = shapes.scene(i)
      #expect(["white", "light grey"].contains(scene.colour.name))
      #expect(["black", "dark grey"].contains(scene.background.name))
    }
  }
}
