import KalsaeData
import Testing

/// Small archives written by NumPy 2.4.
private enum Fixture {
  /// `savez_compressed(f, np.arange(6).reshape(2, 3), half=np.float32([.5, -1]))`
  static let compressed = base64(
    "UEsDBC0AAAAIAAAAIQCEqZrv//////////8IABQAaGFsZi5ucHkBABAAiAAAAAAAAABMAAAAAAAAAJvsF+obEMnIUMZQrZ6S"
      + "WpxcpG6loG6TZqKuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6mjoKtQoUAC4GBgZ7BoaG/QBQSwMELQAAAAgA"
      + "AAAhAFmb2n3//////////wkAFABhcnJfMC5ucHkBABAAsAAAAAAAAABWAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6T"
      + "aaGuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6CsaaOgq1CmQDLgYoYITSTFCaGUqzQGlWKA0AUEsBAi0DLQAA"
      + "AAgAAAAhAISpmu9MAAAAiAAAAAgAAAAAAAAAAAAAAIABAAAAAGhhbGYubnB5UEsBAi0DLQAAAAgAAAAhAFmb2n1WAAAAsAAA"
      + "AAkAAAAAAAAAAAAAAIABhgAAAGFycl8wLm5weVBLBQYAAAAAAgACAG0AAAAXAQAAAAA=")
  /// `savez(f, np.uint8(7))`
  static let scalar = base64(
    "UEsDBC0AAAAAAAAAIQB2DhOJ//////////8JABQAYXJyXzAubnB5AQAQAIEAAAAAAAAAgQAAAAAAAACTTlVNUFkBAHYAeydk"
      + "ZXNjcic6ICd8dTEnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoKSwgfSAgICAgICAgICAgICAgICAgICAg"
      + "ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgCgdQSwECLQMtAAAAAAAAACEAdg4TiYEAAACBAAAA"
      + "CQAAAAAAAAAAAAAAgAEAAAAAYXJyXzAubnB5UEsFBgAAAAABAAEANwAAALwAAAAAAA==")
  /// `savez_compressed(f, np.zeros(2))`
  static let float64 = base64(
    "UEsDBC0AAAAIAAAAIQBumbIo//////////8JABQAYXJyXzAubnB5AQAQAJAAAAAAAAAARwAAAAAAAACb7BfqGxDJyFDGUK2e"
      + "klqcXKRupaBuk2ahrqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpGOpo6CrUKFAAuBjQAAFBLAQItAy0AAAAIAAAA"
      + "IQBumbIoRwAAAJAAAAAJAAAAAAAAAAAAAACAAQAAAABhcnJfMC5ucHlQSwUGAAAAAAEAAQA3AAAAggAAAAAA")
}

@Suite struct NPZTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  static let arrays: KeyValuePairs<String, NPYArray> = [
    "arr_0": NPYArray(
      shape: [2, 3, 5, 1], elements: .uint8((0..<30).map { UInt8($0 * 8) })),
    "arr_1": NPYArray(shape: [3], elements: .float32([1.5, -0.0, .infinity])),
    "label": NPYArray(shape: [2, 1], elements: .int64([.min, .max])),
    "none": NPYArray(shape: [0, 4], elements: .float32([])),
    "scalar": NPYArray(shape: [], elements: .int64([-7])),
  ]

  @Test(arguments: [false, true], [0xFFFF_FFFF, 100, 0] as [UInt64])
  func roundTrip(compressed: Bool, zip64Threshold: UInt64) throws {
    let path = folder.path + "/a.npz"
    try NPZ.write(Self.arrays, to: path, compressed: compressed, zip64Threshold: zip64Threshold)
    #expect(try NPZ.read(path) == Dictionary(uniqueKeysWithValues: Array(Self.arrays)))
    #expect(try folder.names() == ["a.npz"])
  }

  @Test func equalArraysGiveEqualFiles() throws {
    let (a, b) = (folder.path + "/a.npz", folder.path + "/b.npz")
    for path in [a, b] { try NPZ.write(Self.arrays, to: path, compressed: true) }
    #expect(try FileIO.read(a) == FileIO.read(b))
  }

  @Test func compressionShrinks() throws {
    let array = NPYArray(shape: [1000, 1000], elements: .uint8([UInt8](repeating: 3, count: 1_000_000)))
    let path = folder.path + "/a.npz"
    try NPZ.write(array, to: path, compressed: true)
    #expect(try FileIO.read(path).count < 5000)
    #expect(try NPZ.read(path) == ["arr_0": array])
  }

  @Test func readsNumPy() throws {
    let both = try NPZ.read(folder.write("both.npz", Fixture.compressed))
    #expect(
      both == [
        "arr_0": NPYArray(shape: [2, 3], elements: .int64([0, 1, 2, 3, 4, 5])),
        "half": NPYArray(shape: [2], elements: .float32([0.5, -1])),
      ])
    let scalar = try NPZ.read(folder.write("scalar.npz", Fixture.scalar))
    #expect(scalar == ["arr_0": NPYArray(shape: [], elements: .uint8([7]))])
  }

  /// Every NumPy header that this writer makes puts the elements at a multiple of 64.
  @Test func elementsAreAligned() throws {
    let path = folder.path + "/a.npz"
    for rank in 0...40 {
      let array = NPYArray(shape: [Int](repeating: 1, count: rank), elements: .uint8([0xA5]))
      try NPZ.write(array, to: path)
      let bytes = try FileIO.read(path)
      let start = try #require(bytes.firstIndex(of: 0x93))
      #expect((bytes.firstIndex(of: 0xA5)! - start) % 64 == 0)
      #expect(try NPZ.read(path)["arr_0"] == array)
    }
  }

  @Test func badFiles() throws {
    func reason(_ name: String, _ bytes: [UInt8]) throws -> String {
      let path = try folder.write(name, bytes)
      let error = #expect(throws: DataError.self, "\(name)") { try NPZ.read(path) }
      guard case .malformed(path, let reason)? = error else { return String(describing: error) }
      return reason
    }
    #expect(try reason("empty", []).contains("not a zip archive"))
    #expect(
      try reason("text", Array("PK but no archive, not even nearly".utf8)).contains("not a zip archive"))
    #expect(try reason("double", Fixture.float64).contains("element type <f8"))
    #expect(try reason("cut", Array(Fixture.compressed.dropLast(30))).contains("not a zip archive"))
    var damaged = Fixture.scalar
    // The element follows the newline that ends the array's header.
    damaged[damaged.firstIndex(of: 0x0A)! + 1] ^= 1
    #expect(try reason("bit flip", damaged).contains("checksum"))

    // No single damaged byte may crash the reader.
    for i in Fixture.compressed.indices {
      for bit in [0x01, 0x80, 0xFF] as [UInt8] {
        var bytes = Fixture.compressed
        bytes[i] ^= bit
        _ = try? NPZ.read(folder.write("fuzzed.npz", bytes))
      }
    }
  }
}
