import Foundation
import KalsaeData
import Testing

/// Small files written by Pillow 12.
private enum Fixture {
  static let palette = base64(
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAACAgMAAAACxpXwAAAADFBMVEX/AAAA/wAAAP8KFB4iiCkEAAAADElEQVR4nGOQZngC"
      + "AAE5AQBFZJGbAAAAAElFTkSuQmCC")
  static let transparentPalette = base64(
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAACAgMAAAACxpXwAAAADFBMVEX/AAAA/wAAAP8KFB4iiCkEAAAAAnRSTlP/AOW3MEoA"
      + "AAAMSURBVHicY5BmeAIAATkBAEVkkZsAAAAASUVORK5CYII=")
  static let grey16 = base64(
    "iVBORw0KGgoAAAANSUhEUgAAAAMAAAABEAAAAABuG5crAAAAD0lEQVR4nGNgYEhJ+f8fAAXAAscdOXl0AAAAAElFTkSuQmCC")
  static let bilevel = base64(
    "iVBORw0KGgoAAAANSUhEUgAAAAMAAAABAQAAAAAzmykZAAAACklEQVR4nGNwAAAAQgBBKTf07wAAAABJRU5ErkJggg==")
  static let rgbJPEG = base64(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQ"
      + "ERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
      + "FBQUFBQUFBQUFBQUFBT/wAARCAAIABADAREAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAf/xAAUEAEAAAAAAAAAAAAA"
      + "AAAAAAAA/8QAFgEBAQEAAAAAAAAAAAAAAAAAAAMI/8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAwDAQACEQMRAD8AkiTZYD//"
      + "2Q==")
  static let greyJPEG = base64(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQ"
      + "ERMUFRUVDA8XGBYUGBIUFRT/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAACP/EABQQAQAAAAAAAAAAAAAAAAAA"
      + "AAD/2gAIAQEAAD8AO7//2Q==")
  static let cmykJPEG = base64(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggLCAkK"
      + "CgoKCgYICwwLCgwJCgoK/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAkDCv/EABQQAQAAAAAA"
      + "AAAAAAAAAAAAAAD/2gAOBEMATQBZAEsAAD8Afxn/AEz+P//Z")
}

