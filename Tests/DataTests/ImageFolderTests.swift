import Foundation
import KalsaeData
import Synchronization
import Testing

/// Collects what a folder reports.
private final class Reports: Sendable {
  private let list = Mutex<[SkippedImage]>([])
  var names: [String] { list.withLock { $0.map { ($0.path as NSString).lastPathComponent } } }
  func add(_ image: SkippedImage) { list.withLock { $0.append(image) } }
}

@Suite struct ImageFolderTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  func grey(_ value: UInt8) -> [UInt8] {
    Image(width: 6, height: 9, channels: 1, filledWith: value).pngBytes()
  }
  func colour(_ value: UInt8) -> [UInt8] {
    Image(width: 6, height: 4, channels: 3, filledWith: value).pngBytes()
  }

  /// A PNG with whole beginning and end and damage in between, which only decoding finds.
  func damaged() -> [UInt8] {
    var bytes = pattern(width: 40, height: 40, channels: 3).pngBytes()
    bytes[bytes.count / 2] ^= 0xFF
    return bytes
  }

  func values(_ data: some ImageDataset) throws -> [UInt8] {
    try (0..<data.count).map { try data.image($0).pixels[0] }
  }

  @Test func sortedAndRecursive() throws {
    try folder.write("b.png", grey(2))
    try folder.write("a/z.PNG", grey(1))
    try folder.write("c/d/e.png", colour(3))
    try folder.write(".hidden.png", grey(9))
    try folder.write("notes.txt", [1])
    let data = try ImageFolder(folder.path, size: 8)
    #expect(data.count == 3 && data.channels == 3 && data.size == 8)
    #expect(data.classNames == nil && data.label(0) == nil, "one picture lies in no class folder")
    #expect(try values(data) == [1, 2, 3])
    #expect(try values(data) == [1, 2, 3], "from the cache")
  }

  @Test func classesAndGrey() throws {
    try folder.write("dog/1.png", grey(10))
    try folder.write("cat/x/1.png", grey(20))
    try folder.write("dog/0.png", grey(30))
    let data = try ImageFolder(folder.path, size: 8)
    #expect(data.channels == 1)
    #expect(data.classNames == ["cat", "dog"])
    #expect((0..<3).map { data.label($0) } == [0, 1, 1])
    #expect(try values(data) == [20, 30, 10])
    #expect(try ImageFolder(folder.path, size: 8, channels: 3).image(0).channels == 3)
  }

  @Test func followsLinksOnce() throws {
    try folder.write("real/1.png", grey(10))
    let manager = FileManager.default
    try manager.createSymbolicLink(atPath: folder.path + "/real/loop", withDestinationPath: folder.path)
    let other = try TemporaryFolder()
    try other.write("2.png", grey(20))
    try manager.createSymbolicLink(atPath: folder.path + "/link", withDestinationPath: other.path)
    let data = try ImageFolder(folder.path, size: 8)
    #expect(try values(data) == [20, 10])
    #expect(data.classNames == ["link", "real"])
  }

  @Test func skipsWhatIsNoPicture() throws {
    let png = pattern(width: 40, height: 40, channels: 3).pngBytes()
    try folder.write("0-good.png", grey(5))
    try folder.write("1-text.png", Array("hello".utf8))
    try folder.write("2-empty.jpg", [])
    try folder.write("3-cut.png", Array(png[..<(png.count - 20)]))
    try folder.write("4-header.png", Array(png[..<20]))
    try FileManager.default.createDirectory(
      atPath: folder.path + "/5-folder.png", withIntermediateDirectories: true)
    try folder.write("6-good.png", colour(6))
    let reports = Reports()
    let data = try ImageFolder(folder.path, size: 8) { reports.add($0) }
    #expect(data.count == 2)
    let expected = ["1-text.png", "2-empty.jpg", "3-cut.png", "4-header.png", "5-folder.png"]
    #expect(reports.names == expected)
    #expect(data.skipped.map { ($0.path as NSString).lastPathComponent } == expected)
    #expect(data.skipped[0].reason.contains("neither PNG nor JPEG"))
    #expect(try values(data) == [5, 6])
  }

  @Test func damageFoundLaterIsReplaced() throws {
    try folder.write("a/0.png", colour(5))
    try folder.write("a/1.png", damaged())
    try folder.write("b/2.png", colour(7))
    try folder.write("b/3.png", damaged())
    let reports = Reports()
    let data = try ImageFolder(folder.path, size: 8) { reports.add($0) }
    #expect(data.count == 4 && reports.names.isEmpty)
    for _ in 0..<2 {
      #expect(try values(data) == [5, 7, 7, 5], "the next whole picture takes the place")
      #expect((0..<4).map { data.label($0) } == [0, 1, 1, 0])
    }
    #expect(reports.names == ["1.png", "3.png"], "each is reported once")
  }

  @Test func allFail() throws {
    try folder.write("a.png", [1, 2, 3])
    try folder.write("b.jpg", [])
    let error = #expect(throws: DataError.self) { try ImageFolder(folder.path) }
    #expect(error!.description.contains("none of its 2 image file(s) can be decoded"))
    #expect(error!.description.contains("a.png"))

    let later = try TemporaryFolder()
    try later.write("a.png", damaged())
    let data = try ImageFolder(later.path)
    let second = #expect(throws: DataError.self) { try data.image(0) }
    #expect(second!.description.contains("none of its 1 image file(s)"))
  }

  @Test func missingAndEmpty() throws {
    let missing = folder.path + "/none"
    #expect(throws: DataError.missing(path: missing, remedy: "give a folder of PNG or JPEG files")) {
      try ImageFolder(missing)
    }
    let empty = #expect(throws: DataError.self) { try ImageFolder(folder.path) }
    #expect(empty!.description.hasPrefix(folder.path + ": no PNG or JPEG file"))
    let file = try folder.write("a.txt", [])
    let error = #expect(throws: DataError.self) { try ImageFolder(file) }
    #expect(error!.description.contains("it is a file"))
  }

  @Test func cacheLimitHolds() throws {
    for i in 0..<3 { try folder.write("\(i).png", colour(UInt8(i))) }
    // Room for one picture of 8 x 8 x 3 = 192 bytes: the others are read again, so a change shows.
    let data = try ImageFolder(folder.path, size: 8, cacheLimit: 200)
    #expect(try values(data) == [0, 1, 2])
    for i in 0..<3 { try folder.write("\(i).png", colour(UInt8(100 + i))) }
    #expect(try values(data) == [0, 101, 102])
    try FileManager.default.removeItem(atPath: folder.path + "/2.png")
    #expect(throws: DataError.missing(path: folder.path + "/2.png", remedy: "check the path")) {
      try data.image(2)
    }
  }

  @Test(.enabled(if: RealData.photos, "set KALSAE_DATA to the folder with `photos`"))
  func photographs() throws {
    let data = try ImageFolder(RealData.folder! + "/photos", size: 48)
    #expect(data.count == 10 && data.channels == 3 && data.skipped.isEmpty)
    #expect(try data.image(0).pixels.count == 48 * 48 * 3)
  }
}
