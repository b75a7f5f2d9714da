import KalsaeData
import Testing

@Suite struct IDXTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  let pixels = (0..<3 * 16).map { UInt8($0) }

  @Test(arguments: [false, true]) func reads(zipped: Bool) throws {
    let images = idx([3, 4, 4], pixels)
    let labels = idx([3], [2, 0, 1])
    let data = try IDXDataset(
      name: "test", images: folder.write("images", zipped ? gzip(images) : images),
      labels: folder.write("labels", zipped ? gzip(labels) : labels), classNames: ["a", "b", "c"])
    #expect(data.count == 3 && data.size == 4 && data.channels == 1)
    #expect((0..<3).map { data.label($0) } == [2, 0, 1])
    #expect(try data.image(1).pixels == Array(16..<32))
  }

  @Test func badFiles() throws {
    func reason(_ bytes: [UInt8]) throws -> String {
      let path = try folder.write("images", bytes)
      let error = #expect(throws: DataError.self) { try IDXArray(contentsOf: path, rank: 3) }
      guard case .malformed(path, let reason)? = error else { return String(describing: error) }
      return reason
    }
    let good = idx([3, 4, 4], pixels)
    #expect(try reason([]).contains("not an IDX file"))
    #expect(try reason(Array("P5 4 4 255".utf8)).contains("not an IDX file"))
    #expect(try reason(idx([3, 4, 4], pixels, type: 0x0D)).contains("element type 13"))
    #expect(try reason(idx([3], [1, 2, 3])).contains("1 dimensions instead of 3"))
    #expect(try reason(Array(good[..<9])).contains("header ends early"))
    #expect(try reason(good.dropLast()).contains("truncated"))
    #expect(try reason(good + [0]).contains("longer"))
    #expect(try reason(idx([0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF], [])).contains("impossibly large"))
    #expect(try reason(idx([0xFFFF_FFFF, 0xFFFF, 1], pixels)).contains("truncated"))
    #expect(try reason(gzip(good).dropLast(20)).contains("gzip data ends early"))
    #expect(try reason(gzip(good).dropLast(4)).contains("gzip data ends early"))
    #expect(try reason(gzip(Array(good.dropLast()))).contains("need 48 bytes, it has 47"))
    var damaged = gzip(good)
    damaged[40] ^= 1
    #expect(try reason(damaged).contains("damaged gzip data"))
  }

  @Test func badPairs() throws {
    let images = try folder.write("images", idx([3, 4, 4], pixels))
    func open(_ images: String, _ labels: [UInt8]) throws -> IDXDataset {
      try IDXDataset(
        name: "test", images: images, labels: folder.write("labels", idx([labels.count], labels)),
        classNames: ["a", "b"])
    }
    let count = #expect(throws: DataError.self) { try open(images, [0, 1]) }
    #expect(count!.description.contains("2 labels for 3 images"))
    let label = #expect(throws: DataError.self) { try open(images, [0, 1, 2]) }
    #expect(label!.description.contains("label 2, but there are only 2 classes"))
    for shape in [[3, 2, 8], [0, 4, 4], [4, 0, 0]] {
      let elements = Array(pixels.prefix(shape.reduce(1, *)))
      let path = try folder.write("odd", idx(shape, elements))
      let error = #expect(throws: DataError.self) { try IDXDataset(name: "odd", images: path) }
      #expect(error!.description.contains("not a number of square images"))
    }
  }

  @Test func fashionMNISTMissing() throws {
    let error = #expect(throws: DataError.self) { try FashionMNIST.open(folder: folder.path) }
    #expect(error!.description.contains("apt-get install dataset-fashion-mnist"))
    #expect(error!.description.contains(folder.path + "/train-images-idx3-ubyte.gz"))
  }

  @Test(.enabled(if: RealData.fashionMNIST, "needs Debian's package dataset-fashion-mnist"))
  func fashionMNIST() throws {
    let data = try FashionMNIST.open()
    #expect(data.count == 60_000 && data.size == 28 && data.channels == 1)
    var histogram = [Int](repeating: 0, count: 10)
    for i in 0..<data.count { histogram[data.label(i)!] += 1 }
    #expect(histogram == [Int](repeating: 6000, count: 10))
    // The published mean of the training images is 0.2860.
    var sum = 0
    for i in 0..<data.count { sum += try data.image(i).pixels.reduce(0) { $0 + Int($1) } }
    #expect(abs(Double(sum) / (255 * 60_000 * 784) - 0.2860) < 0.0001)
    #expect(data.classNames![data.label(0)!] == "ankle boot")

    let test = try FashionMNIST.open(split: .test)
    #expect(test.count == 10_000)
    let large = try DataSource.parse("fashion-mnist").open(imageSize: 32)
    #expect(large.size == 32 && large.count == 60_000 && large.label(0) == 9)
    #expect(try large.image(0) == data.image(0).resizedToCover(32))
  }
}