@Suite struct ImageCodecTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  func read(_ bytes: [UInt8]) throws -> Image { try Image(contentsOf: folder.write("picture", bytes)) }

  @Test(arguments: 1...4) func pngRoundTrip(channels: Int) throws {
    let image = pattern(width: 13, height: 7, channels: channels)
    let path = folder.path + "/out.png"
    try image.writePNG(to: path)
    #expect(try Image(contentsOf: path) == image)
    #expect(try folder.names() == ["out.png"], "no temporary file may stay behind")
  }

  @Test func pngOfNoise() throws {
    // Data that deflate cannot shrink: the encoder's buffer must still be large enough.
    var generator = SplitMix64(seed: 1)
    let pixels = (0..<64 * 200 * 3).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    let image = Image(width: 64, height: 200, channels: 3, pixels: pixels)
    #expect(try read(image.pngBytes()) == image)
  }

  @Test func pngVariants() throws {
    let palette = try read(Fixture.palette)
    #expect(palette.channels == 3 && palette.width == 4 && palette.height == 2)
    #expect(Array(palette.pixels[0..<12]) == [255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30])
    #expect(Array(palette[0, 1]) == [10, 20, 30])

    let transparent = try read(Fixture.transparentPalette)
    #expect(transparent.channels == 4)
    #expect(Array(transparent[1, 0]) == [0, 255, 0, 0] && Array(transparent[2, 0]) == [0, 0, 255, 255])

    #expect(try read(Fixture.grey16) == Image(width: 3, height: 1, channels: 1, pixels: [0, 100, 255]))
    #expect(try read(Fixture.bilevel) == Image(width: 3, height: 1, channels: 1, pixels: [0, 255, 0]))
  }

  @Test func jpegVariants() throws {
    let rgb = try read(Fixture.rgbJPEG)
    #expect(rgb.width == 16 && rgb.height == 8 && rgb.channels == 3)
    #expect(Array(rgb[3, 2]) == [201, 40, 90])
    let grey = try read(Fixture.greyJPEG)
    #expect(grey == Image(width: 8, height: 8, channels: 1, filledWith: 77))
    let cmyk = try read(Fixture.cmykJPEG)
    #expect(cmyk.channels == 3)
    for (value, expected) in zip(cmyk[4, 4], [255, 0, 127]) { #expect(abs(Int(value) - expected) <= 2) }
  }

  @Test func jpegDecodesSmaller() throws {
    let path = try folder.write("a.jpg", Fixture.rgbJPEG)
    let small = try Image(contentsOf: path, minimumSide: 2)
    #expect(small.width == 8 && small.height == 4 && Array(small[1, 1]) == [201, 40, 90])
    #expect(try Image(contentsOf: path, minimumSide: 5).width == 16)
  }

  @Test func badPictures() throws {
    let png = pattern(width: 40, height: 40, channels: 3).pngBytes()
    var damaged = png
    damaged[png.count / 2] ^= 0xFF
    // A header that claims 900,000 by 900,000 pixels; its CRC is right.
    let huge: [UInt8] =
      png[..<16] + [0, 13, 187, 160, 0, 13, 187, 160, 8, 2, 0, 0, 0] + [0x5F, 0xDF, 0x06, 0xD8] + png[33...]
    let cases: [(String, [UInt8])] = [
      ("empty", []), ("text", Array("not a picture".utf8)), ("cut png", Array(png[..<(png.count / 2)])),
      ("damaged png", damaged), ("huge png", huge), ("cut jpeg", Array(Fixture.rgbJPEG[..<280])),
      ("jpeg header only", Array(Fixture.rgbJPEG[..<100])), ("soi", [0xFF, 0xD8, 0xFF]),
    ]
    for (name, bytes) in cases {
      let path = try folder.write(name, bytes)
      let error = #expect(throws: DataError.self, "\(name)") { try Image(contentsOf: path) }
      guard case .malformed(path, _)? = error else {
        Issue.record("\(name): \(String(describing: error))")
        continue
      }
      if name == "huge png" { #expect(error!.description.contains("900000 x 900000 pixels are more than")) }
    }
  }

  @Test func missingAndUnwritable() throws {
    let missing = folder.path + "/none.png"
    #expect(throws: DataError.missing(path: missing, remedy: "check the path")) {
      try Image(contentsOf: missing)
    }
    #expect(throws: DataError.unreadable(path: folder.path, reason: "it is not a regular file")) {
      try Image(contentsOf: folder.path)
    }
    let image = Image(width: 1, height: 1, channels: 1)
    let error = #expect(throws: DataError.self) { try image.writePNG(to: folder.path + "/no/such/a.png") }
    #expect(error!.description.contains(folder.path + "/no/such"))
    #expect(throws: DataError.unwritable(path: folder.path, reason: "it is a folder")) {
      try image.writePNG(to: folder.path)
    }
  }

  @Test func failedWriteKeepsTheOldFile() throws {
    let path = try folder.write("a.bin", [1, 2, 3])
    #expect(throws: DataError.invalidOption("stop")) {
      try AtomicOutput.write(to: path) { (file) throws(DataError) in
        try file.append([9, 9])
        throw .invalidOption("stop")
      }
    }
    #expect(try FileIO.read(path) == [1, 2, 3])
    #expect(try folder.names() == ["a.bin"])
  }

  @Test func flattening() {
    let rgba = Image(width: 2, height: 1, channels: 4, pixels: [100, 150, 200, 255, 10, 20, 30, 51])
    // 10 * 0.2 + 255 * 0.8 = 206, and so on.
    #expect(rgba.flattened(toChannels: 3).pixels == [100, 150, 200, 206, 208, 210])
    #expect(rgba.flattened(toChannels: 1).pixels == [141, 208])
    let grey = Image(width: 2, height: 1, channels: 2, pixels: [7, 255, 7, 0])
    #expect(grey.flattened(toChannels: 1).pixels == [7, 255])
    #expect(grey.flattened(toChannels: 3).pixels == [7, 7, 7, 255, 255, 255])
  }

  @Test(.enabled(if: RealData.photos, "set KALSAE_DATA to the folder with `photos`"))
  func photographs() throws {
    let photos = RealData.folder! + "/photos/"
    let sizes = [
      ("astronaut.png", 512, 512, 3), ("camera.png", 512, 512, 1), ("china.jpg", 640, 427, 3),
      ("hubble_deep_field.jpg", 1000, 872, 3),
    ]
    for (name, width, height, channels) in sizes {
      let image = try Image(contentsOf: photos + name)
      #expect(image.width == width && image.height == height && image.channels == channels, "\(name)")
      // Decoding at half size first must look the same as averaging the full picture.
      let small = try Image(contentsOf: photos + name, minimumSide: 32).resizedToCover(32).pixels
      let exact = image.resizedToCover(32).pixels
      let difference = zip(small, exact).reduce(0.0) { $0 + abs(Double($1.0) - Double($1.1)) }
      #expect(difference / Double(exact.count) < 3, "\(name)")
    }
  }
}
