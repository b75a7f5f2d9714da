import Foundation
import KalsaeData
import Testing

@Suite struct LabelledPicturesTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  func write(_ name: String, _ value: UInt8, channels: Int = 1) throws {
    try folder.write(name, Image(width: 8, height: 8, channels: channels, filledWith: value).pngBytes())
  }

  func values(_ data: any ImageDataset) throws -> [UInt8] {
    try (0..<data.count).map { try data.image($0).pixels[0] }
  }

  @Test func aPartIsHeldOutAndAlwaysTheSame() throws {
    for i in 0..<10 { try write("\(i < 5 ? "a" : "b")/\(i).png", UInt8(10 * i)) }
    let pictures = try LabelledPictures(.folder(folder.path), imageSize: 8, fraction: 0.3)
    let test = try #require(pictures.test)
    #expect(pictures.classNames == ["a", "b"] && pictures.training.count == 7 && test.count == 3)
    #expect(try (values(pictures.training) + values(test)).sorted() == (0..<10).map { 10 * $0 })
    for part in [pictures.training, test] {
      for (i, value) in try values(part).enumerated() { #expect(part.label(i) == (value < 50 ? 0 : 1)) }
    }
    let again = try LabelledPictures(.folder(folder.path), imageSize: 8, fraction: 0.3)
    #expect(try values(#require(again.test)) == values(test))
    #expect(try LabelledPictures(.folder(folder.path), fraction: 0).test == nil)
    #expect(throws: DataError.self) { try LabelledPictures(.folder(folder.path), fraction: 0.01) }
  }

  /// The test part's classes are found by name, and its pictures come with the channels of the others.
  @Test func aFolderMayBringItsTestPart() throws {
    for (name, value) in [("train/a/0", 1), ("train/b/0", 2), ("train/c/0", 3)] as [(String, UInt8)] {
      try write(name + ".png", value, channels: 3)
    }
    try write("test/c/0.png", 4)
    let pictures = try LabelledPictures(.folder(folder.path), imageSize: 8)
    let test = try #require(pictures.test)
    #expect(pictures.classNames == ["a", "b", "c"] && pictures.training.count == 3 && test.count == 1)
    #expect(test.label(0) == 2 && test.channels == 3)
    let given = try LabelledPictures(
      .folder(folder.path + "/train"), imageSize: 8, test: .folder(folder.path + "/test"))
    #expect(given.test?.label(0) == 2)
    try write("test/d/0.png", 5)
    #expect {
      try LabelledPictures(.folder(folder.path), imageSize: 8)
    } throws: {
      "\($0)" == "test has the class \"d\", which is none of those learned: a, b, c"
    }
  }

  @Test func picturesNeedClasses() throws {
    try write("a/0.png", 1)
    #expect { try LabelledPictures(.folder(folder.path)) } throws: { "\($0)".contains("the one class \"a\"") }
    try write("0.png", 1)
    #expect { try LabelledPictures(.folder(folder.path)) } throws: { "\($0)".contains("has no labels") }
  }

  @Test func drawnPicturesHaveATestPart() throws {
    let pictures = try LabelledPictures(.shapes, imageSize: 16)
    let test = try #require(pictures.test)
    #expect(test.count == 1000 && test.classNames == pictures.classNames)
    #expect(try test.image(0) != pictures.training.image(0))
  }

  @Test(.enabled(if: RealData.fashionMNIST, "install dataset-fashion-mnist"))
  func fashionMNISTHasATestPart() throws {
    let pictures = try LabelledPictures(.parse("fashion-mnist"), imageSize: 32)
    let test = try #require(pictures.test)
    #expect(pictures.training.count == 60_000 && test.count == 10_000)
    #expect(test.size == 32 && test.classNames == FashionMNIST.classNames)
  }

  @Test(.enabled(if: RealData.cifar10, "set KALSAE_DATA to a folder with cifar10"))
  func cifar10HasATestPart() throws {
    let pictures = try LabelledPictures(.cifar10(folder: RealData.folder! + "/cifar10"))
    #expect(pictures.training.count == 10_000 && pictures.test?.count == 2000)
  }
}