@Suite struct CIFAR10Tests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  /// Red 10 i + label, green 1, blue rising along the picture.
  func record(_ label: UInt8, _ i: Int) -> [UInt8] {
    [label] + [UInt8](repeating: UInt8(10 * i) + label, count: 1024) + [UInt8](repeating: 1, count: 1024)
      + (0..<1024).map { UInt8(truncatingIfNeeded: $0) }
  }

  @Test func readsOfficialNames() throws {
    try folder.write("data_batch_2.bin", record(3, 2))
    try folder.write("data_batch_1.bin.gz", gzip(record(9, 0) + record(0, 1)))
    try folder.write("test_batch.bin", record(5, 5))
    try folder.write("readme.html", [1])
    let data = try CIFAR10(folder: folder.path)
    #expect(data.count == 3 && data.size == 32 && data.channels == 3)
    #expect((0..<3).map { data.label($0) } == [9, 0, 3])
    let image = try data.image(1)
    #expect(Array(image[0, 0]) == [10, 1, 0] && Array(image[31, 7]) == [10, 1, 255])
    #expect(try CIFAR10(folder: folder.path, split: .test).label(0) == 5)
    #expect(data.classNames![9] == "truck")
  }

  @Test func otherNamesAndSubfolder() throws {
    try folder.write("cifar-10-batches-bin/mine.bin", record(1, 0) + record(2, 0))
    try folder.write("cifar-10-batches-bin/my_test.bin", record(4, 0))
    #expect(try CIFAR10(folder: folder.path).count == 2)
    #expect(try CIFAR10(folder: folder.path, split: .test).label(0) == 4)
  }

  @Test func badFiles() throws {
    func description() -> String {
      let error = #expect(throws: DataError.self) { try CIFAR10(folder: folder.path) }
      return error!.description
    }
    #expect(description().contains("data_batch_1.bin: not found"))
    try folder.write("data_batch_1.bin", record(1, 0) + [0, 0])
    #expect(description().contains("3075 bytes are not whole CIFAR-10 records"))
    try folder.write("data_batch_1.bin", record(1, 0) + record(10, 0))
    #expect(description().contains("record 1 has label 10"))
    try folder.write("data_batch_1.bin", [])
    #expect(description().contains("0 bytes"))
    try folder.write("data_batch_1.bin", gzip(record(1, 0)).dropLast(9))
    #expect(description().contains("gzip data ends early"))
    let error = #expect(throws: DataError.self) { try CIFAR10(folder: folder.path + "/none") }
    #expect(error!.description.contains("none: not found; give the folder"))
  }

  @Test(.enabled(if: RealData.cifar10, "set KALSAE_DATA to the folder with `cifar10`"))
  func realFiles() throws {
    let data = try DataSource.parse("cifar10:\(RealData.folder!)/cifar10").open()
    #expect(data.count == 10_000 && data.size == 32)
    var histogram = [Int](repeating: 0, count: 10)
    for i in 0..<data.count { histogram[data.label(i)!] += 1 }
    #expect(histogram == [Int](repeating: 1000, count: 10))
    // Channel means of CIFAR-10 are 0.491, 0.482, 0.447.
    var sums = [0.0, 0.0, 0.0]
    for i in 0..<1000 {
      for (j, value) in try data.image(i).pixels.enumerated() {
        sums[j % 3] += Double(value) / 255 / 1_024_000
      }
    }
    for (sum, mean) in zip(sums, [0.491, 0.482, 0.447]) { #expect(abs(sum - mean) < 0.02) }
    #expect(try CIFAR10(folder: RealData.folder! + "/cifar10", split: .test).count == 2000)
  }
}

@Suite struct DataSourceTests {
  @Test func parsing() throws {
    let folder = try TemporaryFolder()
    #expect(try DataSource.parse("shapes") == .shapes)
    #expect(try DataSource.parse("fashion-mnist") == .fashionMNIST(folder: FashionMNIST.defaultFolder))
    #expect(try DataSource.parse("cifar10:/x") == .cifar10(folder: "/x"))
    #expect(try DataSource.parse(folder.path) == .folder(folder.path))
    for text in ["shapes", "fashion-mnist", "fashion-mnist:/x", "cifar10:/a:b", folder.path] {
      #expect(try DataSource.parse(text).description == text)
    }
  }

  @Test func badSources() throws {
    let folder = try TemporaryFolder()
    let file = try folder.write("a.png", [])
    for (text, part) in [
      ("cifar10", "cifar10:FOLDER"), ("cifar10:", "cifar10:FOLDER"), ("", "--data needs"),
      ("shape", "--data takes fashion-mnist, shapes"), (file, "it is a file"),
    ] {
      let error = #expect(throws: DataError.self) { try DataSource.parse(text) }
      #expect(error!.description.contains(part), "\(text)")
    }
    for size in [0, -1, 7, 5000] {
      #expect(throws: DataError.invalidOption("image size \(size) is not between 8 and 4096")) {
        try DataSource.shapes.open(imageSize: size)
      }
    }
  }

  @Test func sizes() throws {
    #expect(try DataSource.shapes.open().size == 32)
    #expect(try DataSource.shapes.open(imageSize: 48).size == 48)
    let folder = try TemporaryFolder()
    try pattern(width: 20, height: 30, channels: 3).writePNG(to: folder.path + "/a.png")
    #expect(try DataSource.folder(folder.path).open().size == 64)
    #expect(try DataSource.folder(folder.path).open(imageSize: 16).image(0).width == 16)
  }
}
